"""One exchange on a connection of aiohttp's pool, without the session that stands above it.

Pool, name service, TLS and the HTTP parser are aiohttp's. What its session adds to each request (cookies, redirects,
merged headers, and sending it again after a lost connection) is what this API does not need, and costs as much as all
the rest: see docs/performance.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import aiohttp
from aiohttp import ClientRequest, hdrs
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from yarl import URL

from ..single_flight import retrieve_exception
from .protocol import SendState

_READ_BUFFER = 2**18
"""Bytes; 64 KiB, aiohttp's default, pauses and resumes a body of 200 calls four times."""
MOST_UNSENT = 2**16
"""Bytes of a request of which some may not have left when the answer is there: a TLS transport does not tell."""
_MOST_INTERIM_ANSWERS = 16
"""Answers 100 to 199 that may come before the answer; the API has none."""


class Connections(aiohttp.TCPConnector):
    """A pool that never reads an answer that came too early, and that leaves no connection behind.

    Args:
        url: The host.
        ssl: As of `aiohttp.ClientRequest`.
        timeout: Seconds to make a connection.
        limit: Bytes of an answer's decoded body.
    """

    def __init__(self, url: str, *, ssl: Any, timeout: float, limit: int) -> None:
        # The number of connections is kept above, where waiting for one does not count as network time.
        super().__init__(limit=0)
        self._destination = ClientRequest(hdrs.METH_GET, URL(url), loop=asyncio.get_running_loop(), ssl=ssl)
        self._connect_timeout = aiohttp.ClientTimeout(total=None, connect=timeout)
        self._body_limit, self._read_buffer = limit, read_buffer(limit)
        self._guards: dict[Any, _Guard] = {}

    async def exchange(self, message: bytes, state: SendState) -> tuple[int, Mapping[str, str], bytes | None]:
        """Write one request, at most once, and read its answer.

        Args:
            message: The whole request, head and body.
            state: Is told when the request may have left.

        Returns:
            The status, the headers, and the body; None where that is longer than the limit.
        """
        try:
            connection = await self._take(self._destination, [], self._connect_timeout)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError from None
        transport, handler = connection.transport, connection.protocol
        if transport is None or handler is None or handler.should_close:
            connection.close()
            raise aiohttp.ServerDisconnectedError
        reusable = False
        try:
            no_body = message.startswith(b"HEAD ")  # of an endpoint of the user's own
            handler.set_response_params(skip_payload=no_body, read_until_eof=True, read_bufsize=self._read_buffer)
            state.may_have_been_sent = True
            transport.write(message)
            for _ in range(_MOST_INTERIM_ANSWERS + 1):
                head, content = await handler.read()
                if not 100 <= head.code < 200 or head.code == 101:
                    break
            else:
                raise aiohttp.ClientPayloadError
            body = await read_body(content, self._body_limit)
            reusable = not (body is None or len(message) > MOST_UNSENT or _may_go_on(head))
        finally:
            if reusable and transport in self._guards:
                transport.set_protocol(self._guards[transport])
                connection.release()
            else:
                connection.close()
                transport.abort()  # else it would first send what is left of the request, and wait for TLS to agree
        return head.code, head.headers, body

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """Connect for a session that sends through this pool."""
        connection = await self._take(*args, **options)
        connection.add_callback(partial(self._on_release, connection.transport))
        return connection

    def _on_release(self, transport: Any) -> None:
        """Do for a session what `exchange` does: guard what is idle, and end what is given up."""
        if transport in self._guards:
            transport.set_protocol(self._guards[transport])
            asyncio.get_running_loop().call_soon(lambda: transport.is_closing() and transport.abort())

    async def _take(self, *args: Any, **options: Any) -> Connection:
        """Connect, or take an idle connection on which nothing came: that would be read as the next answer."""
        while True:
            connection = await super().connect(*args, **options)
            transport, handler = connection.transport, connection.protocol
            if transport not in self._guards:
                self._remember(transport, handler)
                return connection
            transport.set_protocol(handler)  # type: ignore[union-attr, arg-type]
            if not handler.should_close:  # type: ignore[union-attr]
                return connection
            connection.close()

    def _remember(self, transport: Any, handler: Any) -> None:
        if transport is not None and (closed := handler.closed) is not None:
            self._guards[transport] = _Guard(handler)
            closed.add_done_callback(lambda _: self._guards.pop(transport))
            closed.add_done_callback(retrieve_exception)

    async def abort(self) -> None:
        """End what is still closing: an idle TLS connection waits for the other side to agree."""
        for transport in tuple(self._guards):
            transport.abort()
        await asyncio.sleep(0)


class _Guard(asyncio.Protocol):
    """Reads an idle connection in the place of aiohttp's handler, and ends it if anything comes."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def data_received(self, data: bytes) -> None:
        self._handler.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._handler.connection_lost(exc)


def _may_go_on(head: RawResponseMessage) -> bool:
    """Whether something may follow an answer that is no answer: another protocol, or a body where there is none."""
    return head.code == 101 or (
        head.code in (204, 304) and (head.chunked or head.headers.get(hdrs.CONTENT_LENGTH, "0") != "0")
    )


def read_buffer(limit: int) -> int:
    """How many bytes of a body to read ahead: little where little is allowed, for aiohttp holds several times that."""
    return max(1, min(_READ_BUFFER, limit // 8))


async def read_body(content: aiohttp.StreamReader, limit: int) -> bytes | None:
    """Read a body whole; None where it is longer than ``limit`` bytes."""
    if content.is_eof():  # it came with the head, as small ones do
        body = content.read_nowait()
        return body if len(body) <= limit else None
    chunks = []
    size = 0
    while chunk := await content.readany():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
