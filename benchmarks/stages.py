"""Measure each layer of a find by itself, from the bare transport up to ``find``.

    python benchmarks/stages.py [--quick] [--json FILE]

All layers are open in one loop and take turns in short bursts, so their differences are the layers' own. The last two
rows swap the transport: an aiohttp session shows the cost of an injected ``session=``, and asyncio streams with the
bare minimum for the loopback server show the remaining gain. The script reports ratios and asserts nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import contenders
from loopback import Server, Workload
from measuring import Table, command_line, finish, loops, take_turns

from calls_in_progress_async import CurrentCallsRequest, SendState, WireRequest, WireResponse

REQUEST = CurrentCallsRequest(organization=contenders.ADVERTISER)


def layer(name: str) -> Callable[[str, int], Any]:
    """Make a contender for one layer of the client."""

    @asynccontextmanager
    async def contender(url: str, at_once: int) -> AsyncIterator[contenders.Find]:
        async with contenders.our_client(url) as client:
            wire, state = REQUEST.wire(client._wire_format), SendState()
            yield {
                "transport": lambda: client._transport.send(wire, contenders.TOKEN, state),
                "pipeline": lambda: client._pipeline.execute(
                    wire, contenders.ADVERTISER, 30.0, lambda response, _: response
                ),
                "send": lambda: client.send(REQUEST),
            }[name]

    return contender


class Streams:
    """A transport over asyncio streams without TLS, timeouts or validation."""

    def __init__(self, url: str) -> None:
        self._host, self._port = url.removeprefix("http://").split(":")
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, request: WireRequest, token: str, state: Any) -> WireResponse:
        connection = self._idle.pop() if self._idle else await asyncio.open_connection(self._host, int(self._port))
        reader, writer = connection
        head = f"GET {request.target} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: {token}\r\n\r\n"
        writer.write(head.encode())
        head_of_response = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head_of_response[head_of_response.rindex(b"Content-Length: ") + 16 : -4]))
        self._idle.append(connection)
        return WireResponse(200, {}, body)

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


@asynccontextmanager
async def over_streams(url: str, at_once: int) -> AsyncIterator[contenders.Find]:
    async with contenders.our_client(url, transport=Streams(url)) as client:
        yield lambda: client.find(contenders.ADVERTISER)


@asynccontextmanager
async def through_a_session(url: str, at_once: int) -> AsyncIterator[contenders.Find]:
    async with aiohttp.ClientSession() as session, contenders.our_client(url, session=session) as client:
        yield lambda: client.find(contenders.ADVERTISER)


STAGES: dict[str, Callable[[str, int], Any]] = {
    "raw socket + orjson": contenders.raw_socket,
    "aiohttp, tuned, body only": contenders.aiohttp_tuned,
    "ours: transport (aiohttp's errors, size limit)": layer("transport"),
    "ours: + pipeline (limiter, slots, deadline, retries)": layer("pipeline"),
    "ours: + send (request to wire, body to records)": layer("send"),
    "ours: + find (arguments validated)": contenders.ours,
    contenders.PLAIN: contenders.plain,
    "ours: find through an aiohttp session": through_a_session,
    "ours: find over bare streams": over_streams,
}


def tables(quick: bool) -> Iterator[Table]:
    table = Table("The layers of one find", "us a request, CPU", "64 at once, 1 call a body")
    with Server(Workload()) as (url,):
        for loop, run in loops().items():
            run(
                take_turns(
                    STAGES, url, 8 if quick else 60, lambda name, burst, loop=loop: table.add(name, loop, burst.cpu)
                )
            )
    table.cells = {name: table.cells[name] for name in STAGES}
    for name in STAGES:
        if name != contenders.PLAIN:
            table.judge(f"{name} / plain", name, contenders.PLAIN, None)
    yield table


if __name__ == "__main__":
    options = command_line(__doc__)
    finish(tables(options.quick), options)
