"""A world for watches: a clock that a test turns by hand, and a server whose answers a test sets."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from calls_in_progress_async import Organization
from calls_in_progress_async.watch.listing import Listing, read
from calls_in_progress_async.watch.poller import Clock as WatchClock
from calls_in_progress_async.watch.poller import WatchSettings
from calls_in_progress_async.watch.watch import Watch

ACME = Organization.advertiser(25)
GLOBEX = Organization.network(7)
INITECH = Organization.advertiser(9)


def body_of(*calls: Any, key: str = "current_calls") -> bytes:
    return json.dumps({key: list(calls)}, separators=(",", ":")).encode()


def call(transaction_id: str, **fields: Any) -> dict[str, Any]:
    return {"transaction_id": transaction_id, "call_status": "bridged", **fields}


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def cancel(self) -> None:
        self.callback = lambda: None


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0  # a clock that starts at 0 hides mistakes
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        awake = asyncio.Event()
        self.call_later(seconds, awake.set)
        await awake.wait()

    async def turn(self, seconds: float) -> None:
        """Let time pass, timer by timer; tasks run as far as they get."""
        until = self.now + seconds
        await settle()
        while self._timers and self._timers[0][0] <= until:
            when, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            timer.callback()
            await settle()
        self.now = until


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


class Server:
    """Answers with the calls it is given, fails with the errors it is given, and waits where it is told to."""

    def __init__(self) -> None:
        self.calls: dict[Organization, list[dict[str, Any]]] = {}
        self.errors: dict[Organization, Exception] = {}
        self.gates: dict[Organization, asyncio.Event] = {}
        self.requests: Counter[Organization] = Counter()
        self.times: list[tuple[float, Organization]] = []
        self.running = self.peak = 0
        self.clock = Clock()

    async def ask(self, organization: Organization, last: Listing | None) -> Listing:
        self.requests[organization] += 1
        self.times.append((self.clock.now, organization))
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            if organization in self.gates:
                await self.gates[organization].wait()
            if organization in self.errors:
                raise self.errors[organization]
            return read(body_of(*self.calls.get(organization, [])), last, strict=False)
        finally:
            self.running -= 1

    def watch(self, *organizations: Organization, resume_from: Any = None, **settings: Any) -> Watch:
        surroundings = WatchClock(
            clock=self.clock,
            wall_clock=lambda: self.clock.now + 1_700_000_000,
            randomness=lambda: 0.5,
            call_later=self.clock.call_later,
        )
        return Watch(
            self.ask, organizations, WatchSettings(**settings), resume_from=resume_from, surroundings=surroundings
        )


async def taken(watch: Watch) -> list[Any]:
    """Take every event that has happened."""
    return [await anext(watch) for _ in range(watch.stats.pending)]
