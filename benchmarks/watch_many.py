"""Watching many organizations in one process: CPU, memory, staleness, and events against the sandbox's own log.

    python benchmarks/watch_many.py [--organizations 10000] [--interval 5] [--seconds 120] [--quick] [--json FILE]

The sandbox runs in a process of its own and simulates five calls an organization. CPU is that of this process, as a
share of one core; memory is its resident size beyond what it was before the watch. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from calls_in_progress_async import CallChanged, CallEnded, CallsInProgressClient, CallStarted, Organization, Watch
from calls_in_progress_async.sandbox import SandboxServer

KINDS = {CallStarted: "started", CallChanged: "changed", CallEnded: "ended"}


def serve(count: int, pipe: Any) -> None:
    """Serve until told to stop; then tell what happened, from time 0 on, and what is live."""

    async def main() -> None:
        async with SandboxServer(organizations=count, seed=7) as sandbox:
            for key in sandbox.organizations:
                sandbox.live(key)  # an organization is made when it is first asked for, which takes its time
            pipe.send((sandbox.url, sandbox.token, sandbox.organizations))
            while not pipe.poll():
                await asyncio.sleep(0.05)
            pipe.recv()
            pipe.send({key: [(kind, name) for at, kind, name in sandbox.history(key)] for key in sandbox.organizations})

    asyncio.run(main())


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Log:
    """What the watch told."""

    def __init__(self) -> None:
        self.live: dict[Organization, dict[str, Any]] = {}
        self.told: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.started: set[tuple[Organization, str]] = set()

    def take(self, event: Any) -> None:
        kind = KINDS.get(type(event), type(event).__name__)
        self.told[kind] += 1
        if kind not in KINDS.values():
            return
        names = self.live.setdefault(event.organization, {})
        name = event.call.transaction_id
        if (name in names) is (kind == "started"):
            self.faults["contradictions"] += 1
        if kind == "ended":
            names.pop(name, None)
        else:
            names[name] = None
            self.started.add((event.organization, name))

    def compare(self, history: dict[Any, list[tuple[str, str]]], watch_live: set[tuple[Organization, str]]) -> None:
        """Count what was told and did not happen, and what is known and was not told."""
        happened = {(Organization(*key), name) for key, events in history.items() for _, name in events}
        self.faults["told, but not in the log"] = len(self.started - happened)
        told = {(organization, name) for organization, names in self.live.items() for name in names}
        self.faults["state from events other than the watch's"] = len(told ^ watch_live)


async def consume(watch: Watch, log: Log) -> None:
    async for event in watch:
        log.take(event)


async def run(options: argparse.Namespace, url: str, token: str, keys: list[Any]) -> tuple[dict[str, Any], Log, Any]:
    organizations = [Organization(*key) for key in keys]
    log = Log()
    samples = []
    async with CallsInProgressClient(token=token, base_url=url) as client:
        gc.collect()
        before = resident()
        async with client.watch(organizations, interval=options.interval) as watch:
            consuming = asyncio.create_task(consume(watch, log))
            step = max(options.interval, options.seconds / 12)
            await asyncio.sleep(options.interval * 2)  # until everybody has been asked
            began = time.monotonic()
            while time.monotonic() - began < options.seconds:
                cpu, wall, requests = time.process_time(), time.monotonic(), watch.stats.requests
                await asyncio.sleep(step)
                stats, spent = watch.stats, time.monotonic() - wall
                samples.append(
                    {
                        "seconds": round(time.monotonic() - began, 1),
                        "cpu": round((time.process_time() - cpu) / spent, 3),
                        "polls a second": round((stats.requests - requests) / spent),
                        "kB an organization": round((resident() - before) / len(organizations) / 1000, 2),
                        "staleness": round(stats.staleness, 2),
                        "max staleness": round(stats.max_staleness, 2),
                        "effective interval": round(stats.effective_interval, 2),
                    }
                )
                print("  ".join(f"{name} {value}" for name, value in samples[-1].items()), flush=True)
            while watch.stats.pending:
                await asyncio.sleep(0)
            live = {
                (organization, call.transaction_id) for organization, calls in watch.calls.items() for call in calls
            }
            consuming.cancel()
    return {"samples": samples, "stats": {"unchanged": stats.unchanged, "failures": stats.failures}}, log, live


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--organizations", type=int)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--quick", action="store_true", help="500 organizations for 20 seconds")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    options.organizations = options.organizations or (500 if options.quick else 10_000)
    options.seconds = options.seconds or (20.0 if options.quick else 120.0)
    if options.uvloop:
        import uvloop  # noqa: PLC0415 - only where asked for

        uvloop.install()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(options.organizations, there))
    server.start()
    try:
        figures, log, live = asyncio.run(run(options, *here.recv()))
        here.send("stop")
        log.compare(here.recv(), live)
    finally:
        server.terminate()
        server.join()
    figures |= {"told": dict(log.told), "faults": dict(log.faults)}
    print("told:", dict(log.told))
    print("faults:", dict(log.faults))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
