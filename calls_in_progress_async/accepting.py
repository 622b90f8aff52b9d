"""Stopping a server at a moment when it is accepting no connection."""

from __future__ import annotations

import asyncio

_AT_ONCE = 1e-10
"""A delay below any clock's resolution. ``sleep(0)`` would use no timer."""


async def finish_accepting() -> None:
    """Wait until no connection is half accepted; a server must stop listening right after it.

    asyncio accepts a connection in two steps of the loop, and a server closed between the two loses the connection:
    it stays open, and nobody can close it (python/cpython#109564). The loop runs timers after the sockets, so a task
    woken by a timer runs after all second steps, and before any other first one.
    """
    await asyncio.sleep(_AT_ONCE)
