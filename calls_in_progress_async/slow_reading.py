"""Reading too slow for the event loop: noticed by the reader, and then done in a thread."""

from __future__ import annotations

from asyncio import get_running_loop

_MAX_IN_LOOP = 2**14
"""Bytes to read call by call in the event loop. That takes up to 2 microseconds a byte of usual calls."""
_MAX_VALUES_IN_LOOP = 500
"""Values among them, each perhaps a call. A call takes up to 90 microseconds, however short."""


class SlowReadingError(Exception):
    """Reading would hold the event loop: do the same in a thread."""


def leave_event_loop_for(body: bytes) -> None:
    """Return if a body may be read call by call in this thread.

    Raises:
        SlowReadingError: An event loop runs in this thread.
    """
    if len(body) > _MAX_IN_LOOP or body.count(b",") > _MAX_VALUES_IN_LOOP:
        leave_event_loop()


def leave_event_loop() -> None:
    """Return if no event loop runs in this thread.

    Raises:
        SlowReadingError: An event loop runs in this thread.
    """
    try:
        get_running_loop()
    except RuntimeError:
        return
    raise SlowReadingError
