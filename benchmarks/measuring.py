"""Measure contenders in interleaved rounds; report medians, spread and verdicts as text, JSON and Markdown.

Absolute figures drift with the machine and its other load. So contenders take turns, round after round, and targets
apply to the median of their ratios within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen

LIBRARIES = (
    "calls-in-progress-async", "aiohttp", "msgspec", "attrs", "cattrs", "tenacity", "phonenumbers",
    "orjson", "uvloop", "httpx", "httpx2", "pydantic", "aiohttp-retry", "aiolimiter",
)  # fmt: skip


@frozen
class Verdict:
    """One claim with its measured value and its target."""

    claim: str
    value: float
    target: float | None = None
    more_is_better: bool = False

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.more_is_better else self.value <= self.target


@define
class Table:
    """Figures by row (a contender) and column (a workload), one for each round."""

    title: str
    unit: str
    about: str = ""
    cells: dict[str, dict[str, list[float]]] = field(factory=dict)
    verdicts: list[Verdict] = field(factory=list)

    def add(self, row: str, column: str, figure: float) -> None:
        self.cells.setdefault(row, {}).setdefault(column, []).append(figure)

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for row in self.cells.values() for column in row))

    def median(self, row: str, column: str) -> float:
        return statistics.median(self.cells[row][column])

    def judge(
        self, claim: str, row: str, other: str, target: float | None, columns: Iterable[str] | None = None
    ) -> None:
        """Add a verdict on one row as a share of another, for each column."""
        for column in self.columns if columns is None else columns:
            if column in self.cells.get(row, ()) and column in self.cells.get(other, ()):
                name = f"{claim}, {column}" if column else claim
                self.verdicts.append(Verdict(name, self.share(row, other, column), target))

    def share(self, row: str, other: str, column: str) -> float:
        """Return one row as a share of another: the median of the ratios of each round."""
        pairs = zip(self.cells[row][column], self.cells[other][column], strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


def interleave(rounds: int, contenders: dict[str, Callable[[], Any]], note: Callable[[str, Any], object]) -> None:
    """Run every contender once a round, in a rotating order, and report each figure to ``note``.

    An ImportError skips the contender.
    """
    names = list(contenders)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if name not in contenders:
                continue
            gc.collect()
            try:
                figure = contenders[name]()
            except ImportError as error:
                print(f"skipped: {name} ({error})", file=sys.stderr)
                del contenders[name]
            else:
                note(name, figure)


def cpu_of(work: Callable[[], object], least: float = 0.05) -> float:
    """Return the CPU seconds of one call of ``work``, from enough calls to take ``least`` seconds."""
    count, spent = 1, 0.0
    while spent < least:
        start = time.process_time()
        for _ in range(count):
            work()
        spent = time.process_time() - start
        if spent < least:
            count = max(count * 2, int(count * least / max(spent, 1e-6)))
    return spent / count


@frozen
class Burst:
    """The figures of one burst of requests."""

    cpu: float
    """CPU microseconds per request."""
    throughput: float
    """Requests per second."""
    failed: float
    """Percent of requests with an exception or the body of an error."""


async def take_turns(
    contenders: Mapping[Any, Callable[[str, int], Any]],
    url: str,
    rounds: int,
    note: Callable[[Any, Burst], object],
    *,
    at_once: int = 64,
    repeats: Callable[[Any], int] = lambda _: 3,
) -> None:
    """Measure contenders in short bursts in turns, all open in one loop.

    Short bursts show differences better than long rounds, because the machine changes between long rounds.

    Args:
        contenders: Each takes a URL and yields a function for one request.
        url: The server.
        rounds: Bursts of each.
        note: Called with the contender and its burst.
        at_once: Number of concurrent workers.
        repeats: Requests of each worker in a burst, by contender.
    """
    async with AsyncExitStack() as stack:
        finds = {key: await stack.enter_async_context(each(url, at_once)) for key, each in contenders.items()}
        for find in finds.values():
            await _burst(find, at_once, 1)
        keys = list(finds)
        for number in range(rounds):
            for key in keys[number % len(keys) :] + keys[: number % len(keys)]:
                note(key, await _burst(finds[key], at_once, repeats(key)))


async def _burst(find: Callable[[], Any], at_once: int, repeats: int) -> Burst:
    failed = 0

    async def worker() -> None:
        nonlocal failed
        for _ in range(repeats):
            try:
                failed += _is_error(await find())  # unnamed, so the response is freed before the next
            except Exception:
                failed += 1

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    count = at_once * repeats
    return Burst(cpu / count * 1e6, count / wall, 100 * failed / count)


def _is_error(response: Any) -> bool:
    return isinstance(response, dict) and "error" in response


def loops() -> dict[str, Callable[..., Any]]:
    """Return the installed event loops by name, as functions like `asyncio.run`."""
    found: dict[str, Callable[..., Any]] = {"asyncio": asyncio.run}
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        print("skipped: uvloop is not installed", file=sys.stderr)
    else:
        found["uvloop"] = uvloop.run
    return found


def percentile(figures: list[float], share: float) -> float:
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> dict[str, Any]:
    """Describe the machine, the Python and the libraries."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "taken": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def shown(figure: float) -> str:
    """Format a figure to three digits."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def show(table: Table) -> None:
    print(f"\n{table.title} ({table.unit}; median, lowest to highest)")
    width = max(map(len, table.cells), default=0)
    columns = table.columns
    for column in columns:
        if column:
            print(f"  {column}")
        for row, figures in table.cells.items():
            if column in figures:
                each = figures[column]
                spread = f"({shown(min(each))} to {shown(max(each))})" if len(each) > 1 else ""
                print(f"    {row:{width}}  {shown(table.median(row, column)):>9}  {spread}")
    for verdict in table.verdicts:
        met = {True: "met", False: "NOT MET", None: ""}[verdict.met]
        target = "" if verdict.target is None else f" (target {verdict.target:g})"
        print(f"  {verdict.claim}: {verdict.value:.3g}{target} {met}")


def command_line(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(description or "").strip(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short rounds, for a first look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    return parser.parse_args()


def finish(tables: Iterable[Table], arguments: argparse.Namespace) -> None:
    """Print each table, and write all figures to ``--json``."""
    done = []
    for table in tables:
        show(table)
        done.append(table)
    if arguments.json:
        store(done, arguments.json, quick=arguments.quick)


def store(tables: list[Table], path: Path, *, quick: bool) -> None:
    """Write the figures and a description of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = {"machine": machine(), "quick": quick, "tables": [asdict(table) for table in tables]}
    path.write_text(json.dumps(written, indent=1) + "\n")


def load(path: Path) -> tuple[dict[str, Any], list[Table]]:
    """Read the file of `store`."""
    written = json.loads(path.read_text())
    tables = [
        Table(**{**each, "verdicts": [Verdict(**verdict) for verdict in each["verdicts"]]})
        for each in written["tables"]
    ]
    return written["machine"], tables
