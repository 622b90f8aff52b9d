"""An event loop with a clock turned by hand: waiting takes no time, and an hour of timers runs in an instant."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from calls_in_progress_async import clock

T = TypeVar("T")

START = 1_000_000.0
"""The loop's time at the beginning, in seconds; a clock starting at 0 hides mistakes."""
UNIX_START = 1_706_788_800.0
"""The wall clock at the beginning: 2024-02-01 12:00 UTC."""
_PATIENCE = 5.0
"""Real seconds to wait for sockets and threads if there is no timer to jump to."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting. Sockets and threads are real, and are looked at before each jump."""

    def __init__(self) -> None:
        self.now = START
        """Seconds; returned by `time`."""
        self._threads = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the time in seconds, moved by `advance` and by jumps only."""
        return self.now

    def unix_time(self) -> float:
        """Return the wall clock in seconds since 1970. The wall clock moves with `time`."""
        return UNIX_START + self.now - START

    def advance(self, seconds: float) -> None:
        """Turn the clock, as a step of the loop does that takes so long."""
        self.now += seconds

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Run a function in a thread; the clock stands still until the thread has ended."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._on_thread_end)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads without a limit, because they run in real time."""
        await super().shutdown_default_executor()

    def _on_thread_end(self, _: object) -> None:
        self._threads -= 1

    def wait(self, select: Callable[[float | None], Any], timeout: float | None) -> Any:
        """Return the events of sockets that are ready; jump if there are none."""
        events = select(0)
        if events or timeout == 0:
            return events
        if self._threads or timeout is None:
            events = select(_PATIENCE)
            assert events, "every task waits forever: there is no timer, and nothing came from a socket or a thread"
            return events
        self.now += timeout
        return events


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        return self._loop.wait(super().select, timeout)


def run(main: Callable[[], Coroutine[Any, Any, T]] | Coroutine[Any, Any, T], seed: int = 0) -> T:
    """Run a coroutine, or a function that makes one, in a `VirtualLoop`; ``seed`` repeats every random number.

    A test may set ``clock.randomness`` to a source of its own. The package's own is back afterwards.
    """
    randomness = clock.randomness
    clock.seed(seed)
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(main() if callable(main) else main)
    finally:
        clock.randomness = randomness
