"""Put a watch through faults and compare its events with the sandbox's own log: none lost, doubled or contradictory.

    python benchmarks/watch_story.py [faults] [limit] [sleeper] [killed] [--organizations 1000] [--seconds 60]

- faults: half of the time a third of all requests fail, in six ways, while calls come and go.
- limit: the server cuts its rate limit to a tenth of the watch's need, and lifts it again.
- sleeper: the consumer sleeps for a minute (for ``--seconds``).
- killed: the watching process is killed three times and resumes from its checkpoint file.

The sandbox runs in a process of its own. At the end its time stops until all events have been emitted. The script
reports faults and asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from watch_many import NOTE, consume, note
from worlds import Journal, Sandbox, compare, resident

from calls_in_progress_async import CallsInProgressClient, Organization, RateLimit, Watch
from calls_in_progress_async.sandbox import Fault

KINDS = (
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 401},
    {"kind": "status", "status": 429, "retry_after": 1},
    {"kind": "disconnect"},
    {"kind": "truncate"},
    {"kind": "garbage"},
)


@asynccontextmanager
async def watching(sandbox: Sandbox, interval: float, **settings: Any) -> AsyncIterator[Watch]:
    async with (
        CallsInProgressClient(token=lambda _: sandbox.token, base_url=sandbox.url, **settings) as client,
        client.watch(sandbox.organizations, interval=interval) as watch,
    ):
        yield watch


def print_stats(watch: Watch, phase: str) -> None:
    stats = watch.stats
    print(
        f"  {phase}: failing {stats.failing}, effective interval {stats.effective_interval:.2f}, oldest "
        f"{stats.max_staleness:.1f} s, pending {stats.pending}, merges {stats.merges}, failures {stats.failures}, "
        f"{resident() / 1e6:.0f} MB",
        flush=True,
    )


async def settle(sandbox: Sandbox, watch: Watch, interval: float) -> None:
    """Stop the simulated time until no organization fails and each was polled again."""
    sandbox.freeze()
    frozen = time.monotonic()
    while watch.stats.failing or watch.stats.pending or watch.stats.max_staleness > time.monotonic() - frozen:
        await asyncio.sleep(interval / 5)


Scenario = Callable[[Sandbox, Journal, argparse.Namespace], Awaitable[None]]


async def faults(sandbox: Sandbox, journal: Journal, options: argparse.Namespace) -> None:
    async with watching(sandbox, options.interval) as watch:
        tasks = [asyncio.create_task(each) for each in (consume(watch, journal), note(watch, journal))]
        await asyncio.sleep(2 * options.interval)
        for _ in range(4):
            sandbox.set("faults", [Fault(probability=0.07, **kind) for kind in KINDS])
            await asyncio.sleep(options.seconds / 8)
            print_stats(watch, "with faults")
            sandbox.set("faults", [])
            await asyncio.sleep(options.seconds / 8)
            print_stats(watch, "without")
        await settle(sandbox, watch, options.interval)
        for task in tasks:
            task.cancel()


async def limit(sandbox: Sandbox, journal: Journal, options: argparse.Namespace) -> None:
    needed = options.organizations / options.interval
    sandbox.set("rate_limit", 1.2 * needed)
    async with watching(sandbox, options.interval, rate_limit=RateLimit.adaptive(initial=needed)) as watch:
        tasks = [asyncio.create_task(each) for each in (consume(watch, journal), note(watch, journal))]
        await asyncio.sleep(2 * options.interval)
        print_stats(watch, f"allowed {1.2 * needed:.0f} requests a second")
        sandbox.set("rate_limit", 0.12 * needed)
        for _ in range(4):
            await asyncio.sleep(options.seconds / 2)
            intervals = sorted(watch.stats.effective_intervals.values())
            print_stats(watch, f"allowed {0.12 * needed:.0f}")
            print(f"  effective intervals from {intervals[0]:.1f} to {intervals[-1]:.1f} s")
        sandbox.set("rate_limit", None)
        await asyncio.sleep(options.seconds)
        print_stats(watch, "allowed any")
        await settle(sandbox, watch, options.interval)
        for task in tasks:
            task.cancel()


async def sleeper(sandbox: Sandbox, journal: Journal, options: argparse.Namespace) -> None:
    async with watching(sandbox, options.interval) as watch:
        noting = asyncio.create_task(note(watch, journal))
        consuming = asyncio.create_task(consume(watch, journal))
        await asyncio.sleep(2 * options.interval)
        print_stats(watch, "awake")
        consuming.cancel()
        await asyncio.sleep(options.seconds)
        print_stats(watch, f"asleep for {options.seconds:g} s")
        consuming = asyncio.create_task(consume(watch, journal))
        await asyncio.sleep(options.interval)
        print_stats(watch, "awake again")
        await settle(sandbox, watch, options.interval)
        noting.cancel()
        consuming.cancel()


def watch_until_killed(directory: Path, url: str, token: str, keys: list[Any], interval: float) -> None:
    """Resume from the checkpoint file. Events after the checkpoint are emitted again, so drop them from the journal."""
    kept = directory / "checkpoint"
    state = json.loads(kept.read_text()) if kept.exists() else {"size": 0, "checkpoint": None}
    journal = Journal(directory / "journal")
    os.truncate(journal.path, state["size"])
    journal.size = state["size"]

    async def main() -> None:
        async with (
            CallsInProgressClient(token=token, base_url=url) as client,
            client.watch(
                [Organization(*key) for key in keys], interval=interval, resume_from=state["checkpoint"]
            ) as watch,
        ):
            tasks = [asyncio.create_task(each) for each in (consume(watch, journal), note(watch, journal))]
            while not any(task.done() for task in tasks):
                await asyncio.sleep(0.5)
                journal.flush()
                new = kept.with_suffix(".new")
                new.write_text(json.dumps({"size": journal.size, "checkpoint": watch.checkpoint()}))
                new.replace(kept)

    asyncio.run(main())


async def killed(sandbox: Sandbox, journal: Journal, options: argparse.Namespace) -> None:
    keys = [(each.id, each.type) for each in sandbox.organizations]
    arguments = (journal.path.parent, sandbox.url, sandbox.token, keys, options.interval)
    for life in range(4):
        process = multiprocessing.get_context("spawn").Process(target=watch_until_killed, args=arguments)
        process.start()
        await asyncio.sleep(options.seconds / 4 + 0.31 * life)
        if life == 3:
            sandbox.freeze()
            await asyncio.sleep(4 * options.interval)
        written = journal.path.stat().st_size
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        state = json.loads((journal.path.parent / "checkpoint").read_text())
        size = (journal.path.parent / "checkpoint").stat().st_size
        print(f"  killed: {written - state['size']} bytes of events after the checkpoint of {size:,} bytes")
        await asyncio.sleep(options.seconds / 10)
    os.truncate(journal.path, state["size"])


SCENARIOS: dict[str, Scenario] = {"faults": faults, "limit": limit, "sleeper": sleeper, "killed": killed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--organizations", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="approximate length of each scenario")
    parser.add_argument("--call-seconds", type=float, default=30.0, help="mean length of a call")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    figures = {}
    for name in options.scenarios or SCENARIOS:
        settings = {"organizations": options.organizations, "mean_call_seconds": options.call_seconds}
        with Sandbox(**settings) as sandbox, tempfile.TemporaryDirectory() as directory:
            print(f"{name}:", flush=True)
            journal, began = Journal(Path(directory) / "journal"), sandbox.now()
            asyncio.run(SCENARIOS[name](sandbox, journal, options))
            figures[name] = compare(journal, sandbox.log(), began=began, step=NOTE)
            for what, found in figures[name].items():
                print(f"  {what}: {found}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
