"""The clock outside an event loop, and in the loops of several threads."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from calls_in_progress_async import clock


def test_a_clock_that_counts_sleep_needs_no_loop() -> None:
    """Outside a loop the clock goes on as inside one."""
    before = clock.time_with_sleep()
    assert 0 < before <= clock.time_with_sleep()


def test_each_of_two_threads_reads_the_clock_of_its_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may ask for its loop's reader while this one does."""
    elsewhere = Mock(name="time of the loop in another thread")

    class Loop(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return super().time()

    class LastReader:
        @property
        def __self__(self) -> asyncio.AbstractEventLoop:
            clock._last_reader = elsewhere
            return asyncio.get_running_loop()

    async def main() -> None:
        monkeypatch.setattr(clock, "_last_reader", mine := LastReader())
        assert clock.reader() is mine

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
