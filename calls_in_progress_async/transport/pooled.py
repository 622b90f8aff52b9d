"""PooledTransport: requests as bytes on connections of aiohttp's pool, without the session above it.

Pool, name service, TLS and the HTTP parser are aiohttp's. A session adds cookies, redirects, merged headers and its own
resending to each request. This API needs none of that, and it costs as much as all the rest: see docs/performance.md.

The module uses names aiohttp does not document. `is_supported` looks for every one of them; without them
`SessionTransport` does the work.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any

import aiohttp
from aiohttp import hdrs

from ..errors import ClientClosedError
from ..single_flight import retrieve_exception
from .address import check_target
from .http_settings import HttpSettings
from .protocol import SendState
from .request_head import format_headers
from .response_body import MAX_UNSENT, read_body, read_buffer
from .translation import body_too_large, translate
from .unread_input import is_harmless, make_probe
from .wire import WireRequest, WireResponse

_MAX_INTERIM_RESPONSES = 16
"""The most interim responses (100 to 199) before the final one; the API sends none."""

_BUFFER = 2**18
"""Bytes to take from a connection in one read, as many as asyncio takes."""

_Arguments = tuple[tuple[Any, ...], dict[str, Any]] | None
_INTERNALS: dict[str, _Arguments] = {
    "ClientRequest": (("GET", "url"), {"loop": None, "ssl": True}),
    "ClientRequest.POST_METHODS": None,
    "TCPConnector.connect": (("self", "request", [], "timeout"), {}),
    "connector.Connection.transport": None,
    "connector.Connection.protocol": None,
    "connector.Connection.release": (("self",), {}),
    "connector.Connection.close": (("self",), {}),
    "client_proto.ResponseHandler.set_response_params": (
        ("self",),
        {"skip_payload": False, "read_until_eof": True, "read_bufsize": 1},
    ),
    "client_proto.ResponseHandler.read": (("self",), {}),
    "client_proto.ResponseHandler.should_close": None,
    "client_proto.ResponseHandler.closed": None,
    "client_proto.ResponseHandler.abort": (("self",), {}),
    "client_proto.ResponseHandler.connection_lost": (("self", None), {}),
    "http.RawResponseMessage.code": None,
    "http.RawResponseMessage.headers": None,
    "http.RawResponseMessage.chunked": None,
}
"""The undocumented names of aiohttp used here; for a function, also the arguments it is called with."""


def missing_internals() -> list[str]:
    """Return the names of `_INTERNALS` this aiohttp lacks, or has with another signature."""
    return [name for name, arguments in _INTERNALS.items() if not _is_usable(name, arguments)]


def is_supported() -> bool:
    """Return True if this aiohttp has every name `PooledTransport` uses."""
    return not missing_internals()


def _is_usable(name: str, arguments: _Arguments) -> bool:
    try:
        found = attrgetter(name)(aiohttp)
        if arguments is not None:
            inspect.signature(found).bind(*arguments[0], **arguments[1])
    except (AttributeError, TypeError, ValueError):
        return False
    return True


class PooledTransport:
    """Sends requests as bytes on connections of aiohttp's pool. Make it in the event loop where it is used.

    No connection is left behind, and no early response is ever read.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._body_limit = settings.max_response_size
        self._read_buffer = read_buffer(settings.max_response_size)
        # The number of connections is limited above, where waiting for one does not count as network time.
        self._connector = aiohttp.TCPConnector(limit=0)
        self._loop = asyncio.get_running_loop()
        url = settings.url
        self._destination = aiohttp.ClientRequest(hdrs.METH_GET, url, loop=self._loop, ssl=settings.ssl)
        self._connect_timeout = aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout)
        self._guards: dict[Any, _Guard] = {}
        """The guard of each open connection, by its transport."""
        self._make_guard: Callable[[Any, Any], _Guard] = _Guard
        if isinstance(self._loop, asyncio.SelectorEventLoop):
            self._make_guard = partial(_BufferedGuard, memoryview(bytearray(_BUFFER)))
        self._path = url.raw_path.rstrip("/")
        fixed = {hdrs.HOST: str(url.host_port_subcomponent), **settings.fixed_headers}
        self._head = f"{format_headers(fixed)}{hdrs.AUTHORIZATION}: "

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        """Put one request on the wire, at most once, and read its response whole."""
        state.may_have_been_sent = False
        message = self._message(request, token)
        try:
            status, headers, body = await self._exchange(message, state)
        except Exception as reason:
            error = translate(reason, sent=state.may_have_been_sent)
        else:
            if body is not None:
                return WireResponse(status, headers, body)
            error = body_too_large(status, self._body_limit)
        # Raised out here, so that aiohttp's exception, with the token in its frames, is not its context.
        raise error

    async def _exchange(self, message: bytes, state: SendState) -> tuple[int, Mapping[str, str], bytes | None]:
        """Write one request and read its status, headers and body; the body is None if it is longer than the limit."""
        connection, transport, handler, guard = await self._connect()
        reusable = False
        try:
            no_body = message.startswith(b"HEAD ")  # sent by an endpoint of the user's own
            handler.set_response_params(skip_payload=no_body, read_until_eof=True, read_bufsize=self._read_buffer)
            state.may_have_been_sent = True
            transport.write(message)
            for _ in range(_MAX_INTERIM_RESPONSES + 1):
                head, content = await handler.read()
                if not 100 <= head.code < 200 or head.code == 101:
                    break
            else:
                raise aiohttp.ClientPayloadError
            body = await read_body(content, self._body_limit)
            reusable = not (body is None or len(message) > MAX_UNSENT or _may_continue(head))
        finally:
            if reusable and transport in self._guards:
                guard.is_idle = True
                connection.release()
            else:
                _discard(connection, transport)
        return head.code, head.headers, body

    async def _connect(self) -> tuple[Any, Any, Any, _Guard]:
        """Return a connection without unread input, its transport, its handler and its guard.

        Raises:
            aiohttp.ServerDisconnectedError: A new connection ended, or spoke, before anything was sent.
            ClientClosedError: The event loop has shut down its asynchronous generators, and closed the pool with them.
        """
        if self._connector.closed:
            raise ClientClosedError("The connection pool of the client is closed.")
        while True:
            try:
                connection: Any = await self._connector.connect(self._destination, [], self._connect_timeout)
            except TimeoutError:
                raise aiohttp.ConnectionTimeoutError from None
            transport, handler = connection.transport, connection.protocol
            guard = self._guards.get(transport)
            is_new = guard is None
            if guard is None:
                guard = self._watch_over(transport, handler)
            if guard is not None and await _is_clean(connection, transport, handler, guard):
                guard.is_idle = False
                return connection, transport, handler, guard
            _discard(connection, transport)
            if is_new:
                raise aiohttp.ServerDisconnectedError

    def _watch_over(self, transport: Any, handler: Any) -> _Guard | None:
        """Note a new connection; return None if it has ended already."""
        if transport is None or (closed := handler.closed) is None:
            return None
        guard = self._guards[transport] = self._make_guard(transport, handler)
        transport.set_protocol(guard)
        closed.add_done_callback(lambda _: self._guards.pop(transport))
        closed.add_done_callback(retrieve_exception)
        return guard

    def _message(self, request: WireRequest, token: str) -> bytes:
        """Format a whole request as it goes over the wire (RFC 9112, section 2.1)."""
        check_target(request.target)
        head = f"{request.method} {self._path}{request.target} HTTP/1.1\r\n{self._head}{token}\r\n"
        if request.headers:
            head += format_headers(request.headers)
        if request.body is None and request.method not in aiohttp.ClientRequest.POST_METHODS:
            return f"{head}\r\n".encode()
        body = request.body or b""
        kind = f"{hdrs.CONTENT_LENGTH}: {len(body)}\r\n{hdrs.CONTENT_TYPE}: application/json\r\n\r\n"
        return f"{head}{kind}".encode() + body

    async def close(self) -> None:
        """Close all connections, those still closing included."""
        try:
            await self._connector.close()
        finally:
            if not self._loop.is_closed():  # else nothing can be done
                for transport in tuple(self._guards):
                    transport.abort()  # an idle TLS connection would wait for the other side to agree
                await asyncio.sleep(0)


class _Guard(asyncio.Protocol):
    """Stands before aiohttp's handler, and ends the connection if anything comes while it is idle.

    It stays there, because uvloop asks the system to stop and start reading at each change of the protocol. The events
    it does not pass on are for aiohttp's own writer and read timeout, which are not used here.
    """

    def __init__(self, transport: Any, handler: Any) -> None:
        self._handler = handler
        self.is_idle = False
        self.has_unread_input = make_probe(transport)

    def data_received(self, data: bytes) -> None:
        if self.is_idle:
            self._handler.abort()
        else:
            self._handler.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._handler.connection_lost(exc)


class _BufferedGuard(_Guard, asyncio.BufferedProtocol):
    """A guard whose connection is read into a buffer. All connections of an event loop of asyncio's own share it.

    Such a loop fills the buffer and hands it over in one step. For a plain protocol it allocates 256 KiB for each read,
    which the C library may get from the system and give back: 12 microseconds (``benchmarks/micro.py``).
    """

    def __init__(self, buffer: memoryview, transport: Any, handler: Any) -> None:
        super().__init__(transport, handler)
        self._buffer = buffer

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))


async def _is_clean(connection: Any, transport: Any, handler: Any, guard: _Guard) -> bool:
    """Return True if nothing came on a connection about to be used; its guard is still in place."""
    if guard.has_unread_input():
        try:
            if not await is_harmless(transport, guard.has_unread_input):
                return False
        except asyncio.CancelledError:
            _discard(connection, transport)
            raise
    return not handler.should_close


def _discard(connection: Any, transport: Any) -> None:
    """End a connection at once: closed gently, it would first send the rest of the request."""
    connection.close()
    if transport is not None:
        transport.abort()


def _may_continue(head: Any) -> bool:
    """Return True if something may follow a response: another protocol, or a body where there must be none."""
    return head.code == 101 or (
        head.code in (204, 304) and (head.chunked or head.headers.get(hdrs.CONTENT_LENGTH, "0") != "0")
    )
