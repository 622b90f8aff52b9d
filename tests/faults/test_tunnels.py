"""In the tunnel of a proxy, connections are reused and end as they do without a proxy."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import trustme
from faults.leaks import settle
from faults.test_bad_servers import serving, trusting
from faults.test_cancellation import run
from faults.test_pooled import HOWS, ON_EVERY_LOOP, given_up, socket_of
from raw_server import ACME, NO_CALLS, Exchange, RawServer

from calls_in_progress_async import RetryPolicy


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(2**16):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def tunnel(exchange: Exchange) -> None:
    """Connect to the host that a CONNECT names, as a proxy does."""
    assert exchange.request is not None
    host, _, port = exchange.request.target.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await exchange.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    try:
        await asyncio.gather(pump(exchange.reader, writer), pump(reader, exchange.writer))
    finally:
        writer.close()


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

        async with (
            RawServer([respond_twice_and_hang], ssl=serving(authority)) as server,
            RawServer([tunnel]) as proxy,
        ):
            settings = {"ssl": trusting(authority), "proxy": proxy.url, "retry": RetryPolicy(max_attempts=1)}
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
            assert [each.method for each in proxy.seen] == ["CONNECT"]
            assert [each.connection for each in server.seen] == [1, 1, 1]

    run(loop, main)
