"""A bare socket server with a script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, field, frozen

from calls_in_progress_async import CallsInProgressClient, Organization, RetryPolicy

TOKEN = "top-secret-token-9b2f"
ACME = Organization.advertiser(25)
ONCE = RetryPolicy(max_attempts=1)
AT_ONCE = RetryPolicy(initial=0)
"""Retries without a wait."""


def reply(status: int = 200, body: bytes | str = b"", **headers: str) -> bytes:
    """Return the bytes of a whole response; ``_`` in the name of a header stands for ``-``."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


NO_CALLS = reply(200, '{"current_calls": []}')
DONE = reply(202)


@frozen
class Seen:
    """One request, byte by byte."""

    head: bytes
    body: bytes
    connection: int

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


Answer = bytes | None | Callable[[Seen], Awaitable[bytes | None]]
"""Bytes to send, None to drop the connection, or a coroutine function to decide."""


@define(eq=False)
class RawServer:
    """Responds to each request with the next of its script, repeats the last, and keeps every request."""

    script: list[Answer] = field(factory=lambda: [NO_CALLS])
    ssl: Any = None
    seen: list[Seen] = field(factory=list)
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(factory=list)
    port: int = 0
    _server: Any = None
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    @property
    def url(self) -> str:
        return f"{'https' if self.ssl else 'http'}://127.0.0.1:{self.port}"

    def client(self, **settings: Any) -> CallsInProgressClient:
        return CallsInProgressClient(**{"token": TOKEN, "base_url": self.url, "retry": AT_ONCE, **settings})

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.ssl)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.writers.append(writer)
        try:
            with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
                await self._serve(reader, writer, self.connections)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            seen = Seen(head, b"", connection)
            length = int(seen.header("Content-Length") or 0)
            seen = Seen(head, await reader.readexactly(length), connection)
            self.seen.append(seen)
            answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if callable(answer):
                answer = await answer(seen)
            if answer is None:
                return
            writer.write(answer)
            await writer.drain()
            if b"connection: close" in answer.lower():
                return


async def hang(_: Seen) -> bytes | None:
    """Never respond."""
    await asyncio.get_running_loop().create_future()
    return None
