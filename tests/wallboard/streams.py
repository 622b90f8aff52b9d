"""Reads a stream of server-sent events as a browser would."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from attrs import define


@define
class Message:
    """One message of a stream."""

    event: str
    data: Any
    id: str


class Stream:
    """The messages of one response."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def message(self) -> Message | None:
        """Read the next message; None at the end of the stream."""
        fields: dict[str, str] = {}
        async for line in self.response.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                return Message(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
        return None

    async def until(self, event: str) -> Message:
        """Read up to the next message of this kind."""
        while (message := await self.message()) is not None:
            if message.event == event:
                return message
        raise AssertionError(f"the stream ended before {event}")


@asynccontextmanager
async def open_stream(url: str, **headers: str) -> AsyncIterator[Stream]:
    """Open the stream of a board."""
    async with (
        aiohttp.ClientSession(read_bufsize=2**22) as session,
        session.get(f"{url}events", headers={name.replace("_", "-"): value for name, value in headers.items()}) as got,
    ):
        assert got.status == 200, await got.text()
        yield Stream(got)
