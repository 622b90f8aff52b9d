"""HTTP by aiohttp: one request to one answer, and aiohttp's exceptions to ours, once.

There are two ways to send: on a connection of our own pool (see `connections`), or through a session (see `session`).
aiohttp is imported under ``transport`` only. A second transport would be one module with the two members of
`Transport`, held to the same tests.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import AsyncGenerator
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import ClientRequest, hdrs
from aiohttp import ClientSession as ClientSession  # noqa: PLC0414 - re-exported for the client's type hints
from aiohttp.http import HttpResponseParser
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from attrs import field, frozen
from yarl import URL

from .. import validation
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
from . import session as through_session
from .pooled import Connections, read_buffer
from .protocol import SendState
from .wire import WireRequest, WireResponse

_HEADERS = {
    hdrs.ACCEPT: "application/json",
    hdrs.ACCEPT_ENCODING: "gzip, deflate",
    hdrs.USER_AGENT: f"calls-in-progress-async/{__version__}",
}


@frozen(kw_only=True)
class HttpSettings:
    """The settings of the aiohttp transport."""

    base_url: str = field(converter=validation.base_url)
    connect_timeout: float = field(default=5.0, validator=validation.number("seconds", above=True))
    max_response_size: int = field(default=32 * 2**20, validator=validation.count())
    """Bytes, decoded."""
    ssl: ssl.SSLContext | bool = field(
        default=True, validator=validation.instance((ssl.SSLContext, bool), "an ssl.SSLContext or True")
    )
    proxy: str | None = field(default=None, repr=False, validator=validation.proxy)
    trust_env: bool = field(default=False, validator=validation.flag)


class AiohttpTransport:
    """aiohttp, with everything off that this API does not need: cookies, redirects, its own retries and pool limit.

    Requests go out on connections of a pool, without the session above it, unless a session was injected, there is a
    proxy, a test tool answers for sessions, or an instrumentation has added trace hooks to all of them.
    """

    def __init__(self, settings: HttpSettings, session: aiohttp.ClientSession | None = None) -> None:
        if not isinstance(session, aiohttp.ClientSession | None):
            raise validation.invalid("session", "is not an aiohttp.ClientSession")
        self._settings = settings
        self._limit = settings.max_response_size
        self._injected = session
        self._own: aiohttp.ClientSession | None = None
        self._connections: Connections | None = None
        """Where requests need no session."""
        self._closing: AsyncGenerator[None] | None = None
        url = URL(settings.base_url)
        self._base = str(url).rstrip("/")
        fixed = {hdrs.HOST: url.host_port_subcomponent, **_HEADERS}
        self._path = url.raw_path.rstrip("/")
        self._head = "".join(f"{name}: {value}\r\n" for name, value in fixed.items()) + f"{hdrs.AUTHORIZATION}: "
        self._options: dict[str, Any] = {
            "allow_redirects": False,
            # Deadlines are kept above this module; only the connection has a timeout of its own.
            "timeout": aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout),
            "ssl": settings.ssl,
            "read_bufsize": read_buffer(self._limit),
            "raise_for_status": False,
            "auto_decompress": True,
            "proxy": settings.proxy or (_proxy_of_environment(url) if settings.trust_env else None),
        }

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        """Put one request on the wire, at most once, and read its answer whole.

        Raises:
            CallsInProgressError: A `TransportError`, or an answer that is not HTTP or too large.
        """
        state.may_have_been_sent = False
        if not (request.target.isascii() and request.target.isprintable()) or " " in request.target:
            raise validation.invalid("target", "is not percent-encoded")
        session = self._injected or self._own or await self._open()
        if session.closed:
            whose = "that was passed as session=" if self._injected else "of the client"
            raise ClientClosedError(f"The aiohttp session {whose} is closed.")
        connections = self._connections
        try:
            if connections is None or through_session.is_patched():
                options = {"headers": {hdrs.AUTHORIZATION: token, **_HEADERS}, **self._options}
                url = self._base + request.target
                answer = await through_session.exchange(session, url, request, state, limit=self._limit, **options)
            else:
                answer = await connections.exchange(self._message(request, token), state)
        except (aiohttp.ClientError, OSError, HttpProcessingError, through_session.Lost) as reason:
            error = _translate(reason)
        except ValueError:
            error = validation.invalid("session", "has credentials (auth=) or headers that do not go with a token")
        else:
            status, headers, body = answer
            if body is not None:
                return WireResponse(status, headers, body)
            error = ResponseTooLargeError(f"The body is larger than {self._limit} bytes.", status=status)
        # Raised out here, since aiohttp's exceptions may hold the request's headers, and so the token.
        raise error

    def _message(self, request: WireRequest, token: str) -> bytes:
        """A whole request, as it goes over the wire (RFC 9112, section 2.1)."""
        head = f"{request.method} {self._path}{request.target} HTTP/1.1\r\n{self._head}{token}\r\n"
        if request.body is None and request.method not in ClientRequest.POST_METHODS:
            return f"{head}\r\n".encode()
        body = request.body or b""
        kind = f"{hdrs.CONTENT_LENGTH}: {len(body)}\r\n{hdrs.CONTENT_TYPE}: application/json\r\n\r\n"
        return f"{head}{kind}".encode() + body

    async def _open(self) -> aiohttp.ClientSession:
        if HttpResponseParser.__module__ == "aiohttp.http_parser":
            text = "aiohttp runs without its C parser: slower, and it accepts HTTP that it should refuse."
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        settings = self._settings
        connections = Connections(self._base, ssl=settings.ssl, timeout=settings.connect_timeout, limit=self._limit)
        self._own = aiohttp.ClientSession(connector=connections, cookie_jar=aiohttp.DummyCookieJar())
        if self._options["proxy"] is None and not self._own.trace_configs:
            self._connections = connections
        self._closing = _close_at_last(self._own, connections)
        await anext(self._closing)
        return self._own

    async def close(self) -> None:
        """Close the connections. An injected session stays open."""
        closing, self._closing = self._closing, None
        if closing is not None:
            await closing.aclose()


def _proxy_of_environment(base: URL) -> str | None:
    """The proxy that ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` ask for.

    With its own ``trust_env`` aiohttp would look it up for each request, and refuse them all if .netrc has the host.
    """
    return None if proxy_bypass(base.host or "") else getproxies().get(base.scheme)


async def _close_at_last(session: aiohttp.ClientSession, connections: Connections) -> AsyncGenerator[None]:
    """Close a session when this generator is closed.

    The event loop closes its asynchronous generators before it ends, and when one is garbage: so the connections of
    a client that nobody closes are closed all the same.
    """
    try:
        yield
    finally:
        try:
            await session.close()
        finally:
            await connections.abort()


def _translate(reason: Exception) -> CallsInProgressError:
    """Aiohttp's exception as ours. Only its class and the system's own words are kept."""
    said = through_session.say(reason)
    match reason:
        # With TLS 1.3 the other side refuses a certificate after the handshake (RFC 8446, section 4.4.2.4).
        case Exception() if isinstance(reason, ssl.SSLError) or "_ALERT_" in said:
            return TlsError(f"TLS failed: {said}")
        case aiohttp.ConnectionTimeoutError():
            return ConnectionFailedError("No connection was made within connect_timeout.")
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError():
            return ConnectionFailedError(f"No connection was made: {said}")
        case (
            HttpProcessingError()
            | aiohttp.ClientResponseError()
            | aiohttp.ClientPayloadError(__cause__=ContentEncodingError())
        ):
            return UnexpectedResponseError(f"The answer is not HTTP that can be read: {said}", status=0)
        case TimeoutError():
            return RequestTimeoutError("The session's own timeout passed.")
        case _:
            return ConnectionLostError(f"The connection was lost: {said}")
