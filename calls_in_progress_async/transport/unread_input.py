"""Unread input: bytes or an end that the system has received on a connection and the event loop has not yet seen.

A response that nobody asked for, read as the response to the next request, would show one organization the calls of
another. So a transport looks at the socket before it writes on a connection that was idle.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any

_STEPS = 4
"""Steps of the event loop in which a loop reads what a socket holds: asyncio's needs two, uvloop's one."""


def make_probe(transport: Any) -> Callable[[], Any]:
    """Make a function that tells, without waiting, if a transport's socket has unread input.

    Where the system has no ``poll`` (Windows), or the transport no socket, the function always returns True: a step
    of the event loop then shows what there is.
    """
    connection = transport.get_extra_info("socket")
    if connection is None or not hasattr(select, "poll"):
        return lambda: True
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return lambda: poller.poll(0)


async def let_loop_read(probe: Callable[[], Any]) -> None:
    """Let the event loop read what a socket holds, and stop when nothing is left.

    The loop's own reader must see the bytes, because those of a TLS connection may be a session ticket or a key update
    (RFC 8446, section 4.6), and these are no response.
    """
    for _ in range(_STEPS):
        await asyncio.sleep(0)
        if not probe():
            return
