"""Reading too slow for the event loop: noticed by the reader, and then done in a thread."""

from __future__ import annotations

from asyncio import get_running_loop

_MAX_IN_LOOP = 2**14
"""Bytes to read call by call in the event loop. That takes up to 2 microseconds a byte."""


class SlowReadingError(Exception):
    """Reading would hold the event loop: do the same in a thread."""


def leave_event_loop(size: int) -> None:
    """Return if ``size`` bytes may be read call by call in this thread.

    Raises:
        SlowReadingError: An event loop runs in this thread.
    """
    if size <= _MAX_IN_LOOP:
        return
    try:
        get_running_loop()
    except RuntimeError:
        return
    raise SlowReadingError
