"""Measure one poll of 200 calls with 0, 2, 20 or 100 % changed, beside plain aiohttp + orjson.loads of the body.

    python benchmarks/ticks.py [--quick] [--json FILE]

The server runs in a process of its own and sends prepared bodies. The table shows this process's CPU time (median,
lowest and highest of interleaved rounds) and the median ratio within a round. "Events taken" takes the events from the
queue; "events read" also reads the record, the previous record and the changes of each event. The script reports
targets and asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson

sys.path.insert(0, str(Path(__file__).parents[1]))

from calls_in_progress_async import CallChanged, CallsInProgressClient, Organization
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.watch.fetch import make_fetch
from calls_in_progress_async.watch.organization_state import OrganizationState
from calls_in_progress_async.watch.queue_sink import QueueSink

CALLS = 200
TURNS = 8
"""Number of different bodies, sent forwards and then backwards."""
SHARES = {"nothing": 0.0, "2 %": 0.02, "20 %": 0.2, "all": 1.0}
TARGETS = {"nothing": 0.30, "2 %": 0.40, "20 %": 0.65, "all": 1.6}
ORGANIZATION = Organization.advertiser(2)
PATH = "/api/2022-08-01/calls_in_progress/current_calls.json"


def make_bodies(share: float, seed: int = 7) -> list[bytes]:
    """Make bodies. Neighbours differ in ``share`` of their calls, and some changes make a call longer.

    The bodies run forwards and then backwards, so the last and the first are neighbours too.
    """
    key = (2, "advertiser")
    sandbox = SandboxServer(organizations=[key], calls_per_organization=0, seed=seed)
    names = [sandbox.start_call(key) for _ in range(CALLS)]
    rng = random.Random(seed)
    bodies = []
    for turn in range(TURNS):
        for name in rng.sample(names, round(share * CALLS)):
            sandbox.change_call(key, name, external_unique_id=f"order-{turn}", keypress_1=str(turn) * rng.randint(1, 3))
        bodies.append(json.dumps({"current_calls": sandbox.live(key)}, separators=(",", ":")).encode())
    return bodies + bodies[-2:0:-1]


def serve(bodies: dict[int, list[bytes]], port: Any) -> None:
    """Send a cycle of bodies for each organization id, one step further at each request of one client."""
    from aiohttp import web  # noqa: PLC0415 - in its own process

    steps: dict[tuple[str, int], int] = {}

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        which = int(request.query["id"])
        client = request.headers["Authorization"], which
        step = steps[client] = steps.get(client, -1) + 1
        return web.Response(body=bodies[which][step % len(bodies[which])], content_type="application/json")

    async def main() -> None:
        runner = web.ServerRunner(web.Server(respond))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


Poll = Callable[[], Awaitable[int]]


def plain(session: aiohttp.ClientSession, url: str, which: int) -> Poll:
    async def poll() -> int:
        params = {"id": str(which), "organization_type": "advertiser"}
        async with session.get(url + PATH, params=params, headers={"Authorization": "plain"}) as response:
            return len(orjson.loads(await response.read())["current_calls"])

    return poll


def ours(client: CallsInProgressClient, which: int, *, read: bool) -> Poll:
    state = OrganizationState(Organization.advertiser(which), added_at=0.0)
    sink = QueueSink(max_pending=100_000)
    fetch = make_fetch(client._execute, strict=False)

    async def poll() -> int:
        sink.on_listing(state, await fetch(state), 0.0)
        count = 0
        while (event := sink.queue.take()) is not None:
            count += 1
            if read and isinstance(event, CallChanged):
                _ = event.call, event.previous, event.changes
        return count

    return poll


async def cpu(poll: Poll, count: int) -> float:
    before = time.process_time()
    for _ in range(count):
        await poll()
    return (time.process_time() - before) / count * 1e6


async def measure(url: str, rounds: int, count: int) -> dict[str, dict[str, list[float]]]:
    figures: dict[str, dict[str, list[float]]] = {}
    async with (
        aiohttp.ClientSession() as session,
        CallsInProgressClient(token="taken", base_url=url) as told,
        CallsInProgressClient(token="read", base_url=url) as looked,
    ):
        contenders = {
            share: {
                "plain": plain(session, url, which),
                "events taken": ours(told, which, read=False),
                "events read": ours(looked, which, read=True),
            }
            for which, share in enumerate(SHARES, 1)
        }
        for polls in contenders.values():
            for poll in polls.values():
                await cpu(poll, TURNS)
        for _ in range(rounds):
            for share, polls in contenders.items():
                for name, poll in polls.items():
                    figures.setdefault(share, {}).setdefault(name, []).append(await cpu(poll, count))
    return figures


def report(figures: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    print(f"{'changed':>8} {'contender':>10} {'us a poll':>10} {'lowest':>8} {'highest':>8} {'ratio':>6} {'target':>6}")
    for share, columns in figures.items():
        for name, numbers in columns.items():
            ratio = statistics.median(one / base for one, base in zip(numbers, columns["plain"], strict=True))
            target = TARGETS[share] if name == "events taken" else None
            low, middle, high = min(numbers), statistics.median(numbers), max(numbers)
            shown.setdefault(share, {})[name] = {"us": middle, "low": low, "high": high, "ratio": ratio}
            print(f"{share:>8} {name:>10} {middle:10.0f} {low:8.0f} {high:8.0f} {ratio:6.2f} {target or '':>6}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds, for a first look")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    rounds, count = (5, 24) if options.quick else (21, 80)
    bodies = {which: make_bodies(share) for which, share in enumerate(SHARES.values(), 1)}
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(bodies, there), daemon=True)
    server.start()
    try:
        figures = asyncio.run(measure(f"http://127.0.0.1:{here.recv()}", rounds, count))
    finally:
        server.terminate()
        server.join()
    shown = report(figures)
    if options.json:
        options.json.write_text(json.dumps(shown, indent=2) + "\n")


if __name__ == "__main__":
    main()
