"""A virtual loop with a count of the limiter's timers, and a decorator to run a test on it."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from calls_in_progress_async.limits.token_bucket import TokenBucket
from calls_in_progress_async.testing.virtual_clock import VirtualLoop


class TimerLoop(VirtualLoop):
    """Counts the timers of buckets, and makes them late if told so."""

    def __init__(self) -> None:
        super().__init__()
        self.most_live = self.fired = 0
        self.delays: list[float] = []
        """Seconds from the setting of each timer to its time."""
        self.lateness: Iterator[float] = itertools.repeat(0.0)
        """Seconds of lateness, one for each timer."""
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def live(self) -> int:
        """Timers set by buckets, neither fired nor cancelled."""
        return sum(not timer.cancelled() for timer in self._timers)

    def call_at(self, when: float, callback: Any, *args: Any, **more: Any) -> asyncio.TimerHandle:
        """Set a timer; count it if a bucket sets it."""
        if not isinstance(getattr(callback, "__self__", None), TokenBucket):
            return super().call_at(when, callback, *args, **more)

        def fire() -> None:
            self._timers.discard(handle)
            self.fired += 1
            callback()

        handle = super().call_at(when + next(self.lateness), fire, **more)
        self.delays.append(when - self.now)
        self._timers = {timer for timer in self._timers if not timer.cancelled()} | {handle}
        self.most_live = max(self.most_live, len(self._timers))
        return handle


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a `TimerLoop`."""
    with asyncio.Runner(loop_factory=TimerLoop) as runner:
        return runner.run(main)


def on_timer_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test in a `TimerLoop`."""

    @functools.wraps(test)
    def run_test(*args: Any, **fixtures: Any) -> None:
        run(test(*args, **fixtures))

    return run_test


def the_loop() -> TimerLoop:
    """Return the running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, TimerLoop)
    return loop


def now() -> float:
    """Return the running loop's time in seconds."""
    return the_loop().now


async def settle() -> None:
    """Let tasks run, without letting time pass."""
    for _ in range(5):
        await asyncio.sleep(0)


async def passes(seconds: float) -> None:
    """Let time pass timer by timer, and tasks run after each."""
    await asyncio.sleep(max(0.0, seconds))
    await settle()
