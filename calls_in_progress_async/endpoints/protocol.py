"""One thin module an endpoint: a request class, how it goes to the wire, and how its answer is read.

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
    """What the client needs of a request. Both functions are pure."""

    @property
    def organization(self) -> Organization:
        """Whose token and whose share of the rate limit the request takes."""
        ...

    @property
    def has_phone_numbers(self) -> bool:
        """Whether the phone number library will be needed."""
        ...

    def wire(self, wire_format: WireFormat) -> WireRequest:
        """Turn the request into method, path, query string and body."""
        ...

    def read(self, response: WireResponse, wire_format: WireFormat, attempts: tuple[Attempt, ...]) -> Result_co:
        """Turn the answer into records, or raise a `ResponseError`."""
        ...
