"""The clock outside an event loop."""

from __future__ import annotations

from calls_in_progress_async import clock


def test_a_clock_that_counts_sleep_needs_no_loop() -> None:
    """Outside a loop the clock goes on as inside one."""
    before = clock.time_with_sleep()
    assert 0 < before <= clock.time_with_sleep()
