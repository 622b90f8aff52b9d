"""HTTP by aiohttp: one request to one answer, and aiohttp's exceptions to ours, once.

No other module imports aiohttp on the client's side. A second transport would be one module with the same three
members, held to the same tests: see `Transport`.
"""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncGenerator
from typing import Any, Protocol
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from aiohttp.http import HttpResponseParser
from aiohttp.http_exceptions import ContentEncodingError
from aiohttp.payload import Payload
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


def _check_proxy(_: object, attribute: Any, value: Any) -> None:
    try:
        fine = value is None or (isinstance(value, str) and URL(value).absolute)
    except ValueError:
        fine = False
    if not fine:  # and its value may hold a password
        raise checks.refuse(attribute.name, "is not the URL of a proxy, such as http://proxy.example:3128")


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
    proxy: str | None = field(default=None, repr=False, validator=_check_proxy)
    trust_env: bool = field(default=False, validator=checks.flag)


class AiohttpTransport:
    """aiohttp, with everything off that this API does not need: cookies, redirects, its own retries and pool limit."""

    def __init__(self, settings: HttpSettings, session: aiohttp.ClientSession | None = None) -> None:
        if not isinstance(session, aiohttp.ClientSession | None):
            raise checks.refuse("session", "is not an aiohttp.ClientSession")
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
            "raise_for_status": False,
            "auto_decompress": True,
            "proxy": settings.proxy or (_proxy_of_environment(URL(self._base)) if settings.trust_env else None),
        }

    async def send(self, request: WireRequest, token: str, outcome: Sendable) -> WireResponse:
        """Put one request on the wire, at most once, and read its answer whole.

        Raises:
            CallsInProgressError: A `TransportError`, or an answer that is not HTTP or too large.
        """
        session = self._injected or self._own or await self._open()
        if session.closed:
            whose = "that was passed as session=" if self._injected else "of the client"
            raise ClientClosedError(f"The aiohttp session {whose} is closed.")
        body = None if request.body is None else _WatchedBody(request.body, outcome)
        outcome.sent = body is None  # nothing tells when a request without a body leaves
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
            if not response.closed:
                response.close()  # 101: what follows is not HTTP
            if received is not None:
                return WireResponse(response.status, response.headers, received)
            limit = self._settings.max_response_size
            error = ResponseTooLargeError(f"The body is larger than {limit} bytes.", status=response.status)
        if response is not None:
            response.close()
        # Raised out here, since aiohttp's exceptions hold the request's headers, and so the token.
        raise error

    async def _open(self) -> aiohttp.ClientSession:
        if HttpResponseParser.__module__ == "aiohttp.http_parser":
            text = "aiohttp runs without its C parser: slower, and it accepts HTTP that it should refuse."
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        connector = _Connector()
        self._own = aiohttp.ClientSession(
            connector=connector,
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
        )
        self._closing = _close_at_last(self._own, connector)
        await anext(self._closing)
        return self._own

    async def close(self) -> None:
        """Close the connections. An injected session stays open."""
        closing, self._closing = self._closing, None
        if closing is not None:
            await closing.aclose()


class _Connector(aiohttp.TCPConnector):
    """A pool that never reads an answer that came too early, and that leaves no connection behind."""

    def __init__(self) -> None:
        # The number of connections is kept above, where waiting for one does not count as network time.
        super().__init__(limit=0)
        self._transports: set[Any] = set()

    def _forget(self, transport: asyncio.Transport, closed: asyncio.Future[None]) -> None:
        self._transports.discard(transport)
        if not closed.cancelled():
            closed.exception()  # taken note of

    async def abort(self) -> None:
        """End what is still closing: a TLS connection that was given up waits for the other side to agree."""
        for transport in tuple(self._transports):
            transport.abort()
        await asyncio.sleep(0)

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """Connect, or take an idle connection on which nothing came: that would be read as the next answer."""
        while (connection := await super().connect(*args, **options)).protocol.should_close:  # type: ignore[union-attr]
            connection.close()
        if (transport := connection.transport) not in self._transports:
            self._remember(transport, connection.protocol)
        return connection

    def _remember(self, transport: Any, handler: Any) -> None:
        if transport is not None and (closed := handler.closed) is not None:
            self._transports.add(transport)
            closed.add_done_callback(lambda done: self._forget(transport, done))


def _proxy_of_environment(base: URL) -> str | None:
    """The proxy that ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` ask for.

    With its own ``trust_env`` aiohttp would look it up for each request, and refuse them all if .netrc has the host.
    """
    return None if proxy_bypass(base.host or "") else getproxies().get(base.scheme)


async def _close_at_last(session: aiohttp.ClientSession, connector: _Connector) -> AsyncGenerator[None]:
    """Close a session when this generator is closed.

    The event loop closes its asynchronous generators before it ends, and when one is garbage: so the connections of
    a client that nobody closes are closed all the same.
    """
    try:
        yield
    finally:
        await session.close()
        await connector.abort()


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


class _WatchedBody(Payload):
    """A body that tells when it begins to be written: aiohttp holds the headers back until then."""

    def __init__(self, body: bytes, outcome: Sendable) -> None:
        super().__init__(body, content_type="application/json")
        self._body = body
        self._outcome = outcome

    @property
    def size(self) -> int:
        return len(self._body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._outcome.sent = True
        await writer.write(self._body)


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
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError(__cause__=ContentEncodingError()):
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
