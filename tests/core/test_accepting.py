"""A server closed while it accepts a connection does not lose the connection."""

import asyncio
import gc
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from raw_server import RawServer, reply

from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.wallboard import serve

SERVERS: dict[str, Callable[[], AbstractAsyncContextManager[Any]]] = {
    "sandbox": SandboxServer,
    "wallboard": lambda: serve(web.Application(), "127.0.0.1", 0),
    "raw": lambda: RawServer([reply()]),
}


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("name", SERVERS)
async def test_a_connection_accepted_while_the_server_closes_is_closed(name: str, steps: int) -> None:
    """At any step of the loop after the connect, the other end sees the end of the connection."""
    with socket.socket() as connection:
        async with SERVERS[name]() as server:
            url = urlsplit(server if isinstance(server, str) else server.url)
            connection.connect((url.hostname, url.port))
            for _ in range(steps):
                await asyncio.sleep(0)
        connection.settimeout(5)
        with suppress(ConnectionResetError):
            assert await asyncio.to_thread(connection.recv, 1) == b""
    gc.collect()
