"""Fleets of real processes on a real nats-server: nothing lost, nothing doubled, nothing out of order."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import pytest
from fleet.harness import Processes, open_fleet
from fleet.nats_server import NatsServer
from fleet.proxy import Proxy

from calls_in_progress_async.fleet import FleetEvents

pytestmark = pytest.mark.timeout(90)
LEASE = 1.5


async def command(*arguments: str) -> bytes:
    """Run ``calls-in-progress fleet``, and return its output."""
    program = [sys.executable, "-m", "calls_in_progress_async", "fleet", *arguments]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output


async def start_two(fleet: Processes, **settings: object) -> None:
    fleet.start("one", **settings)
    fleet.start("two", **settings)
    await fleet.until(lambda: fleet.holds(one=4, two=4))
    await fleet.until(lambda: len(fleet.polls) == len(fleet.sandbox.organizations))


async def test_two_workers_tell_every_event_once(server: NatsServer) -> None:
    """The log holds each event once and in order; a consumer gets all of them; unchanged polls write nothing."""
    async with open_fleet(server, "steady") as fleet:
        await start_two(fleet)
        began = fleet.sandbox.now
        await asyncio.sleep(2.5)
        shown = await command("status", "--json", "--seconds", "1.5", "--servers", server.url, "--name", "steady")
        status = json.loads(shown)
        assert [(each["worker"], each["shards"]) for each in status["workers"]] == [("one", 4), ("two", 4)]
        assert all(each["polls_per_second"] > 0 for each in status["workers"])
        messages = await fleet.finish()
        assert fleet.audit(messages) == {}
        assert fleet.longest_gap(began + 0.5) < 5 * 0.5
        assert {each["by"] for each in messages} == {"one", "two"}
        assert sum(not each["events"] for each in messages) <= 3 * len(fleet.sandbox.organizations)
        assert len(messages) < sum(map(len, fleet.polls.values()))
        expected = [event["id"] for each in messages for event in each["events"]]
        got, changes = [], []
        async with FleetEvents(server.url, name="steady", group="readers") as events:
            while len(got) < len(expected):
                event = await anext(events)
                got.append(event.id)
                if event.kind == "call_changed":
                    changes.append(event.changes)
                await event.ack()
        assert got == expected
        shown = await command("events", "--limit", "5", "--servers", server.url, "--name", "steady", "--group", "cli")
        assert [json.loads(line)["id"] for line in shown.splitlines()] == expected[:5]
        assert changes
        assert all(changes)


async def test_a_killed_worker_is_replaced_within_a_lease(server: NatsServer) -> None:
    """After kill -9 the other worker takes over, and no call is left without an end."""
    async with open_fleet(server, "killed") as fleet:
        await start_two(fleet)
        await asyncio.sleep(1)
        killed_at = fleet.sandbox.now
        fleet.workers["one"].kill()
        took = await fleet.until(lambda: fleet.holds(two=8))
        await asyncio.sleep(1.5)
        messages = await fleet.finish()
        assert fleet.audit(messages, unsure=(killed_at - 0.5, killed_at + 0.1)) == {}
        assert took <= LEASE + 0.5


async def freeze_and_resume(fleet: Processes) -> tuple[float, float]:
    await start_two(fleet)
    await asyncio.sleep(1)
    frozen_at = fleet.sandbox.now
    fleet.workers["one"].send_signal(signal.SIGSTOP)
    await fleet.until(lambda: fleet.holds(two=8))
    await asyncio.sleep(1.5)
    fleet.workers["one"].send_signal(signal.SIGCONT)
    await fleet.until(lambda: fleet.holds(one=4, two=4))
    await asyncio.sleep(1)
    return frozen_at - 0.5, frozen_at + 0.1


async def test_a_frozen_worker_does_no_harm_when_it_resumes(server: NatsServer) -> None:
    """A worker that was stopped for longer than its lease writes nothing stale."""
    async with open_fleet(server, "frozen") as fleet:
        unsure = await freeze_and_resume(fleet)
        assert fleet.audit(await fleet.finish(), unsure) == {}


async def test_a_worker_that_was_cut_off_does_no_harm(server: NatsServer) -> None:
    """The link of a worker is cut for two leases, and its bytes are delivered late."""
    proxy = Proxy(server.port)
    url = await proxy.start()
    try:
        async with open_fleet(server, "cut") as fleet:
            fleet.start("one", servers=url)
            fleet.start("two")
            await fleet.until(lambda: fleet.holds(one=4, two=4))
            await asyncio.sleep(1)
            cut_at = fleet.sandbox.now
            proxy.cut()
            await fleet.until(lambda: fleet.holds(two=8))
            await asyncio.sleep(1.5)
            proxy.heal()
            await fleet.until(lambda: fleet.holds(one=4, two=4))
            await asyncio.sleep(1)
            assert fleet.audit(await fleet.finish(), (cut_at - 0.5, cut_at + LEASE + 0.5)) == {}
    finally:
        await proxy.close()


async def test_without_fences_the_audit_finds_faults(server: NatsServer) -> None:
    """Without compare-and-set and self-check, a frozen worker doubles events: the audit can fail."""
    async with open_fleet(server, "unfenced", break_fences=True) as fleet:
        unsure = await freeze_and_resume(fleet)
        found = fleet.audit(await fleet.finish(), unsure)
        assert found.get("doubled", 0) + found.get("contradiction", 0) > 0


async def test_a_worker_joins_and_leaves_without_a_gap(server: NatsServer) -> None:
    """A second worker gets half; SIGTERM hands over within a second; no organization waits for two intervals."""
    async with open_fleet(server, "moving") as fleet:
        fleet.start("one")
        await fleet.until(lambda: fleet.holds(one=8))
        await asyncio.sleep(1)
        began = fleet.sandbox.now
        fleet.start("two")
        await fleet.until(lambda: fleet.holds(one=4, two=4))
        await asyncio.sleep(1)
        assert await fleet.stop("one") <= 1.5
        await fleet.until(lambda: fleet.holds(two=8), 1.5)
        await asyncio.sleep(1)
        assert fleet.audit(await fleet.finish()) == {}
        assert fleet.longest_gap(began) < 5 * 0.5


@pytest.mark.parametrize("fault", ["frozen", "killed"])
async def test_work_goes_on_after_the_server_was_away(own_server: NatsServer, fault: str) -> None:
    """The log stops to respond for two seconds: findings are written afterwards, each once."""
    async with open_fleet(own_server, "away") as fleet:
        await start_two(fleet)
        await asyncio.sleep(1)
        if fault == "frozen":
            own_server.signal(signal.SIGSTOP)
        else:
            own_server.kill()
        await asyncio.sleep(2)
        if fault == "frozen":
            own_server.signal(signal.SIGCONT)
        else:
            own_server.start()
        fleet.beats.clear()
        await fleet.until(lambda: fleet.holds(one=4, two=4))
        await asyncio.sleep(1.5)
        assert fleet.audit(await fleet.finish()) == {}
