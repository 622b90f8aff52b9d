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
    ) -> Listing:
        """Send the request."""
        ...


def make_fetch(execute: Execute, *, strict: bool) -> FetchCalls:
    """Make the function that fetches calls through a client."""

    async def fetch(organization: Organization, last: Listing | None) -> Listing:
        request = CurrentCallsRequest(organization=organization)
        return await execute(request, partial(_read, last, strict), operation="poll", shared=True)

    return fetch


def _read(last: Listing | None, strict: bool, response: WireResponse, _: tuple[Attempt, ...]) -> Listing:
    raise_for_status(response)
    return parse_body(partial(read, last=last), response, strict=strict)
