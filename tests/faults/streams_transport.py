"""A transport written from the docstring of `Transport` alone: asyncio's streams, one connection a request."""

from __future__ import annotations

import asyncio

from multidict import CIMultiDict

from calls_in_progress_async import ConnectionFailedError
from calls_in_progress_async.transport.protocol import SendState
from calls_in_progress_async.transport.wire import WireRequest, WireResponse


class StreamsTransport:
    """Sends each request on a connection of its own. The kit's `ScriptedTransport` opens none.

    It leaves `SendState` alone, and lets asyncio's exceptions through: the client must be right all the same.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            error = ConnectionFailedError("No connection was made.")
            raise error from None
        try:
            writer.write(self._message(request, token))
            return await self._read_response(reader)
        finally:
            writer.transport.abort()

    def _message(self, request: WireRequest, token: str) -> bytes:
        lines = [f"{request.method} {request.target} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        lines += [f"Authorization: {token}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        if request.body is not None:
            lines += [f"Content-Length: {len(request.body)}", "Content-Type: application/json"]
        return "\r\n".join([*lines, "", ""]).encode() + (request.body or b"")

    async def _read_response(self, reader: asyncio.StreamReader) -> WireResponse:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = CIMultiDict(line.split(": ", 1) for line in head[1:] if line)
        if headers.get("Transfer-Encoding") == "chunked":
            return WireResponse(status, headers, await self._read_chunks(reader))
        return WireResponse(status, headers, await reader.readexactly(int(headers.get("Content-Length", "0"))))

    async def _read_chunks(self, reader: asyncio.StreamReader) -> bytes:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        return body

    async def close(self) -> None:
        """Do nothing: no connection is kept."""
