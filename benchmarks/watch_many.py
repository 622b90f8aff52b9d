"""Watch many organizations in one process: CPU, memory, staleness, and events compared with the sandbox's own log.

    python benchmarks/watch_many.py [--organizations 10000] [--interval 5] [--seconds 120] [--quick] [--json FILE]

The sandbox runs in a process of its own and simulates five calls per organization. The first load has long calls: one
organization in fifty changes between two polls. The second has calls of three minutes: one in seven changes. CPU is
this process's share of one core, the writing of every event included. Memory is the growth of its resident size since
before the watch. At the end the simulated time stops, and all emitted events are compared with the sandbox's log. The
script reports faults and asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from worlds import Journal, Sandbox, compare, resident

from calls_in_progress_async import CallsInProgressClient, Watch

LOADS = (3750.0, 180.0)
"""Mean seconds of a call, for each load."""
NOTE = 1.0
"""Seconds between two samples of the oldest response's age."""


async def consume(watch: Watch, journal: Journal) -> None:
    async for event in watch:
        journal.record(event)


async def note(watch: Watch, journal: Journal) -> None:
    while True:
        journal.record_age(watch)
        await asyncio.sleep(NOTE)


class Samples:
    """Samples of the process and the watch."""

    def __init__(self, watch: Watch, before: int) -> None:
        self.taken: list[dict[str, float]] = []
        self._watch = watch
        self._before = before
        self._began = self._wall = time.monotonic()
        self._cpu, self._requests = time.process_time(), watch.stats.requests

    def take(self) -> None:
        stats, cpu, wall = self._watch.stats, time.process_time(), time.monotonic()
        spent = wall - self._wall
        polls = stats.requests - self._requests
        self.taken.append(
            {
                "seconds": round(wall - self._began, 1),
                "cpu": round((cpu - self._cpu) / spent, 3),
                "polls a second": round(polls / spent),
                "us a poll": round((cpu - self._cpu) / max(polls, 1) * 1e6),
                "kB an organization": round((resident() - self._before) / stats.organizations / 1000, 2),
                "staleness": round(stats.staleness, 2),
                "max staleness": round(stats.max_staleness, 2),
                "effective interval": round(stats.effective_interval, 2),
            }
        )
        self._cpu, self._wall, self._requests = cpu, wall, stats.requests
        print("  ".join(f"{name} {value}" for name, value in self.taken[-1].items()), flush=True)


async def run(options: argparse.Namespace, sandbox: Sandbox, journal: Journal) -> dict[str, Any]:
    async with CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client:
        gc.collect()
        before, began = resident(), sandbox.now()
        async with client.watch(sandbox.organizations, interval=options.interval) as watch:
            tasks = [asyncio.create_task(each) for each in (consume(watch, journal), note(watch, journal))]
            await asyncio.sleep(options.interval * 2)  # until each organization has been polled
            samples, first = Samples(watch, before), watch.stats
            ends = time.monotonic() + options.seconds
            while time.monotonic() < ends:
                await asyncio.sleep(max(options.interval, options.seconds / 12))
                samples.take()
            stats = watch.stats
            sandbox.freeze()
            await asyncio.sleep(3 * options.interval)
            for task in tasks:
                task.cancel()
    faults = compare(journal, sandbox.log(), began=began, step=NOTE)
    counted = {name: getattr(stats, name) - getattr(first, name) for name in ("requests", "unchanged", "failures")}
    return {"samples": samples.taken, "stats": counted, **faults}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--organizations", type=int)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--call-seconds", type=float, help="mean length of a call; measures this load only")
    parser.add_argument("--quick", action="store_true", help="500 organizations for 20 seconds")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    if options.call_seconds is None:
        each_load(options)
        return
    options.organizations = options.organizations or (500 if options.quick else 10_000)
    options.seconds = options.seconds or (20.0 if options.quick else 120.0)
    run_in_loop = asyncio.run
    if options.uvloop:
        from uvloop import run as run_in_loop  # noqa: PLC0415 - an extra
    settings = {"organizations": options.organizations, "mean_call_seconds": options.call_seconds}
    with Sandbox(**settings) as sandbox, tempfile.TemporaryDirectory() as directory:
        figures = run_in_loop(run(options, sandbox, Journal(Path(directory) / "journal")))
    for name in ("events", "faults", "longest blind"):
        print(f"{name}: {figures[name]}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def each_load(options: argparse.Namespace) -> None:
    """Measure each load in a process of its own."""
    written = []
    with tempfile.TemporaryDirectory() as directory:
        kept = Path(directory) / "figures"
        for seconds in LOADS:
            print(f"calls of {seconds:g} s", flush=True)
            command = [sys.executable, *sys.argv, "--call-seconds", str(seconds), "--json", str(kept)]
            subprocess.run(command, check=True)
            written.append({"call_seconds": seconds, **json.loads(kept.read_text())})
    if options.json:
        options.json.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
