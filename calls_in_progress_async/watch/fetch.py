"""Asking for the calls of one organization: an answer as a listing, or the error that a find would raise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ..endpoints.current_calls import CurrentCallsRequest
from ..endpoints.error_responses import parse_body, raise_for_status
from ..errors import CallsInProgressError
from ..organization import Organization
from .listing import Listing, read

if TYPE_CHECKING:
    from ..transport.operation import Operation
    from ..transport.wire import WireResponse


class Exchange(Protocol):
    """What asking needs of a client: a request goes out, an answer comes back, whatever its status."""

    async def __call__(self, request: CurrentCallsRequest) -> tuple[WireResponse, Operation]:
        """Send a request."""
        ...


Ask = Callable[[Organization, Listing | None], Awaitable[Listing]]
"""Asks for the calls of an organization; the last listing makes the next one cheap."""


def asker(exchange: Exchange, *, strict: bool) -> Ask:
    """Make what asks through a client."""

    async def ask(organization: Organization, last: Listing | None) -> Listing:
        response, job = await exchange(CurrentCallsRequest(organization=organization))
        try:
            raise_for_status(response, update=False)
            return parse_body(partial(read, last=last), response, strict=strict)
        except CallsInProgressError as error:
            job.annotate(error)
            raise

    return ask
