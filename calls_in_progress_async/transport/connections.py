"""One exchange on a connection of aiohttp's pool, without the session that stands above it.

Pool, name service, TLS and the HTTP parser are aiohttp's. What its session adds to each request (cookies, redirects,
merged headers, and sending it again after a lost connection) is what this API does not need, and costs as much as all
the rest: see docs/performance.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import ClientRequest, hdrs
from aiohttp.connector import Connection
from yarl import URL

from .retry import Outcome

_READ_BUFFER = 2**18
"""Bytes; 64 KiB, aiohttp's default, pauses and resumes a body of 200 calls four times."""


class Connections(aiohttp.TCPConnector):
    """A pool that never reads an answer that came too early, and that leaves no connection behind.

    Args:
        url: The host.
        ssl: As of `aiohttp.ClientRequest`.
        connect_timeout: Seconds to make a connection.
        limit: Bytes of an answer's decoded body.
    """

    def __init__(self, url: str, *, ssl: Any, connect_timeout: float, limit: int) -> None:
        # The number of connections is kept above, where waiting for one does not count as network time.
        super().__init__(limit=0)
        self._destination = ClientRequest(hdrs.METH_GET, URL(url), loop=asyncio.get_running_loop(), ssl=ssl)
        self._connect_timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout)
        self._body_limit = limit
        self._transports: set[Any] = set()

    async def exchange(self, message: bytes, outcome: Outcome) -> tuple[int, Mapping[str, str], bytes | None]:
        """Write one request, at most once, and read its answer.

        Args:
            message: The whole request, head and body.
            outcome: Is told when the request may have left.

        Returns:
            The status, the headers, and the body; None where that is longer than the limit.
        """
        try:
            connection = await self.connect(self._destination, [], self._connect_timeout)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError from None
        try:
            transport, handler = connection.transport, connection.protocol
            if transport is None or handler is None or handler.should_close:
                raise aiohttp.ServerDisconnectedError
            handler.set_response_params(read_until_eof=True, read_bufsize=read_buffer(self._body_limit))
            outcome.sent = True
            transport.write(message)
            head, content = await handler.read()
            while 100 <= head.code < 200 and head.code != 101:
                head, content = await handler.read()
            body = await read_body(content, self._body_limit)
        except BaseException:
            connection.close()
            raise
        if body is None or head.code == 101 or transport.get_write_buffer_size():
            connection.close()  # what follows is not the answer to another request
        else:
            connection.release()
        return head.code, head.headers, body

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """Connect, or take an idle connection on which nothing came: that would be read as the next answer."""
        while True:
            connection = await super().connect(*args, **options)
            if connection.transport not in self._transports:
                self._remember(connection.transport, connection.protocol)
                return connection
            if not connection.protocol.should_close:  # type: ignore[union-attr]
                return connection
            connection.close()

    def _remember(self, transport: Any, handler: Any) -> None:
        if transport is not None and (closed := handler.closed) is not None:
            self._transports.add(transport)
            closed.add_done_callback(lambda done: self._forget(transport, done))

    def _forget(self, transport: asyncio.Transport, closed: asyncio.Future[None]) -> None:
        self._transports.discard(transport)
        if not closed.cancelled():
            closed.exception()  # taken note of

    async def abort(self) -> None:
        """End what is still closing: a TLS connection that was given up waits for the other side to agree."""
        for transport in tuple(self._transports):
            transport.abort()
        await asyncio.sleep(0)


def read_buffer(limit: int) -> int:
    """How many bytes of a body to read ahead: little where little is allowed, for aiohttp holds several times that."""
    return max(1, min(_READ_BUFFER, limit // 8))


async def read_body(content: aiohttp.StreamReader, limit: int) -> bytes | None:
    """Read a body whole; None where it is longer than ``limit`` bytes."""
    chunks = []
    size = 0
    while chunk := content.read_nowait() if content.is_eof() else await content.readany():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
