"""In the tunnel of a proxy, connections are reused and end as they do without a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trustme
from faults.leaks import settle
from faults.test_bad_servers import serving, trusting
from faults.test_cancellation import run
from faults.test_pooled import HOWS, ON_EVERY_LOOP, given_up, socket_of
from raw_server import ACME, NO_CALLS, Exchange, RawServer

from calls_in_progress_async import RetryPolicy


@asynccontextmanager
async def tunnel() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Run a proxy for tunnels; yield its URL and its request lines."""
    asked: list[bytes] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(2**16):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        host, _, port = asked[-1].split()[1].decode().partition(":")
        there = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


@HOWS
@ON_EVERY_LOOP
def test_a_connection_in_a_tunnel_is_reused_and_ends_at_once(how: str, loop: Any) -> None:
    """A find given up in a tunnel ends its connection, though the server reads nothing."""
    authority = trustme.CA()

    async def main() -> None:
        hangs, on = asyncio.Event(), asyncio.Event()

        async def respond_twice_and_hang(exchange: Exchange) -> None:
            if len(server.seen) < 3:
                return await exchange.send(NO_CALLS)
            exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
            hangs.set()
            await on.wait()
            exchange.writer.transport.resume_reading()  # type: ignore[attr-defined]
            return await exchange.gone()

        async with RawServer([respond_twice_and_hang], ssl=serving(authority)) as server, tunnel() as (proxy, asked):
            settings = {"ssl": trusting(authority), "proxy": proxy, "retry": RetryPolicy(max_attempts=1)}
            async with server.client(**settings) as client:
                for _ in range(2):
                    assert list(await client.find(ACME)) == []
                task = asyncio.create_task(client.find(ACME))
                await hangs.wait()
                connection = socket_of(client)
                await given_up(client, task, how)
                await settle()
                assert connection.fileno() == -1
                on.set()
                await server.until(lambda: server.open == 0)
            assert [each.split()[0] for each in asked] == [b"CONNECT"]
            assert [each.connection for each in server.seen] == [1, 1, 1]

    run(loop, main)
