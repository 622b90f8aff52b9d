"""Fetching the calls of one organization: a listing, or the same error as of a find."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from ..attempt import Attempt
from ..endpoints.current_calls import CurrentCallsRequest
from ..endpoints.error_responses import parse_body, raise_for_status
from ..transport.wire import WireResponse
from .listing import Listing, read
from .organization_state import OrganizationState

State = TypeVar("State", bound=OrganizationState)

FetchCalls = Callable[[State], Awaitable[Listing]]
"""Fetches the calls of an organization; the listing in its state makes reading the next one cheap."""


class Execute(Protocol):
    """Sends a request and returns the result of ``read`` for the response: `CallsInProgressClient._execute`."""

    async def __call__(
        self,
        request: CurrentCallsRequest,
        read: Callable[[WireResponse, tuple[Attempt, ...]], Listing],
        *,
        operation: str,
        shared: bool,
        wanted: Callable[[], bool] | None,
    ) -> Listing:
        """Send the request."""
        ...


class FetchIfWanted(Protocol):
    """Fetches the calls of an organization, or raises `SupersededError` if ``wanted`` returns False after a wait."""

    async def __call__(self, state: OrganizationState, wanted: Callable[[], bool] | None = None) -> Listing:
        """Send the request."""
        ...


def make_fetch(execute: Execute, *, strict: bool) -> FetchIfWanted:
    """Make the function that fetches calls through a client."""

    async def fetch(state: OrganizationState, wanted: Callable[[], bool] | None = None) -> Listing:
        request = CurrentCallsRequest(organization=state.organization)
        read_beside = partial(_read, state.calls.listing, strict)
        return await execute(request, read_beside, operation="poll", shared=True, wanted=wanted)

    return fetch


def _read(last: Listing | None, strict: bool, response: WireResponse, _: tuple[Attempt, ...]) -> Listing:
    raise_for_status(response)
    return parse_body(partial(read, last=last), response, strict=strict)
