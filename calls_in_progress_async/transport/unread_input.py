"""Unread input: bytes or an end received by the system on a connection, and not yet seen by the event loop.

A stray response, read as the response to the next request, would show one organization the calls of another. So a
transport looks at the socket before it writes on an idle connection.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from functools import partial
from typing import Any

_STEPS = 4
"""Steps in which an event loop reads from a socket, amply: asyncio needs two, uvloop one."""


def make_probe(transport: Any) -> Callable[[], Any]:
    """Make a function to ask, without waiting, if a transport's socket has unread input.

    Without ``poll`` (on Windows) or an open socket, the function always returns True: the event loop must then be given
    a step to read.
    """
    connection = transport.get_extra_info("socket")
    if connection is None or connection.fileno() < 0 or not hasattr(select, "poll"):
        return lambda: True
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return partial(poller.poll, 0)


async def is_harmless(transport: Any, probe: Callable[[], Any]) -> bool:
    """Let the event loop read from a socket; return True if nothing was for the application.

    The loop must read, because the unread bytes of a TLS connection may be a session ticket or a key update
    (RFC 8446, section 4.6), and these are no response.
    """
    try:
        recorder = _Recorder(transport.get_protocol())
        transport.set_protocol(recorder)
    except (AttributeError, NotImplementedError):  # a foreign connector's transport
        return not transport.is_closing()
    try:
        for _ in range(_STEPS):
            await asyncio.sleep(0)
            if not probe():
                break
    finally:
        transport.set_protocol(recorder.displaced)
    return not (recorder.has_input or transport.is_closing())


class _Recorder(asyncio.Protocol):
    """Notes any input, in place of the connection's protocol."""

    def __init__(self, displaced: Any) -> None:
        self.displaced = displaced
        self.has_input = False

    def data_received(self, data: bytes) -> None:
        self.has_input = True

    def eof_received(self) -> None:
        self.has_input = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.displaced.connection_lost(exc)
