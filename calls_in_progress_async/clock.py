"""Time and chance: the only module to read a clock or to draw a random number.

Time is the running event loop's, so a loop with a clock turned by hand turns timeouts, backoff, rate limits, polls
and the sandbox together. Chance is one generator: one seed repeats a run.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import get_running_loop
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from random import Random

randomness: Random = Random()  # noqa: S311 - jitter and backoff are no secrets
"""The source of every random number. `seed` it to repeat a run."""

_last_reader: Callable[[], float] = time.monotonic
_BOOT_TIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
_ASYNCIO_TIME = asyncio.BaseEventLoop.time  # the original, even if a test library replaces it later


def seed(number: int) -> None:
    """Restart the source of randomness, so two runs with the same number draw the same numbers."""
    randomness.seed(number)


def now() -> float:
    """Return the running event loop's time in seconds; outside a loop, the monotonic clock of asyncio's loops."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


def unix_time() -> float:
    """Return the wall clock in seconds since 1970.

    A loop with a clock turned by hand may offer ``unix_time()``, to move both clocks together.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return time.time()
    return float(getattr(loop, "unix_time", time.time)())


def time_with_sleep() -> float:
    """Return seconds on a clock that counts the sleep of the machine too; without such a clock, the same as `now`."""
    return reader_with_sleep()()


def reader_with_sleep() -> Callable[[], float]:
    """Return a function that returns `time_with_sleep` faster, for the running loop and code on the hot path."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if _BOOT_TIME is None or hasattr(loop, "unix_time"):
        return now
    return partial(time.clock_gettime, _BOOT_TIME)


def utc_now() -> datetime:
    """Return the wall clock as an aware time."""
    return datetime.fromtimestamp(unix_time(), UTC)


def reader() -> Callable[[], float]:
    """Return a function that reads the running loop's time faster than `now`, for code on the hot path.

    For asyncio's own loops this is ``time.monotonic``, because their ``time()`` only calls it. Outside a loop it is
    `now`.
    """
    global _last_reader  # noqa: PLW0603
    try:
        loop = get_running_loop()
    except RuntimeError:
        return now
    if getattr(loop.time, "__func__", None) is _ASYNCIO_TIME:
        return time.monotonic
    found = _last_reader  # read once, because a loop in another thread may replace it
    if getattr(found, "__self__", None) is not loop:
        found = _last_reader = loop.time  # one for all readers of a loop, because a bound method takes 64 bytes
    return found
