"""Watching many organizations in one process: CPU, memory, staleness, and events against the sandbox's own log.

    python benchmarks/watch_many.py [--organizations 10000] [--interval 5] [--seconds 120] [--quick] [--json FILE]

The sandbox runs in a process of its own and simulates five calls an organization, first so long that one organization
in fifty changes between two polls, then of three minutes each, with which one in seven does; each in a process of its
own. CPU is that of the process, as a share of one core, and includes what writes every event down; memory is its
resident size beyond what it was before the watch. At the end the simulated time stands still, and everything that was
told is held against the sandbox's log. Nothing is asserted.
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

from worlds import Journal, Sandbox, hold_against, resident

from calls_in_progress_async import CallsInProgressClient, Watch

LOADS = (3750.0, 180.0)
"""How many seconds calls last, on the average."""
NOTE = 1.0
"""Seconds between two looks at how old the oldest answer is."""


async def consume(watch: Watch, journal: Journal) -> None:
    async for event in watch:
        journal.tell(event)


async def note(watch: Watch, journal: Journal) -> None:
    while True:
        journal.note(watch)
        await asyncio.sleep(NOTE)


class Samples:
    """What the process and the watch are like, from time to time."""

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
            await asyncio.sleep(options.interval * 2)  # until everybody has been asked
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
    held = hold_against(journal, sandbox.log(), began=began, step=NOTE)
    counted = {name: getattr(stats, name) - getattr(first, name) for name in ("requests", "unchanged", "failures")}
    return {"samples": samples.taken, "stats": counted, **held}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--organizations", type=int)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--call-seconds", type=float, help="how long calls are, on the average; one load only")
    parser.add_argument("--quick", action="store_true", help="500 organizations for 20 seconds")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if options.call_seconds is None:
        each_load(options)
        return
    options.organizations = options.organizations or (500 if options.quick else 10_000)
    options.seconds = options.seconds or (20.0 if options.quick else 120.0)
    if options.uvloop:
        import uvloop  # noqa: PLC0415 - only where asked for

        uvloop.install()
    settings = {"organizations": options.organizations, "mean_call_seconds": options.call_seconds}
    with Sandbox(**settings) as sandbox, tempfile.TemporaryDirectory() as directory:
        figures = asyncio.run(run(options, sandbox, Journal(Path(directory) / "journal")))
    for name in ("told", "faults", "longest blind"):
        print(f"{name}: {figures[name]}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def each_load(options: argparse.Namespace) -> None:
    """Measure under each load, in a process of its own."""
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
