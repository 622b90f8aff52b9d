"""Fetching the calls of one organization: a listing, or the same error as of a find."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from ..attempt import Attempt
from ..endpoints.current_calls import CurrentCallsRequest
from ..endpoints.error_responses import parse_body, raise_for_status
from ..organization import Organization
from ..transport.wire import WireResponse
from .listing import Listing, read

FetchCalls = Callable[[Organization, Listing | None], Awaitable[Listing]]
"""Fetches the calls of an organization; the last listing makes reading the next one cheap."""


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

    async def __call__(
        self, organization: Organization, last: Listing | None, wanted: Callable[[], bool] | None = None
    ) -> Listing:
        """Send the request."""
        ...


def make_fetch(execute: Execute, *, strict: bool) -> FetchIfWanted:
    """Make the function that fetches calls through a client."""

    async def fetch(
        organization: Organization, last: Listing | None, wanted: Callable[[], bool] | None = None
    ) -> Listing:
        request = CurrentCallsRequest(organization=organization)
        return await execute(request, partial(_read, last, strict), operation="poll", shared=True, wanted=wanted)

    return fetch


def _read(last: Listing | None, strict: bool, response: WireResponse, _: tuple[Attempt, ...]) -> Listing:
    raise_for_status(response)
    return parse_body(partial(read, last=last), response, strict=strict)
