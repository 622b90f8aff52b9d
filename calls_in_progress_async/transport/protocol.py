"""The public seam under the client: a transport sends one request and returns its response."""

from __future__ import annotations

from typing import Protocol

from attrs import define

from .wire import WireRequest, WireResponse


@define
class SendState:
    """Knowledge about one attempt that outlives it, even if the attempt times out or is cancelled."""

    may_have_been_sent: bool = True
    """Whether any byte of the request may have left. True unless a transport knows better: one that does sets False
    when `Transport.send` begins and True just before it writes."""


class Transport(Protocol):
    """Sends requests. Pass your own as ``CallsInProgressClient(transport=...)``.

    The client calls `send` for each attempt and does everything else itself: rate limits, retries, timeouts, tokens,
    the order of writes. So a transport never retries, follows no redirect, and needs no timeout of its own: the
    client cancels `send` when an attempt takes too long.
    """

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        """Put one request on the wire, at most once, and read its response whole.

        Args:
            request: Method, target (path and query; the transport knows the host), further headers and body. A body
                goes out as ``Content-Type: application/json``.
            token: The value of the ``Authorization`` header, as it is: no ``Bearer``. It must reach no log or error.
            state: Set ``state.may_have_been_sent`` only to improve on its default, which is True. As long as it is
                True, an update whose attempt fails is reported as ``may_have_been_applied`` and a POST is not repeated.

        Returns:
            The response, whatever its status. Header names are looked up without regard to case, so ``headers`` must
            be a case-insensitive mapping (aiohttp's, httpx's and requests' are). The body is decoded from its
            Content-Encoding.

        Raises:
            ConnectionFailedError: No connection was made, so the request surely did not reach the server.
            TransportError: Anything else that failed; its class says how. Any other exception is a fault of the
                transport and is raised as `ConnectionLostError`.
        """
        ...

    async def close(self) -> None:
        """Close all connections. The client calls it once, after the last `send` has ended."""
        ...
