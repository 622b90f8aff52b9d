"""Transports of foreign connectors may lack a socket or a protocol, and are used all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from calls_in_progress_async.transport.unread_input import is_harmless, make_probe


class ForeignTransport(asyncio.Transport):
    """A transport with the required methods alone."""

    def __init__(self, *, closing: bool = False, socket: Any = None) -> None:
        super().__init__({"socket": socket})
        self._closing = closing

    def is_closing(self) -> bool:
        return self._closing


class ClosedSocket:
    def fileno(self) -> int:
        return -1


@pytest.mark.parametrize("socket", [None, ClosedSocket()], ids=["no socket", "a closed socket"])
def test_without_an_open_socket_there_may_be_input(socket: Any) -> None:
    """The probe always says so, and the event loop is given a step."""
    assert make_probe(ForeignTransport(socket=socket))()


@pytest.mark.parametrize("closing", [False, True])
async def test_without_a_protocol_only_the_end_is_seen(closing: bool) -> None:
    """A transport without set_protocol() is harmless unless it is closing."""
    assert await is_harmless(ForeignTransport(closing=closing), lambda: True) is not closing
