"""Measure a find while the same client watches 2,000 organizations, and the longest block of the event loop.

    python benchmarks/latency.py [--quick] [--json FILE]

A heartbeat shows the lateness of the loop for any reason. The time of the longest callback shows our part, and is taken
in CPU time too, because a process on a shared machine also waits for a core. The first call, the first phone number and
the first watch run in processes of their own. The script reports targets and asserts nothing.

The garbage collector ignores objects from before the measurement, such as the libraries of all contenders: a full
collection of those takes more than 10 ms, in whatever callback it happens.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import bodies
import contenders
from attrs import asdict, define
from loopback import Server, Workload
from measuring import Table, Verdict, command_line, finish, interleave, percentile

from calls_in_progress_async import Organization
from calls_in_progress_async.records.results import structure_calls

if TYPE_CHECKING:
    from calls_in_progress_async import Watch

WATCHED, INTERVAL = 2000, 5.0
CONSIDERED_SLOW = 0.010
"""Seconds; our callbacks must stay below."""
BUSY = Workload(calls=5, changed=0.2)


@define
class Loop:
    """Observations of an event loop."""

    late: float = 0.0
    """The largest lateness of a heartbeat, in seconds."""
    callback: float = 0.0
    """The time of the longest callback, in seconds."""
    callback_cpu: float = 0.0
    """The CPU time of the longest callback, in seconds."""
    collection: float = 0.0
    """The CPU time of the longest garbage collection within a callback, in seconds."""


@asynccontextmanager
async def observed() -> AsyncIterator[Loop]:
    """Observe the running loop with a heartbeat each ms and a timer around every callback. Needs asyncio's own loop."""
    seen = Loop()
    original = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        start, start_cpu = time.perf_counter(), time.thread_time()
        original(handle)
        seen.callback_cpu = max(seen.callback_cpu, time.thread_time() - start_cpu)
        seen.callback = max(seen.callback, time.perf_counter() - start)

    began = 0.0

    def collected(phase: str, _: object) -> None:
        nonlocal began
        if phase == "start":
            began = time.thread_time()
        else:
            seen.collection = max(seen.collection, time.thread_time() - began)

    async def beat() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            seen.late = max(seen.late, time.perf_counter() - start - 0.001)

    asyncio.Handle._run = timed  # type: ignore[method-assign]
    gc.callbacks.append(collected)
    heart = asyncio.create_task(beat())
    try:
        yield seen
    finally:
        gc.callbacks.remove(collected)
        asyncio.Handle._run = original  # type: ignore[method-assign]
        heart.cancel()


class _SlowCallbacks(logging.Handler):
    """A handler for asyncio's own log of slow callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.computing = 0
        self.cpu = 0.0
        """The CPU seconds of the last callback."""

    def emit(self, record: logging.LogRecord) -> None:
        if "took" in record.getMessage():
            self.count += 1
            self.computing += self.cpu >= CONSIDERED_SLOW


@contextmanager
def slow_callback_log() -> Iterator[_SlowCallbacks]:
    """Count callbacks of more than 10 ms in the log of asyncio's debug mode, by wall time and by CPU time."""
    log, handler, original = logging.getLogger("asyncio"), _SlowCallbacks(), asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        start = time.thread_time()
        original(handle)
        handler.cpu = time.thread_time() - start

    log.addHandler(handler)
    log.propagate = False
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = CONSIDERED_SLOW
    loop.set_debug(True)
    asyncio.Handle._run = timed  # type: ignore[method-assign]
    try:
        yield handler
    finally:
        asyncio.Handle._run = original  # type: ignore[method-assign]
        loop.set_debug(False)
        log.propagate = True
        log.removeHandler(handler)


async def timed_finds(find: Callable[[], Any], seconds: float) -> list[float]:
    """Make a find each 2 ms and return the duration of each, in ms."""
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        await find()
        times.append((time.perf_counter() - start) * 1000)
        await asyncio.sleep(0.002)
    return times


@asynccontextmanager
async def watching(client: Any, count: int) -> AsyncIterator[Watch]:
    """Watch organizations and take their events; enter the block after the first poll of each."""
    organizations = [Organization.advertiser(number) for number in range(1, count + 1)]
    async with client.watch(organizations, interval=INTERVAL) as watch:

        async def take() -> None:
            async for event in watch:
                event.call  # noqa: B018 - made on first reading

        taking = asyncio.create_task(take())
        await asyncio.sleep(INTERVAL * 1.2 if count > 100 else 0.2)
        yield watch
        taking.cancel()


@asynccontextmanager
async def checkpoints(watch: Watch) -> AsyncIterator[None]:
    """Write a checkpoint and read the statistics every half second."""

    async def write() -> None:
        while True:
            await watch.acheckpoint()
            watch.stats  # noqa: B018 - made on first reading
            await asyncio.sleep(0.5)

    writing = asyncio.create_task(write())
    yield
    writing.cancel()


async def finds(url: str, seconds: float) -> list[float]:
    async with contenders.our_client(url) as client:
        find = partial(client.find, contenders.ADVERTISER)
        await find()
        return await timed_finds(find, seconds)


async def finds_beside_a_watch(
    url: str, seconds: float, watched: int
) -> tuple[list[float], dict[str, Loop], _SlowCallbacks]:
    """Return the durations of finds, observations without and with checkpoints, and the slow-callback log."""
    seen = {}
    async with contenders.our_client(url) as client, watching(client, watched) as watch:
        find = partial(client.find, contenders.ADVERTISER)
        times = await timed_finds(find, seconds)
        async with observed() as seen["watching"]:
            await timed_finds(find, seconds)
        async with observed() as seen["watching, with checkpoints"], checkpoints(watch):
            await timed_finds(find, seconds)
        with slow_callback_log() as log:
            async with checkpoints(watch):
                await timed_finds(find, seconds)
    return times, seen, log


async def plain_finds(url: str, seconds: float) -> list[float]:
    async with contenders.plain(url, 1) as find:
        await find()
        return await timed_finds(find, seconds)


def under_load(quick: bool) -> Iterator[Table]:
    watched = 200 if quick else WATCHED
    seconds = 2.0 if quick else 10.0
    table = Table(f"Latency of a find, 1 in flight, 5 calls, {watched / INTERVAL:.0f} polls a second beside it", "ms")
    blocked = Table(f"The longest block of the loop while {watched:,} organizations are watched", "ms")
    logged = computing = 0
    with Server(BUSY) as (url,):

        def note(row: str, times: list[float]) -> None:
            for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
                table.add(row, name, percentile(times, share))

        for _ in range(1 if quick else 3):
            note("plain aiohttp, nothing else running", asyncio.run(plain_finds(url, seconds)))
            note("ours, nothing else running", asyncio.run(finds(url, seconds)))
            times, loops, log = asyncio.run(finds_beside_a_watch(url, seconds, watched))
            note(f"ours, watching {watched:,}", times)
            for row, seen in loops.items():
                add_loop(blocked, row, seen)
            logged += log.count
            computing += log.computing
    for row in loops:
        judge_loop(blocked, row)
    blocked.verdicts.append(Verdict("callbacks in asyncio's slow-callback log (debug mode)", logged))
    blocked.verdicts.append(Verdict("of these, callbacks with as much CPU time", computing, 0))
    yield table
    yield blocked


def add_loop(table: Table, row: str, seen: Loop) -> None:
    table.add(row, "heartbeat late by", seen.late * 1000)
    table.add(row, "longest callback", seen.callback * 1000)
    table.add(row, "longest callback, CPU time", seen.callback_cpu * 1000)
    table.add(row, "of it garbage collection, at most", seen.collection * 1000)


def judge_loop(table: Table, row: str) -> None:
    limit = CONSIDERED_SLOW * 1000
    for column in table.columns[:3]:
        table.verdicts.append(Verdict(f"{row}: {column}, ms", table.median(row, column), limit))


async def first_find(client: Any) -> None:
    await client.find(contenders.ADVERTISER)


async def first_phone_numbers(client: Any) -> None:
    numbers = {"calling_phone_number": "(818) 555-1234", "destination_phone_number": "+1 855 559 5599"}
    await client.find(contenders.ADVERTISER, **numbers)


async def first_watch(client: Any) -> None:
    organizations = list(map(Organization.advertiser, range(1, 101)))
    await asyncio.sleep(0)
    async with client.watch(organizations, interval=0.2) as watch:
        await anext(watch)


UNNAMED = "by a program that names no event"
FIRSTS = {
    "first find": first_find,
    "first find by phone numbers, metadata loaded": first_phone_numbers,
    "first watch, of 100": first_watch,
    f"first watch, of 100, {UNNAMED}": first_watch,
}


async def first_call(url: str, row: str) -> Loop:
    if UNNAMED not in row:
        from calls_in_progress_async import CallStarted  # noqa: F401, PLC0415 - as most programs do
    async with observed() as seen:
        await asyncio.sleep(0.01)
        async with contenders.our_client(url) as client:
            await FIRSTS[row](client)
        await asyncio.sleep(0.01)
    return seen


def first_calls(quick: bool) -> Iterator[Table]:
    table = Table("The longest block of the loop by the first call of a process", "ms")
    with Server(Workload()) as (url,):

        def one(row: str) -> Loop:
            command = [sys.executable, __file__, "--first-call", url, row]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return Loop(**json.loads(done.stdout))

        each = {row: partial(one, row) for row in FIRSTS}
        interleave(2 if quick else 9, each, lambda row, seen: add_loop(table, row, seen))
    for row in FIRSTS:
        judge_loop(table, row)
    yield table


def timed(note: Callable[[float], None], of: int, act: Callable[[], Any]) -> Any:
    """Note the CPU time of an act, in microseconds for each of ``of`` things."""
    start = time.thread_time()
    result = act()
    note((time.thread_time() - start) / of * 1e6)
    return result


async def pieces(url: str, count: int, note: Callable[[str, float], None]) -> None:
    """Time the work of one step, for each organization."""
    organizations = [Organization.advertiser(number) for number in range(1, count + 1)]
    async with contenders.our_client(url) as client:
        async with watching(client, count) as watch:
            state = timed(partial(note, "Watch.checkpoint, an organization"), count, watch.checkpoint)
            timed(partial(note, "Watch.stats, an organization"), count, lambda: watch.stats)
        timed(partial(note, "client.watch, an organization"), count, partial(client.watch, organizations))
        resumed = partial(client.watch, organizations, resume_from=state)
        timed(partial(note, "client.watch, resumed, an organization"), count, resumed)


def in_pieces(quick: bool) -> Iterator[Table]:
    table = Table("Work done in one step", "us, CPU")
    body = bodies.body(500)
    with Server(BUSY) as (url,):
        for _ in range(1 if quick else 5):
            asyncio.run(pieces(url, 200 if quick else WATCHED, lambda row, us: table.add(row, "each", us)))
            # A body of this size is read in a thread of its own, not in a step of the loop.
            read = partial(structure_calls, body, strict=False)
            timed(partial(table.add, "a response decoded in a thread, a call", "each"), 500, read)
    yield table


def tables(quick: bool) -> Iterator[Table]:
    gc.collect()
    gc.freeze()
    yield from under_load(quick)
    yield from first_calls(quick)
    yield from in_pieces(quick)


if __name__ == "__main__":
    if "--first-call" in sys.argv:
        loop = asyncio.run(first_call(*sys.argv[2:]))
        print(json.dumps(asdict(loop)))
    else:
        options = command_line(__doc__)
        finish(tables(options.quick), options)
