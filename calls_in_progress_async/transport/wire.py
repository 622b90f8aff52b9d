"""What goes to the wire and what comes from it, as plain values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from attrs import define, field


@define(kw_only=True)
class WireRequest:
    """One HTTP request, without the token."""

    method: str
    target: str = field(repr=False)
    """Path and query, percent-encoded."""
    body: bytes | None = field(default=None, repr=False)
    """JSON, or None where the method has no body."""
    repeatable: bool = True
    """Whether carrying it out twice is the same as once, and is answered the same."""
    ordering_keys: tuple[Hashable, ...] = field(default=(), repr=False)
    """Of a write: what it changes. Writes that share a key go out in order, one at a time."""


@define
class WireResponse:
    """One HTTP answer, whatever its status, read whole."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Looked up without regard to case."""
    body: bytes = field(repr=False)
    """Decoded from its Content-Encoding."""
