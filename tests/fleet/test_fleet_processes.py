"""Fleets of real processes on real nats-servers: nothing lost, nothing doubled, nothing out of order."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from fleet import cases
from fleet.harness import Processes, open_fleet
from fleet.nats_server import NatsServer, make_cluster

from calls_in_progress_async.fleet import FleetEvents

pytestmark = pytest.mark.timeout(90)
LEASE = 1.5
BOTH = ("one", "two")


class Open(Protocol):
    """Opens a small fleet until the end of the test."""

    async def __call__(self, *servers: NatsServer, **settings: Any) -> Processes: ...


@pytest.fixture
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Return a function that opens a fleet with a name of its own."""
    async with AsyncExitStack() as stack:

        async def enter(*servers: NatsServer, **settings: Any) -> Processes:
            name = request.node.originalname.removeprefix("test_")[:60]
            return await stack.enter_async_context(open_fleet(*servers, name=name, **settings))

        yield enter


@pytest.fixture
def cluster(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NatsServer]]:
    """Run three servers for one test."""
    servers = make_cluster(tmp_path_factory.mktemp("nats"), binary)
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.kill()


async def command(*arguments: str) -> bytes:
    """Run ``calls-in-progress fleet``, and return its output."""
    program = [sys.executable, "-m", "calls_in_progress_async", "fleet", *arguments]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output


async def test_two_workers_tell_every_event_once(server: NatsServer, opened: Open) -> None:
    """The log holds each event once and in order; a consumer gets all of them; unchanged polls write nothing."""
    fleet = await opened(server)
    where = ("--servers", server.url, "--name", fleet.name)
    status: dict[str, Any] = {}

    async def look() -> None:
        status.update(json.loads(await command("status", "--json", "--seconds", "1.5", *where)))

    outcome = await cases.steady(fleet, BOTH, look())
    assert outcome.faults == {}
    assert outcome.figures["messages without an event"] == 0
    assert 0 < outcome.figures["messages a poll"] < 0.9
    assert {each["by"] for each in outcome.messages} == {"one", "two"}
    assert [(each["worker"], each["shards"]) for each in status["workers"]] == [("one", 4), ("two", 4)]
    assert all(each["polls_per_second"] > 0 for each in status["workers"])
    expected = [event["id"] for each in outcome.messages for event in each["events"]]
    got, changes = [], []
    async with FleetEvents(server.url, name=fleet.name, group="readers") as events:
        while len(got) < len(expected):
            event = await anext(events)
            got.append(event.id)
            if event.kind == "call_changed":
                changes.append(event.changes)
            await event.ack()
    assert got == expected
    lines = await command("events", "--limit", "5", *where, "--group", "cli")
    assert [json.loads(line)["id"] for line in lines.splitlines()] == expected[:5]
    assert changes
    assert all(changes)


async def test_a_killed_worker_is_replaced(server: NatsServer, opened: Open) -> None:
    """After kill -9 the other worker takes over, and no call is left without an end."""
    outcome = await cases.killed(await opened(server), BOTH)
    assert outcome.faults == {}


async def test_a_frozen_worker_does_no_harm_when_it_resumes(server: NatsServer, opened: Open) -> None:
    """A worker that was stopped for longer than its lease writes nothing stale."""
    outcome = await cases.frozen(await opened(server), BOTH, 2 * LEASE)
    assert outcome.faults == {}


async def test_a_worker_that_was_cut_off_does_no_harm(server: NatsServer, opened: Open) -> None:
    """The link of a worker is cut for longer than its lease, and its bytes are delivered late."""
    outcome = await cases.cut_off(await opened(server), BOTH, LEASE)
    assert outcome.faults == {}


async def test_without_fences_the_audit_finds_faults(server: NatsServer, opened: Open) -> None:
    """The control: without compare-and-set and self-check, a frozen worker doubles events."""
    outcome = await cases.frozen(await opened(server, break_fences=True), BOTH, 2 * LEASE)
    assert outcome.faults.get("doubled", 0) + outcome.faults.get("contradiction", 0) > 0


async def test_workers_and_organizations_come_and_go(server: NatsServer, opened: Open, tmp_path: Path) -> None:
    """Two workers join one, SIGTERM stops one, organizations are added and removed: nothing is lost or polled on."""
    outcome = await cases.moved(await opened(server), ("one", "two", "three"), tmp_path / "organizations")
    assert outcome.faults == {}
    assert outcome.figures["polls of removed"] == 0


async def test_polls_stay_below_the_rate_through_kills(server: NatsServer, opened: Open) -> None:
    """Shares of dead workers are free only once others have taken over: all polls together keep to the rate."""
    fleet = await opened(server, rate=50.0)
    outcome = await cases.kills_at_a_rate(fleet, BOTH, kills=2, pause=2 * LEASE)
    assert outcome.faults == {}
    assert outcome.figures["mean / rate"] <= 1.05


@pytest.mark.parametrize("case", [cases.server_frozen, cases.server_killed])
async def test_work_goes_on_after_the_server_was_away(own_server: NatsServer, opened: Open, case: Any) -> None:
    """The log is away for longer than a lease: findings are written afterwards, each once, and none is lost."""
    outcome = await case(await opened(own_server), BOTH, 2 * LEASE)
    assert outcome.faults == {}


async def test_no_call_is_left_without_an_end_after_the_log_was_set_back(
    own_server: NatsServer, opened: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The server comes back with an old disk: workers go on from there, and tell what they told before once more."""
    outcome = await cases.log_set_back(await opened(own_server), BOTH, 2.0, tmp_path_factory.mktemp("nats") / "copy")
    assert outcome.faults == {}


async def test_a_cluster_survives_its_servers(cluster: list[NatsServer], opened: Open) -> None:
    """The leader dies, loses its disk and comes back; the next leader dies, and workers leave during the election."""
    fleet = await opened(*cluster, replicas=3)
    await cases.begin(fleet, BOTH)
    await cases.lose_disk(fleet, await cases.kill_leader(fleet))
    (await cases.leader_of(fleet)).kill()
    await fleet.intervals(1)  # by now polls have found news that cannot be written yet
    assert fleet.audit(await fleet.finish()) == {}


async def test_a_group_gets_everything_though_a_member_is_killed(
    server: NatsServer, opened: Open, tmp_path: Path
) -> None:
    """A consumer dies with half a batch in its hands: the others get these messages too."""
    outcome = await cases.consumer_killed(await opened(server), BOTH, tmp_path, pause=0.02)
    assert outcome.faults == {}
    assert outcome.figures["not delivered"] == 0
    assert outcome.figures["delivered again"] > 0
