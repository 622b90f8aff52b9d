"""A proxy between a worker and the server, to cut the link and to deliver its bytes late."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from raw_server import stop_serving


class Proxy:
    """Forwards TCP connections to a port on loopback.

    The kit replaces the API. Between a worker and NATS it has no double.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Listen, and return the address for NATS clients."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Hold all bytes of both directions from now on. Connections stay open."""
        self._open.clear()

    def heal(self) -> None:
        """Deliver the bytes held, even those of clients that have gone, and go on."""
        self._open.set()

    async def close(self) -> None:
        """Drop every connection."""
        assert self._server is not None
        await stop_serving(self._server, self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream: asyncio.StreamWriter | None = None
        try:
            back, upstream = await asyncio.open_connection("127.0.0.1", self._port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, upstream))
                group.create_task(self._forward(back, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for each in filter(None, (writer, upstream)):
                each.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._open.wait()
            writer.write(data)
            with suppress(ConnectionError):  # the other side has gone; go on with what is left
                await writer.drain()
        await self._open.wait()
        writer.close()
