"""Requests and responses as plain values, between the endpoints and a transport."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import Context
from functools import cached_property

from attrs import define, field

from .retry_after import parse_retry_after


@define(kw_only=True)
class WireRequest:
    """One HTTP request, without the token."""

    operation: str = ""
    """The name of the operation for telemetry and logs, such as ``find``, ``update`` or ``poll``."""
    shared: bool = False
    """True if the response is not for one caller alone, for telemetry."""
    joined: Sequence[Context] = field(default=(), repr=False)
    """The contexts of further callers so far, who share the response."""
    method: str
    target: str = field(repr=False)
    """Path and query, percent-encoded."""
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    """Further headers, such as the context of a trace."""
    body: bytes | None = field(default=None, repr=False)
    """JSON, or None for a method without a body."""
    repeatable: bool = True
    """True if a second request changes nothing and gets the same response."""
    ordering_keys: tuple[Hashable, ...] = field(default=(), repr=False)
    """Names of the changed things. Writes with a common key go out in order, one at a time."""
    written_fields: tuple[Hashable, ...] = field(default=(), repr=False)
    """Names of the overwritten fields. Newer writes supersede an older one only if they overwrite all of its fields; a
    write without names is never superseded."""
    wanted: Callable[[], bool] | None = field(default=None, repr=False)
    """Asked after each wait before the request is sent; False drops it. None for a request wanted in any case."""


@define
class WireResponse:
    """One HTTP response of any status, read whole."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """A mapping without regard to the case of names."""
    body: bytes = field(repr=False)
    """Decoded from its Content-Encoding."""

    @cached_property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait (RFC 9110, section 10.2.3); None if it does not say."""
        return parse_retry_after(self.headers)

    @property
    def throttled(self) -> bool:
        """True if the server asks its clients to slow down: 429, or 503 with Retry-After."""
        return self.status == 429 or (self.status == 503 and self.retry_after is not None)
