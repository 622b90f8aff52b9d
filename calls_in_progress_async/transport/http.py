"""HTTP by aiohttp: one request to one answer, and aiohttp's exceptions to ours, once.

No other module imports aiohttp on the client's side. A second transport would be one module with the same three
members, held to the same tests: see `Transport`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from typing import Any, Protocol

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload
from attrs import field, frozen
from yarl import URL

from .. import checks
from .._version import __version__
from ..errors import (
    CallsInProgressError,
    ClientClosedError,
    ConnectionFailedError,
    ConnectionLostError,
    RequestTimeoutError,
    ResponseTooLargeError,
    TlsError,
    UnexpectedResponseError,
)
from .wire import WireRequest, WireResponse

_HEADERS = {
    hdrs.ACCEPT: "application/json",
    hdrs.ACCEPT_ENCODING: "gzip, deflate",
    hdrs.USER_AGENT: f"calls-in-progress-async/{__version__}",
}
_READ_BUFFER = 2**18  # bytes; 64 KiB, aiohttp's default, pauses and resumes a body of 200 calls four times


class Transport(Protocol):
    """What the rest of the client needs of HTTP."""

    async def send(self, request: WireRequest, token: str, outcome: Sendable) -> WireResponse:
        """Put one request on the wire, at most once, and read its answer whole.

        Raises:
            CallsInProgressError: A `TransportError`, or an answer that is not HTTP or too large.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...

class Sendable(Protocol):
    """What is told that a write may have left."""

    sent: bool


@frozen(kw_only=True)
class HttpSettings:
    """The settings of the aiohttp transport."""

    base_url: str = field(converter=checks.base_url)
    connect_timeout: float = field(default=5.0, validator=checks.number("seconds", above=True))
    max_response_size: int = field(default=32 * 2**20, validator=checks.count())
    """Bytes, decoded."""
    ssl: ssl.SSLContext | bool = field(
        default=True, validator=checks.instance((ssl.SSLContext, bool), "an ssl.SSLContext or True")
    )
    proxy: str | None = field(default=None, repr=False)
    trust_env: bool = field(default=False, validator=checks.flag)


class AiohttpTransport:
    """aiohttp, with everything off that this API does not need: cookies, redirects, its own retries and pool limit."""

    def __init__(self, settings: HttpSettings, session: aiohttp.ClientSession | None = None) -> None:
        self._settings = settings
        self._base = settings.base_url
        self._injected = session
        self._own: aiohttp.ClientSession | None = None
        self._headers = {} if session is None else _HEADERS  # our own session has them already
        self._closing: AsyncGenerator[None] | None = None
        # Deadlines are kept above this module; only the connection has a timeout of its own.
        self._timeout = aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout)
        self._options: dict[str, Any] = {
            "allow_redirects": False,
            "timeout": self._timeout,
            "ssl": settings.ssl,
            "read_bufsize": _READ_BUFFER,
            "middlewares": (_send_once,),
        }
        if settings.proxy is not None:
            self._options["proxy"] = settings.proxy

    async def send(self, request: WireRequest, token: str, outcome: Sendable) -> WireResponse:
        """Put one request on the wire, at most once, and read its answer whole.

        Raises:
            CallsInProgressError: A `TransportError`, or an answer that is not HTTP or too large.
        """
        session = self._injected or self._own or await self._open()
        if session.closed:
            raise ClientClosedError("The aiohttp session that was passed as session= is closed.")
        body = None if request.body is None else _WatchedBody(request.body, outcome)
        headers = {hdrs.AUTHORIZATION: token, **self._headers}
        url = URL(self._base + request.target, encoded=True)
        response = None
        try:
            response = await session.request(request.method, url, headers=headers, data=body, **self._options)
            received = await _read_body(response, self._settings.max_response_size)
        except _Lost as lost:
            error: CallsInProgressError = ConnectionLostError(f"The connection was lost: {lost}")
        except (aiohttp.ClientError, OSError, ValueError) as reason:
            error = _translate(reason)
        except BaseException:
            if response is not None:
                response.close()
            raise
        else:
            if received is not None:
                return WireResponse(response.status, response.headers, received)
            limit = self._settings.max_response_size
            error = ResponseTooLargeError(f"The body is larger than {limit} bytes.", status=response.status)
        if response is not None:
            response.close()
        # Raised out here, since aiohttp's exceptions hold the request's headers, and so the token.
        raise error

    async def _open(self) -> aiohttp.ClientSession:
        self._own = aiohttp.ClientSession(
            # The number of connections is kept above, where waiting for one does not count as network time.
            connector=aiohttp.TCPConnector(limit=0),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=self._settings.trust_env,
            timeout=self._timeout,
        )
        self._closing = _close_at_last(self._own)
        await anext(self._closing)
        return self._own

    async def close(self) -> None:
        """Close the connections. An injected session stays open."""
        if self._closing is not None:
            await self._closing.aclose()


async def _close_at_last(session: aiohttp.ClientSession) -> AsyncGenerator[None]:
    """Close a session when this generator is closed.

    The event loop closes its asynchronous generators before it ends, and when one is garbage: so the connections of
    a client that nobody closes are closed all the same.
    """
    try:
        yield
    finally:
        await session.close()


async def _read_body(response: ClientResponse, limit: int) -> bytes | None:
    """Read the body whole; None where it is longer than ``limit`` bytes."""
    content = response.content
    chunks = []
    size = 0
    while chunk := content.read_nowait() if content.is_eof() else await content.readany():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class _WatchedBody(BytesPayload):
    """A body that tells when it begins to be written: aiohttp holds the headers back until then."""

    def __init__(self, body: bytes, outcome: Sendable) -> None:
        super().__init__(body, content_type="application/json")
        self._outcome = outcome

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._outcome.sent = True
        await super().write_with_length(writer, content_length)


class _Lost(Exception):
    """A connection that was lost, in a form that aiohttp does not answer by sending the request again."""


async def _send_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending an idempotent request again by itself after a lost connection."""
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError):
        raise  # aiohttp does not repeat these
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as reason:
        lost = _Lost(_say(reason))
    raise lost


def _translate(reason: Exception) -> CallsInProgressError:
    """Aiohttp's exception as ours. Only its class and the system's own words are kept."""
    said = _say(reason)
    match reason:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return TlsError(f"TLS failed: {said}")
        case aiohttp.ConnectionTimeoutError():
            return ConnectionFailedError("No connection was made within connect_timeout.")
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError():
            return ConnectionFailedError(f"No connection was made: {said}")
        case aiohttp.ClientResponseError():
            return UnexpectedResponseError(f"The answer is not HTTP that can be read: {said}", status=0)
        case TimeoutError():
            return RequestTimeoutError("The session's own timeout passed.")
        case _:
            return ConnectionLostError(f"The connection was lost: {said}")


def _say(reason: BaseException) -> str:
    """The class of an exception, and the system's message where there is one: nothing of the request."""
    system = reason.os_error if isinstance(reason, aiohttp.ClientConnectorError) else reason
    words = system.strerror if isinstance(system, OSError) else None
    return f"{type(reason).__name__}{f' ({words})' if words else ''}"
