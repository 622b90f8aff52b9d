"""Steps of a test on the kit's clock, and a count of the limiter's timers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

from calls_in_progress_async.clock import now
from calls_in_progress_async.limits.token_bucket import TokenBucket


def advance(seconds: float) -> None:
    """Turn the clock of the running loop, as a step of the loop does that takes so long."""
    asyncio.get_running_loop().time.__self__.advance(seconds)  # type: ignore[attr-defined]


async def settle() -> None:
    """Let every task run as far as it gets without waiting for time."""
    for _ in range(12):
        await asyncio.sleep(0)


async def passes(seconds: float) -> None:
    """Let time pass timer by timer, and tasks run before, between and after."""
    await settle()
    await asyncio.sleep(seconds)
    await settle()


class Timers:
    """The timers that buckets set on the running loop from now on. They are late if told so."""

    def __init__(self) -> None:
        self.most_live = self.fired = 0
        self.delays: list[float] = []
        """Seconds from the setting of each timer to its time."""
        self.lateness: Iterator[float] = itertools.repeat(0.0)
        """Seconds of lateness, one for each timer."""
        self._handles: set[asyncio.TimerHandle] = set()
        loop = asyncio.get_running_loop()
        self._call_at = loop.call_at
        loop.call_at = self._count  # type: ignore[method-assign]

    @property
    def live(self) -> int:
        """Number of timers neither fired nor cancelled."""
        return sum(not handle.cancelled() for handle in self._handles)

    def _count(self, when: float, callback: Any, *args: Any, **more: Any) -> asyncio.TimerHandle:
        if not isinstance(getattr(callback, "__self__", None), TokenBucket):
            return self._call_at(when, callback, *args, **more)

        def fire() -> None:
            self._handles.discard(handle)
            self.fired += 1
            callback()

        handle = self._call_at(when + next(self.lateness), fire, **more)
        self.delays.append(when - now())
        self._handles = {each for each in self._handles if not each.cancelled()} | {handle}
        self.most_live = max(self.most_live, len(self._handles))
        return handle
