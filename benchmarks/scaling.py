"""Measure the growth of time and memory with organizations, waiters for the limiter, and calls in a body.

    python benchmarks/scaling.py [--quick] [--json FILE]

Growth must be linear or better: a line through the points on logarithmic axes has a slope of at most 1.05. A fixed cost
flattens the curve at small numbers, so the line goes through the upper half of the points. The script reports targets
and asserts nothing.
"""

from __future__ import annotations

import asyncio
import gc
import math
import statistics
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import bodies
from measuring import Table, Verdict, command_line, cpu_of, finish

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.limits.token_bucket import TokenBucket
from calls_in_progress_async.records.results import structure_calls
from calls_in_progress_async.transport.wire import WireRequest, WireResponse

LINEAR = 1.05
ORGANIZATIONS = (10, 100, 1_000, 10_000, 100_000)
WAITERS = (1, 10, 100, 1_000, 10_000)
CALLS = (1, 5, 20, 100, 500, 2_000, 5_000)


class InMemory:
    """A transport without a network; the remaining cost is ours."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def send(self, request: WireRequest, token: str, state: Any) -> WireResponse:
        await asyncio.sleep(0)
        return WireResponse(200, {}, bytes(memoryview(self._body)))  # a copy, like every real response

    async def close(self) -> None:
        """Do nothing: there is no connection."""


def client_in_memory(body: bytes) -> CallsInProgressClient:
    return CallsInProgressClient(token="token", transport=InMemory(body))


def organizations(count: int) -> Iterator[Organization]:
    return (Organization.advertiser(number) for number in range(1, count + 1))


async def find_all(count: int) -> None:
    async with client_in_memory(bodies.body(1)) as client:
        async for _ in client.find_many(organizations(count)):
            pass


async def watch_all(count: int) -> tuple[float, float]:
    """Poll each organization once and return the CPU seconds and the bytes kept for all of them."""
    async with client_in_memory(bodies.body(5)) as client:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0
        start = time.process_time()
        async with client.watch(organizations(count), interval=0.1 + count / 2000, max_pending=10**9) as watch:
            started = 0
            async for _ in watch:
                started += 1
                if started == 5 * count:  # each of the five calls of each organization has started
                    break
            spent = time.process_time() - start
            gc.collect()
            after = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0
            return spent, float(after - before)


async def wait_all(count: int) -> float:
    """Return the CPU seconds to serve ``count`` queued waiters."""
    bucket = TokenBucket(rate=100_000, burst=1000)
    await bucket.acquire(1000)
    tasks = [asyncio.ensure_future(bucket.acquire()) for _ in range(count)]
    await asyncio.sleep(0)
    start = time.process_time()
    await asyncio.gather(*tasks)
    return time.process_time() - start


async def waiters_memory(count: int) -> float:
    bucket = TokenBucket(rate=0.001, burst=1)
    await bucket.acquire()
    before = tracemalloc.get_traced_memory()[0]
    tasks = [asyncio.ensure_future(bucket.acquire()) for _ in range(count)]
    await asyncio.sleep(0)
    size = tracemalloc.get_traced_memory()[0] - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return float(size)


def traced(work: Callable[[], Awaitable[float]]) -> float:
    """Run ``work`` under tracemalloc and return its figure."""
    tracemalloc.start()
    try:
        return asyncio.run(work())  # type: ignore[arg-type]
    finally:
        tracemalloc.stop()


async def find_all_memory(count: int) -> float:
    await find_all(count)
    return float(tracemalloc.get_traced_memory()[1])


def cpu(work: Awaitable[Any]) -> float:
    start = time.process_time()
    asyncio.run(work)  # type: ignore[arg-type]
    return time.process_time() - start


async def watch_cpu(count: int) -> float:
    return (await watch_all(count))[0]


async def watch_memory(count: int) -> float:
    return (await watch_all(count))[1]


def body_memory(count: int) -> float:
    """Return the bytes of the records of a body, the body included."""
    tracemalloc.start()
    body = bytes(bytearray(bodies.body(count)))
    before = tracemalloc.get_traced_memory()[0] - len(body)
    records = structure_calls(body, strict=False)
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    del records
    return float(size)


def slope(table: Table, row: str) -> float:
    """Return the exponent of a row's growth, from the upper half of its points."""
    points = [(math.log(float(column)), math.log(table.median(row, column))) for column in table.cells[row]]
    points = points[len(points) // 2 :]
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def judged(table: Table) -> Table:
    for row in table.cells:
        table.verdicts.append(Verdict(f"{row}: slope", slope(table, row), LINEAR))
    return table


def by_organizations(quick: bool) -> Iterator[Table]:
    time_of, memory_of = Table("Organizations", "CPU seconds for all"), Table("Organizations: memory", "bytes for all")
    for count in ORGANIZATIONS[:3] if quick else ORGANIZATIONS:
        for _ in range(1 if quick or count > 10_000 else 3):
            time_of.add("find_many, one call each", str(count), cpu(find_all(count)))
            time_of.add("watch, five calls each, first polls", str(count), asyncio.run(watch_cpu(count)))
        if count <= 10_000:  # tracing is several times slower
            memory_of.add("find_many, one call each, peak", str(count), traced(partial(find_all_memory, count)))
            memory_of.add("watch, five calls each", str(count), traced(partial(watch_memory, count)))
    yield judged(time_of)
    yield judged(memory_of)


def by_waiters(quick: bool) -> Iterator[Table]:
    time_of, memory_of = Table("Waiting for the limiter", "CPU seconds for all"), Table("Waiting: memory", "bytes")
    for count in WAITERS[:4] if quick else WAITERS:
        for _ in range(1 if quick else 5):
            time_of.add("waiters", str(count), asyncio.run(wait_all(count)))
        memory_of.add("waiters", str(count), traced(partial(waiters_memory, count)))
    yield judged(time_of)
    yield judged(memory_of)


def by_calls(quick: bool) -> Iterator[Table]:
    time_of, memory_of = Table("Calls in a body", "CPU seconds for all"), Table("Calls in a body: memory", "bytes")
    for count in CALLS[:5] if quick else CALLS:
        body = bodies.body(count)
        for _ in range(1 if quick else 5):
            time_of.add("bytes to records", str(count), cpu_of(partial(structure_calls, body, strict=False), 0.02))
        memory_of.add("body and records", str(count), body_memory(count))
    yield judged(time_of)
    yield judged(memory_of)


def tables(quick: bool) -> Iterator[Table]:
    yield from by_organizations(quick)
    yield from by_waiters(quick)
    yield from by_calls(quick)


if __name__ == "__main__":
    options = command_line(__doc__)
    finish(tables(options.quick), options)
