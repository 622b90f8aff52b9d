"""What goes to the wire and what comes from it, as plain values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from urllib.parse import quote

from attrs import define, frozen


@frozen(kw_only=True)
class WireRequest:
    """One HTTP request, without the token."""

    method: str
    target: str
    """Path and query, percent-encoded."""
    body: bytes | None = None
    """JSON, or None where the method has no body."""
    repeatable: bool = True
    """Whether carrying it out twice is the same as once, and is answered the same."""
    order_keys: tuple[Hashable, ...] = ()
    """Of a write: what it changes. Writes that share a key go out in order, one at a time."""

    @property
    def is_write(self) -> bool:
        """Whether it changes anything on the server."""
        return self.body is not None


@define
class WireResponse:
    """One HTTP answer, whatever its status, read whole."""

    status: int
    headers: Mapping[str, str]
    """Looked up without regard to case."""
    body: bytes
    """Decoded from its Content-Encoding."""


def query_string(parameters: Mapping[str, str]) -> str:
    """Percent-encode everything but the unreserved characters of RFC 3986, section 2.3.

    A ``+`` becomes ``%2B``: left bare in a query, servers read it as a space.
    """
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
