"""A server over bare sockets: a script of bytes and faults, and every request byte by byte."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, field, frozen

from calls_in_progress_async import CallsInProgressClient, Organization, RetryPolicy
from calls_in_progress_async.accepting import finish_accepting

TOKEN = "top-secret-token-9b2f"
ACME = Organization.advertiser(25)


ONCE = RetryPolicy(max_attempts=1)
AT_ONCE = RetryPolicy(initial=0)
"""Retries without a wait."""


def reply(
    status: int = 200, body: bytes | str = b"", *lines: str, version: str = "1.1", length: Any = None, **headers: str
) -> bytes:
    """Return the bytes of a whole response.

    Args:
        status: The status.
        body: The body.
        *lines: Further lines of the head, as they are.
        version: The version of HTTP.
        length: The value of Content-Length, if it is to lie about the body.
        **headers: Further headers; ``_`` in a name stands for ``-``.
    """
    body = body.encode() if isinstance(body, str) else body
    head = [
        f"HTTP/{version} {status} Whatever",
        f"Content-Length: {len(body) if length is None else length}",
        *lines,
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*head, "", ""]).encode("utf-8", "surrogateescape") + body


EMPTY_LIST = b'{"current_calls": []}'
NO_CALLS = reply(200, EMPTY_LIST)
DONE = reply(202)


@frozen
class Request:
    """One request, byte by byte."""

    head: bytes
    body: bytes
    connection: int

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def text(self) -> str:
        return (self.head + self.body).decode()

    @property
    def line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode()

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def query(self) -> str:
        return urlsplit(self.target).query

    @property
    def arguments(self) -> dict[str, list[str]]:
        return parse_qs(self.query, keep_blank_values=True, strict_parsing=True)

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.head.decode().strip().split("\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]

    def header(self, name: str) -> str | None:
        found = [value for each, value in self.headers if each.lower() == name.lower()]
        assert len(found) < 2, f"{name} is there {len(found)} times"
        return found[0] if found else None


@define(eq=False)
class Exchange:
    """The means of a fault: send bytes, close, reset, or do nothing."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: Request | None = None
    """The request; None before the first one of a connection."""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close with a TCP RST (SO_LINGER of 0 s)."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has hung up."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Act = Callable[[Exchange], Awaitable[None]]
"""The server's reaction to one request."""


async def hang(exchange: Exchange) -> None:
    """Send nothing, for as long as the client stays."""
    await exchange.gone()


def say(*pieces: bytes) -> Act:
    """Send bytes and go on to the next request."""

    async def act(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.send(piece)

    return act


def say_and_close(*pieces: bytes) -> Act:
    """Send bytes and close."""

    async def act(exchange: Exchange) -> None:
        await say(*pieces)(exchange)
        exchange.close()

    return act


def say_and_reset(*pieces: bytes) -> Act:
    """Send bytes and reset the connection."""

    async def act(exchange: Exchange) -> None:
        await say(*pieces)(exchange)
        await asyncio.sleep(0)  # let the bytes go before the reset
        exchange.reset()

    return act


def say_and_hang(*pieces: bytes) -> Act:
    """Send bytes and then nothing more, for as long as the client stays."""

    async def act(exchange: Exchange) -> None:
        await say(*pieces)(exchange)
        await exchange.gone()

    return act


def drip(head: bytes, drop: bytes, seconds: float = 0.01) -> Act:
    """Send a head, and then a little at a time for ever."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(head)
        with suppress(ConnectionError):
            while not exchange.writer.is_closing():
                await exchange.send(drop)
                await asyncio.sleep(seconds)

    return act


def pour(head: bytes, chunk: bytes, times: int) -> Act:
    """Send a head, and then the same bytes again and again, as fast as the client reads."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(head)
        for _ in range(times):
            await exchange.send(chunk)
        exchange.close()

    return act


@define(eq=False)
class RawServer:
    """Treats each request by the next entry of its script, and repeats the last.

    An entry is the bytes to send, None to hang up, or an act. Bytes with ``Connection: close`` hang up too.
    ``at_connect`` acts before a request is read, and may leave none to read. The sandbox does not fit here, because it
    sends well-formed HTTP only.
    """

    script: list[Act | bytes | None] = field(factory=lambda: [NO_CALLS])
    at_connect: Act | None = None
    ssl: Any = None
    seen: list[Request] = field(factory=list)
    connections: int = 0
    open: int = 0
    writers: list[asyncio.StreamWriter] = field(factory=list)
    """The server's end of each connection."""
    port: int = 0
    _server: Any = None
    _tasks: set[asyncio.Task[None]] = field(factory=set)
    _changed: asyncio.Event = field(factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"{'https' if self.ssl else 'http'}://127.0.0.1:{self.port}"

    def client(self, **settings: Any) -> CallsInProgressClient:
        """Make a client for this server; it makes three attempts without a wait."""
        return CallsInProgressClient(**{"token": TOKEN, "base_url": self.url, "retry": AT_ONCE, **settings})

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; it is checked as connections and requests come and go."""
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.ssl, limit=2**22)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop_serving(self._server, self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        self.writers.append(writer)
        self._changed.set()
        try:
            with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
                await self._serve(Exchange(reader, writer), self.connections)
        finally:
            writer.close()
            self.open -= 1
            self._tasks.discard(task)
            self._changed.set()

    async def _serve(self, exchange: Exchange, connection: int) -> None:
        if self.at_connect is not None:
            await self.at_connect(exchange)
        while not exchange.writer.is_closing():
            head = await exchange.reader.readuntil(b"\r\n\r\n")
            length = int(Request(head, b"", connection).header("Content-Length") or 0)
            exchange.request = Request(head, await exchange.reader.readexactly(length), connection)
            self.seen.append(exchange.request)
            self._changed.set()
            await _treat(exchange, self.script.pop(0) if len(self.script) > 1 else self.script[0])


async def stop_serving(server: asyncio.Server, tasks: set[asyncio.Task[None]]) -> None:
    """Stop listening, and end the tasks of all connections, those accepted last included."""
    await finish_accepting()
    server.close()
    for _ in range(3):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _treat(exchange: Exchange, entry: Act | bytes | None) -> None:
    if callable(entry):
        await entry(exchange)
        return
    if entry is not None:
        await exchange.send(entry)
    if entry is None or b"connection: close" in entry.lower():
        exchange.close()
