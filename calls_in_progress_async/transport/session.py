"""SessionTransport: requests through an `aiohttp.ClientSession`, the user's own or one made here.

Only documented parts of aiohttp are needed. Where `ClientRequest.send` can be wrapped, the transport also knows when a
request leaves, and looks at a kept connection before it is written to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from traceback import walk_tb
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from .. import validation
from ..errors import CallsInProgressError, ClientClosedError, WrongLoopError
from . import foreign_instrumentation
from .address import check_target, proxy_of_environment, reject_remote_proxy
from .http_settings import HttpSettings
from .protocol import SendState
from .request_head import format_headers
from .response_body import MAX_UNSENT, read_body, read_buffer
from .translation import body_too_large, translate
from .unread_input import is_harmless, make_probe
from .wire import WireRequest, WireResponse

_MAX_PLAIN_BODY = 2**20
"""Bytes; aiohttp warns of a longer ``bytes`` body with a ResourceWarning."""


class SessionTransport:
    """Sends requests through a session. Make it in the event loop where it is used.

    Args:
        settings: Host, limits, TLS and proxy.
        session: The user's own, never closed here; None to make one without cookies and connection limit.
    """

    def __init__(self, settings: HttpSettings, session: aiohttp.ClientSession | None = None) -> None:
        self._injected = session is not None
        self._session = session if session is not None else _make_session()
        self._settings = settings
        self._used: WeakSet[Any] = WeakSet()
        """The protocols of the connections used so far."""
        self._base = str(settings.url).rstrip("/")
        self._body_limit = settings.max_response_size
        self._headers = settings.fixed_headers
        self._options: dict[str, Any] = {
            "allow_redirects": False,
            # Timeouts are kept above the transport; only the connection has one of its own.
            "timeout": aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout),
            "ssl": settings.ssl,
            "read_bufsize": read_buffer(settings.max_response_size),
            "raise_for_status": False,
            "auto_decompress": True,
            "proxy": settings.choose_proxy(),
        }

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        """Put one request on the wire, at most once, and read its response whole."""
        state.may_have_been_sent = False
        check_target(request.target)
        format_headers(request.headers)
        self._check_session()
        attempt = _Attempt(URL(f"{self._base}{request.target}", encoded=True), state, self._used)
        try:
            status, headers, body = await self._exchange(request, token, attempt)
        except Exception as reason:
            error = _translate(reason, attempt)
        else:
            if body is not None:
                return WireResponse(status, headers, body)
            error = body_too_large(status, self._body_limit)
        # Raised out here, so that aiohttp's exception, with the token in its frames, is not its context.
        raise error

    async def _exchange(self, request: WireRequest, token: str, attempt: _Attempt) -> tuple[int, Any, bytes | None]:
        """Send one request and read its status, headers and body; the body is None if it is longer than the limit."""
        session, headers = self._session, {**self._headers, **request.headers, hdrs.AUTHORIZATION: token}
        if request.body is not None:
            headers[hdrs.CONTENT_TYPE] = "application/json"
        # Middlewares passed with a request displace the session's own.
        middlewares = (attempt.send_once, *getattr(session, "_middlewares", ()), attempt.send_on_clean_connection)
        url = attempt.url.with_query(None) if foreign_instrumentation.has_trace_hooks(session) else attempt.url
        response = body = None
        attempt.state.may_have_been_sent = True  # until a middleware knows better: a test tool may run none
        try:
            with foreign_instrumentation.suppress_opentelemetry():
                response = await session.request(
                    request.method,
                    url,
                    data=_payload(request.body),
                    headers=headers,
                    middlewares=middlewares,
                    **self._options,
                )
            body = await read_body(response.content, self._body_limit)
        finally:
            if response is not None and not response.closed:
                response.close()  # after a 101 follows no HTTP
            if body is None or len(request.body or b"") > MAX_UNSENT:
                attempt.abort()
        return response.status, response.headers, body

    def _check_session(self) -> None:
        session = self._session
        if session.closed:
            whose = "that was passed as session=" if self._injected else "of the client"
            raise ClientClosedError(f"The aiohttp session {whose} is closed.")
        if getattr(session, "_loop", loop := asyncio.get_running_loop()) is not loop:
            text = "The aiohttp session passed as session= belongs to another event loop; make one in each."
            raise WrongLoopError(text)
        if self._injected and self._base.startswith("http:"):
            reject_proxies_of(session, self._settings)  # aiohttp, too, reads the environment for each request

    async def close(self) -> None:
        """Close the session, unless it is the user's own."""
        if not self._injected:
            await self._session.close()


def _make_session() -> aiohttp.ClientSession:
    # The number of connections is limited above, where waiting for one does not count as network time.
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())
    foreign_instrumentation.remove_trace_hooks(session)
    return session


def reject_proxies_of(session: aiohttp.ClientSession, settings: HttpSettings) -> None:
    """Raise if a session's own proxy would see the token in the clear, or aiohttp cannot use it."""
    proxy = getattr(session, "_default_proxy", None)
    if proxy is None:
        if session.trust_env:
            proxy_of_environment("session", settings.base_url)
        return
    reject_remote_proxy("session", settings.base_url, proxy)
    if not str(proxy).lower().startswith(("http://", "https://")):
        raise validation.invalid("session", "has a proxy= that is not an http:// or https:// URL")


def _payload(body: bytes | None) -> bytes | _LargeBody | None:
    # Plain bytes up to the size aiohttp accepts, because test tools such as vcrpy copy and record the body.
    return body if body is None or len(body) <= _MAX_PLAIN_BODY else _LargeBody(body)


class _LargeBody(aiohttp.Payload):
    """A body of any size; aiohttp accepts it without a warning."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, content_type="application/json")
        self._body = body

    @property
    def size(self) -> int:
        return len(self._body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await writer.write(self._body)


class _StaleConnectionError(Exception):
    """A kept connection has ended or holds an unexpected response. Nothing was sent on it."""


class _Attempt:
    """One attempt's middlewares: around and within those of the session."""

    def __init__(self, url: URL, state: SendState, used: WeakSet[Any]) -> None:
        self.url = url
        """Host, path and query."""
        self.state = state
        self._used = used
        """The protocols of the connections used before."""
        self.reached_connector = False
        """True once aiohttp has accepted the arguments of the request."""
        self._transport: Any = None

    def __deepcopy__(self, _: object) -> _Attempt:
        return self  # test tools such as aioresponses copy the arguments of a request

    async def send_once(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Raise errors of this package only: an `aiohttp.ClientOSError` would make aiohttp send the request again."""
        self.state.may_have_been_sent, self.reached_connector = False, True
        request.url = self.url  # trace hooks have seen it without the query
        try:
            return await handler(request)
        except Exception as reason:
            error = translate(reason, sent=self.state.may_have_been_sent)
        raise error

    async def send_on_clean_connection(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Take another connection as long as a kept one turns out to be stale."""
        send = getattr(request, "send", None)
        if send is None:  # aiohttp names it otherwise: nothing tells when the request leaves
            self.state.may_have_been_sent = True
            return await handler(request)
        request.send = lambda connection: self._send(send, connection)  # type: ignore[method-assign, assignment]
        while True:
            try:
                return await handler(request)
            except _StaleConnectionError:
                continue

    async def _send(self, send: Callable[[Any], Awaitable[ClientResponse]], connection: Any) -> ClientResponse:
        # Without these attributes, aiohttp names them otherwise, and nothing can be looked at.
        protocol, transport = getattr(connection, "protocol", self), getattr(connection, "transport", self)
        if transport is None:
            raise aiohttp.ServerDisconnectedError  # the connection ended as it was made
        if transport is not self:
            self._transport = transport
            if not await _is_clean(protocol, transport):
                self.abort()
                # A new connection must not be replaced: the server would speak first on the next one, too.
                raise _StaleConnectionError if protocol in self._used else aiohttp.ServerDisconnectedError
            self._used.add(protocol)
        self.state.may_have_been_sent = True
        return await send(connection)

    def abort(self) -> None:
        """End the connection at once: closed gently, it would first send the rest of the request."""
        if self._transport is not None:
            self._transport.abort()


async def _is_clean(protocol: Any, transport: Any) -> bool:
    """Return True if nothing came on a connection about to be used."""
    probe = make_probe(transport)
    if probe() and not await is_harmless(transport, probe):
        return False
    return not getattr(protocol, "should_close", False)


def _translate(reason: Exception, attempt: _Attempt) -> CallsInProgressError:
    """Translate an exception, and note if aiohttp raised it before the request could leave."""
    frames = [(frame.f_globals.get("__name__", ""), frame.f_code.co_name) for frame, _ in walk_tb(reason.__traceback__)]
    if not attempt.reached_connector and ("aiohttp.client", "_request") in frames:
        attempt.state.may_have_been_sent = False
        if isinstance(reason, ValueError) and frames[-1][0].startswith("aiohttp."):
            return validation.invalid("session", "has credentials (auth=) or headers that do not go with a token")
    return translate(reason, sent=attempt.state.may_have_been_sent)
