"""A clock that a test turns by hand, and its timers."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

import pytest


class FakeTimer:
    def __init__(self, wheel: Wheel, callback: Callable[[], None]) -> None:
        self.wheel = wheel
        self.callback = callback
        self.live = True
        wheel.live += 1
        wheel.most_live = max(wheel.most_live, wheel.live)
        wheel.made += 1

    def cancel(self) -> None:
        self.wheel.live -= self.live
        self.live = False


class Wheel:
    def __init__(self) -> None:
        self.now = 1000.0  # a clock that starts at 0 hides mistakes
        self.live = self.most_live = self.made = self.fired = 0
        self.delays: list[float] = []
        self.lateness = itertools.repeat(0.0)
        """Seconds by which each timer is late."""
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._order = itertools.count()

    def clock(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self, callback)
        self.delays.append(when - self.now)
        heapq.heappush(self._timers, (when + next(self.lateness), next(self._order), timer))
        return timer

    def turn(self, seconds: float) -> None:
        """Let time pass and fire what is due, without letting any task run."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            when, _, timer = heapq.heappop(self._timers)
            if timer.live:
                timer.cancel()
                self.now = max(self.now, when)
                self.fired += 1
                timer.callback()
        self.now = until

    async def run(self, seconds: float) -> None:
        """Let time pass timer by timer, and tasks run after each."""
        until = self.now + seconds
        await self.settle()
        while self._timers and self._timers[0][0] <= until:
            self.turn(max(0.0, self._timers[0][0] - self.now))
            await self.settle()
        self.now = max(self.now, until)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def wheel() -> Wheel:
    return Wheel()


@pytest.fixture(scope="session")
def make_wheel() -> type[Wheel]:
    """For property tests, which need a new one for each example."""
    return Wheel
