"""The protocol of a request class: the way to the wire, and the reading of the response.

To add an endpoint, write one module with a class that satisfies `Endpoint`; `CallsInProgressClient.send` takes it.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from ..attempt import Attempt
from ..organization import Organization
from ..transport.wire import WireRequest, WireResponse
from .wire_format import WireFormat

Result_co = TypeVar("Result_co", covariant=True)


class Endpoint(Protocol[Result_co]):
    """A request as the client sends it. Both functions are pure."""

    @property
    def organization(self) -> Organization:
        """The organization for the token and the rate limit."""
        ...

    def wire(self, wire_format: WireFormat) -> WireRequest:
        """Turn the request into method, path, query string and body."""
        ...

    def read(self, response: WireResponse, wire_format: WireFormat, attempts: tuple[Attempt, ...]) -> Result_co:
        """Turn the response into records, or raise a `ResponseError`."""
        ...
