"""Measure one find while 1, 100 or 10,000 organizations take turns, to show the value of a cached URL.

    python benchmarks/organizations.py [--quick] [--json FILE]

The script reports targets and asserts nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import aiohttp
import contenders
import orjson
from loopback import Server, Workload
from measuring import Burst, Table, command_line, finish, loops, take_turns

from calls_in_progress_async import Organization

ORGANIZATIONS = (1, 100, 10_000)
PLAIN, OURS = contenders.PLAIN, contenders.OURS


def plain(count: int) -> Callable[[str, int], Any]:
    @asynccontextmanager
    async def contender(url: str, at_once: int) -> AsyncIterator[contenders.Find]:
        numbers = cycle([str(number) for number in range(1, count + 1)])
        async with aiohttp.ClientSession() as session:

            async def find() -> Any:
                parameters = {"id": next(numbers), "organization_type": "advertiser"}
                headers = contenders.HEADERS
                async with session.get(url + contenders.PATH, params=parameters, headers=headers) as response:
                    return orjson.loads(await response.read())

            yield find

    return contender


def ours(count: int) -> Callable[[str, int], Any]:
    @asynccontextmanager
    async def contender(url: str, at_once: int) -> AsyncIterator[contenders.Find]:
        organizations = cycle([Organization.advertiser(number) for number in range(1, count + 1)])
        async with contenders.our_client(url) as client:
            yield lambda: client.find(next(organizations))

    return contender


def tables(quick: bool) -> Iterator[Table]:
    table = Table("One find, by number of organizations", "us a request, CPU", "64 at once, 1 call a body")
    each = {(name, count): make(count) for count in ORGANIZATIONS for name, make in ((PLAIN, plain), (OURS, ours))}
    with Server(Workload()) as (url,):
        for loop, run in loops().items():

            def note(key: tuple[str, int], burst: Burst, loop: str = loop) -> None:
                name, count = key
                table.add(name, f"{loop}, {count:,}", burst.cpu)

            run(take_turns(each, url, 8 if quick else 60, note))
    table.judge("ours / plain", OURS, PLAIN, 0.90)
    yield table


if __name__ == "__main__":
    options = command_line(__doc__)
    finish(tables(options.quick), options)
