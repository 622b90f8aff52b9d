"""A server whose answers a test sets, and its clock."""

from __future__ import annotations

import pytest
from watch.worlds import Clock, Server


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock(server: Server) -> Clock:
    return server.clock
