"""The public seam under the client: a transport sends one request and returns its response."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import define

from .. import validation
from .wire import WireRequest, WireResponse


@define
class SendState:
    """Knowledge about one attempt. It outlives the attempt, even one that times out or is cancelled."""

    may_have_been_sent: bool = True
    """True if any byte of the request may have left. Leave it True if in doubt: an update that was not sent is then
    only reported as doubtful. False without certainty is worse: the client would send a lost POST again."""


class Transport(Protocol):
    """Sends requests. Pass your own as ``CallsInProgressClient(transport=...)``.

    The client calls `send` for each attempt and does everything else itself: rate limits, retries, timeouts, tokens,
    the order of writes. A transport must therefore never retry or follow a redirect, and must not let its HTTP library
    do so. It needs no timeout of its own: the client cancels `send` when an attempt takes too long. Cancelled or
    failed, `send` must stop writing and must not reuse the connection, because its response may still come.

    A minimal transport raises `ConnectionFailedError` if it cannot connect, lets every other exception through, and
    ignores ``state``. The client is then right about ``may_have_been_applied`` in every case, at the price of doubt
    about an update that failed between connecting and writing.
    """

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        """Put one request on the wire, at most once, and read its response whole.

        Args:
            request: Method, target (path and query, percent-encoded; the transport knows the host), further headers
                and body. A body goes out as ``Content-Type: application/json``. A method that usually has a body (POST,
                PUT, PATCH) goes out with ``Content-Length: 0`` if the body is None.
            token: The value of the ``Authorization`` header, as it is: no ``Bearer``. It must reach no log or error.
            state: ``state.may_have_been_sent`` is True and may stay so. To improve on it, set it to False first of
                all, and to True immediately before the first byte is written or handed to an HTTP library. While it is
                True, an update whose attempt fails is reported as ``may_have_been_applied``, and a POST is not
                repeated.

        Returns:
            The response with any status. Return 404, 429 and 500 too, and raise none of them. Header names
            are looked up without regard to case, so ``headers`` must be a case-insensitive mapping (aiohttp's, httpx's
            and requests' are). The body is decoded from its Content-Encoding. Interim responses (100 to 199) are
            skipped. A body shorter than its Content-Length is no response: raise.

        Raises:
            ConnectionFailedError: No connection was made, so the request surely did not reach the server, whatever
                ``state`` says. It is retried for every method.
            TlsError: TLS could not be agreed on. It is not retried.
            UnexpectedResponseError: The response is not HTTP that can be read. It is not retried.
            ConnectionLostError: Anything else that failed. It is retried if this can do no harm. Every exception of
                another kind is a fault of the transport, and the client raises it as a `ConnectionLostError` that names
                the exception's class only.
        """
        ...

    async def close(self) -> None:
        """Close all connections. The client calls it once, after the last `send` has ended."""
        ...


def check_transport(transport: Transport, **others: Any) -> None:
    """Check a transport, and reject settings of the built-in transport beside it."""
    if isinstance(transport, type) or not all(callable(getattr(transport, name, None)) for name in ("send", "close")):
        shown = validation.describe(transport)
        raise validation.invalid("transport", f"must be an object with send() and close(), got {shown}")
    defaults = {"session": None, "proxy": None, "trust_env": False, "ssl": True}
    for name, value in others.items():
        if value is not defaults[name]:
            raise validation.invalid("transport", f"comes with {name}, pass one of them: the transport connects")
