"""One find, in all the ways to make it: CPU time a request, throughput, and how evenly it is shared.

    python benchmarks/find.py [--quick] [--json FILE]

Contenders take turns, each against a server in a process of its own; only the client's CPU time counts. Nothing is
asserted.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen
from contenders import ALL, DIY, OURS, PLAIN
from loopback import Server, Workload
from measuring import Table, command_line, finish, interleave, loops, percentile

EVERY = tuple(ALL)
FEW = (PLAIN, DIY, OURS)
SLOW = {"httpx + orjson": 10}
"""By how much fewer requests a contender makes, since each takes so much longer."""


@frozen
class Column:
    """One workload: which answers, how many at once, how many requests a round."""

    workload: Workload
    at_once: int
    requests: int
    contenders: tuple[str, ...] = EVERY

    @property
    def name(self) -> str:
        calls = self.workload.calls
        return f"{calls} call{'s' * (calls > 1)}, {self.at_once:,} at once"


COLUMNS = [
    Column(Workload(calls=1), 1, 800),
    Column(Workload(calls=1), 64, 2000),
    Column(Workload(calls=1), 1000, 2000, tuple(name for name in EVERY if name not in SLOW)),
    Column(Workload(calls=200), 64, 200),
]
DELAYED = [
    Column(Workload(calls=1, latency=0.05), 64, 640, FEW),
    Column(Workload(calls=1, latency=0.05), 1000, 2000, FEW),
]
FAILING = [Column(Workload(calls=1, failing=0.01), 64, 2000, (*FEW, "tenacity + aiolimiter + aiohttp"))]


@frozen
class Round:
    """What one round of one contender came to."""

    cpu: float
    """CPU microseconds a request."""
    throughput: float
    """Requests a second."""
    times: list[float]
    """Seconds of each request."""
    failed: float
    """Percent that raised, or came to the body of an error."""


async def measure(contender: Callable[[str, int], Any], url: str, at_once: int, requests: int) -> Round:
    """Make requests, so many at once, over connections that are open already."""
    times: list[float] = []
    failed = 0

    async def worker(find: Callable[[], Any], count: int) -> None:
        nonlocal failed
        for _ in range(count):
            start = time.perf_counter()
            try:
                answer = await find()
                failed += isinstance(answer, dict) and "error" in answer
            except Exception:
                failed += 1
            times.append(time.perf_counter() - start)

    async def all_at_once(find: Callable[[], Any], count: int) -> None:
        shares = [count // at_once + (number < count % at_once) for number in range(at_once)]
        await asyncio.gather(*(worker(find, share) for share in shares))

    async with contender(url, at_once) as find:
        await all_at_once(find, min(requests, at_once))
        times.clear()
        failed = 0
        wall, cpu = time.perf_counter(), time.process_time()
        await all_at_once(find, requests)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Round(cpu / requests * 1e6, requests / wall, times, 100 * failed / requests)


def rounds_of(column: Column, url: str, quick: bool, note: Callable[[str, str, Round], object]) -> None:
    count = 2 if quick else 5
    for loop_name, run in loops().items():

        def one(name: str, run: Callable[..., Any] = run) -> Round:
            requests = column.requests // (SLOW.get(name, 1) * (4 if quick else 1))
            return run(measure(ALL[name], url, column.at_once, max(requests, min(column.at_once, 50))))

        contenders = {name: (lambda name=name: one(name)) for name in column.contenders}
        interleave(count, contenders, lambda name, figures, loop=loop_name: note(name, loop, figures))


def cpu_and_throughput(url_of: dict[Workload, str], quick: bool) -> Iterator[Table]:
    cpu = Table("CPU time of one find", "us a request")
    rate = Table("Throughput of one process", "requests a second")
    for column in COLUMNS:

        def note(name: str, loop: str, figures: Round, column: Column = column) -> None:
            cpu.add(name, f"{loop}, {column.name}", figures.cpu)
            rate.add(name, f"{loop}, {column.name}", figures.throughput)

        rounds_of(column, url_of[column.workload], quick, note)
    many = [each for each in cpu.columns if "200 calls" in each]
    cpu.judge("ours / plain", OURS, PLAIN, 0.90)
    cpu.judge("ours / DIY", OURS, DIY, 0.70, [each for each in cpu.columns if each not in many])
    cpu.judge("ours / DIY", OURS, DIY, None, many)
    cpu.judge("ours with every field read / plain", "ours, every field read", PLAIN, None)
    yield cpu
    yield rate


def delayed(url_of: dict[Workload, str], quick: bool) -> Iterator[Table]:
    rate = Table("A server that takes 50 ms: throughput", "requests a second", about="100 connections.")
    wait = Table("A server that takes 50 ms: how evenly it is shared", "ms, p99 less median")
    for column in DELAYED:

        def note(name: str, loop: str, figures: Round, column: Column = column) -> None:
            rate.add(name, f"{loop}, {column.at_once:,} at once", figures.throughput)
            spread = percentile(figures.times, 0.99) - statistics.median(figures.times)
            wait.add(name, f"{loop}, {column.at_once:,} at once", spread * 1000)

        rounds_of(column, url_of[column.workload], quick, note)
    yield rate
    yield wait


def failing(url_of: dict[Workload, str], quick: bool) -> Iterator[Table]:
    cpu = Table("1 % of answers are a 503: CPU time of one find", "us a request", about="64 at once, 1 call a body.")
    lost = Table("1 % of answers are a 503: finds that fail", "%")
    for column in FAILING:

        def note(name: str, loop: str, figures: Round) -> None:
            cpu.add(name, loop, figures.cpu)
            lost.add(name, loop, figures.failed)

        rounds_of(column, url_of[column.workload], quick, note)
    cpu.judge("ours / DIY", OURS, DIY, 0.70)
    yield cpu
    yield lost


def tables(quick: bool) -> Iterator[Table]:
    workloads = list(dict.fromkeys(column.workload for column in (*COLUMNS, *DELAYED, *FAILING)))
    with Server(*workloads) as urls:
        url_of = dict(zip(workloads, urls, strict=True))
        yield from cpu_and_throughput(url_of, quick)
        yield from delayed(url_of, quick)
        yield from failing(url_of, quick)


if __name__ == "__main__":
    options = command_line(__doc__)
    finish(tables(options.quick), options)
