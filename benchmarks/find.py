"""Compare one find of all contenders: CPU time per request, throughput, and fairness among waiting requests.

    python benchmarks/find.py [--quick] [--json FILE]

Contenders take turns against a server in another process, so only the client's CPU time counts. The script reports
targets and asserts nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from attrs import frozen
from contenders import ALL, DIY, OURS, OURS_READ, PLAIN, PYDANTIC_READ, SLOW
from loopback import Server, Workload
from measuring import Burst, Table, command_line, finish, interleave, loops, percentile, take_turns

EVERY = tuple(ALL)
FEW = (PLAIN, DIY, OURS)


@frozen
class Column:
    """One workload: the responses, the number of concurrent workers, and the requests of each worker in a burst."""

    workload: Workload
    at_once: int
    repeats: int
    contenders: tuple[str, ...] = EVERY

    @property
    def name(self) -> str:
        calls = self.workload.calls
        return f"{calls} call{'s' * (calls > 1)}, {self.at_once:,} at once"

    def repeats_of(self, contender: str) -> int:
        return max(1, self.repeats // 10) if contender in SLOW else self.repeats


COLUMNS = [
    Column(Workload(calls=1), 1, 150),
    Column(Workload(calls=1), 64, 3),
    Column(Workload(calls=1), 1000, 1, tuple(name for name in EVERY if name not in SLOW)),
    Column(Workload(calls=200), 64, 1),
]
FAILING = Column(Workload(calls=1, failing=0.01), 64, 5, (*FEW, "tenacity + aiolimiter + aiohttp"))
DELAYED = [
    Column(Workload(calls=1, latency=0.05), 64, 10, FEW),
    Column(Workload(calls=1, latency=0.05), 1000, 2, FEW),
]


def bursts(column: Column, url: str, quick: bool, note: Callable[[str, str, Burst], object]) -> None:
    contenders = {name: ALL[name] for name in column.contenders}
    for loop, run in loops().items():
        rounds = 2 if quick else 25
        each = partial(note, loop)
        run(take_turns(contenders, url, rounds, each, at_once=column.at_once, repeats=column.repeats_of))


def judge(cpu: Table) -> None:
    """Add the targets of each workload. Columns without a target are shown for comparison."""
    one, at_64, many = (
        [column for column in cpu.columns if part in column]
        for part in (", 1 at once", "1 call, 64 at once", "200 calls")
    )
    others = [column for column in cpu.columns if column not in (*one, *at_64, *many)]
    for target, columns in ((None, one), (0.85, at_64), (None, others), (0.90, many)):
        cpu.judge("ours / plain", OURS, PLAIN, target, columns)
    for target, columns in ((0.75, one), (0.70, at_64), (None, others), (None, many)):
        cpu.judge("ours / DIY", OURS, DIY, target, columns)
    for target, columns in ((0.85, many), (None, (*one, *at_64, *others))):
        cpu.judge("every field read: ours / aiohttp + pydantic", OURS_READ, PYDANTIC_READ, target, columns)


def cpu_and_throughput(url_of: dict[Workload, str], quick: bool) -> Iterator[Table]:
    cpu = Table("CPU time of one find", "us a request")
    rate = Table("Throughput of one process", "requests a second")
    for column in COLUMNS:

        def note(loop: str, name: str, burst: Burst, column: Column = column) -> None:
            cpu.add(name, f"{loop}, {column.name}", burst.cpu)
            rate.add(name, f"{loop}, {column.name}", burst.throughput)

        bursts(column, url_of[column.workload], quick, note)
    judge(cpu)
    yield cpu
    yield rate


def failing(url: str, quick: bool) -> Iterator[Table]:
    cpu = Table("1 % of responses are a 503: CPU time of one find", "us a request", about="64 at once, 1 call a body.")
    lost = Table("1 % of responses are a 503: finds that fail", "%")

    def note(loop: str, name: str, burst: Burst) -> None:
        cpu.add(name, loop, burst.cpu)
        lost.add(name, loop, burst.failed)

    bursts(FAILING, url, quick, note)
    cpu.judge("ours / DIY", OURS, DIY, 0.70)
    yield cpu
    yield lost


async def times_of(contender: Callable[[str, int], Any], url: str, at_once: int, repeats: int) -> list[float]:
    """Return the seconds of each request, and of the whole run as the last item."""
    times: list[float] = []

    async def worker(find: Callable[[], Any]) -> None:
        for _ in range(repeats):
            start = time.perf_counter()
            await find()
            times.append(time.perf_counter() - start)

    async with contender(url, at_once) as find:
        await asyncio.gather(*(find() for _ in range(at_once)))
        start = time.perf_counter()
        await asyncio.gather(*(worker(find) for _ in range(at_once)))
        times.append(time.perf_counter() - start)
    return times


def delayed(url_of: dict[Workload, str], quick: bool) -> Iterator[Table]:
    rate = Table("A server that takes 50 ms: throughput", "requests a second", about="100 connections.")
    wait = Table("A server that takes 50 ms: spread of the waits", "ms, p99 less median")
    for column in DELAYED:
        for loop, run in loops().items():
            named = f"{loop}, {column.at_once:,} at once"

            def note(name: str, figures: list[float], named: str = named) -> None:
                *times, whole = figures
                rate.add(name, named, len(times) / whole)
                wait.add(name, named, (percentile(times, 0.99) - statistics.median(times)) * 1000)

            def one(name: str, run: Callable[..., Any] = run, column: Column = column) -> list[float]:
                return run(times_of(ALL[name], url_of[column.workload], column.at_once, column.repeats))

            interleave(1 if quick else 5, {name: partial(one, name) for name in column.contenders}, note)
    yield rate
    yield wait


def tables(quick: bool) -> Iterator[Table]:
    workloads = list(dict.fromkeys(column.workload for column in (*COLUMNS, *DELAYED, FAILING)))
    with Server(*workloads) as urls:
        url_of = dict(zip(workloads, urls, strict=True))
        yield from cpu_and_throughput(url_of, quick)
        yield from delayed(url_of, quick)
        yield from failing(url_of[FAILING.workload], quick)


if __name__ == "__main__":
    options = command_line(__doc__)
    finish(tables(options.quick), options)
