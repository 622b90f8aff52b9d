"""Time and chance: the only module that reads a clock or draws a random number.

Time is the running event loop's, so that a loop whose clock is turned by hand turns timeouts, backoff, rate limits,
polls and the sandbox together. Chance is one generator, so that one seed repeats a run.
"""

from __future__ import annotations

import time
from asyncio import get_running_loop
from datetime import UTC, datetime
from random import Random

randomness = Random()  # noqa: S311 - jitter and backoff are no secrets
"""The source of every random number. `seed` it to repeat a run."""


def seed(number: int) -> None:
    """Restart the source of randomness, so that two runs with the same number draw the same numbers."""
    randomness.seed(number)


def now() -> float:
    """Return the running event loop's time in seconds; outside a loop, the monotonic clock that asyncio's loops use."""
    try:
        return get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


def unix_time() -> float:
    """Return the wall clock in seconds since 1970.

    A loop whose clock is turned by hand may offer ``unix_time()``, so that both clocks move together.
    """
    try:
        loop = get_running_loop()
    except RuntimeError:
        return time.time()
    return float(getattr(loop, "unix_time", time.time)())


def utc_now() -> datetime:
    """Return the wall clock as an aware time."""
    return datetime.fromtimestamp(unix_time(), UTC)
