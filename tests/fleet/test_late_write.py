"""The hole that compare-and-set alone leaves: a dead worker's message that arrives after its successor's first look."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fleet.nats_server import NatsServer

from calls_in_progress_async import CallsInProgressClient
from calls_in_progress_async.fleet import Fleet
from calls_in_progress_async.fleet.errors import SupersededCommitError
from calls_in_progress_async.fleet.jetstream import JetStream
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.fleet.state import FleetState
from calls_in_progress_async.sandbox import SandboxServer


async def late_write(server: NatsServer, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, list[str]]:
    """Let a worker see a call start, and die while its message is under way; the call ends; a successor takes over.

    Returns:
        True if the late message was taken, and the calls in progress by the log in the end.
    """
    settings: dict[str, Any] = {"servers": server.url, "name": name, "interval": 0.2, "lease": 0.6, "shards": 1}
    under_way: asyncio.Future[tuple[str, bytes, int]] = asyncio.get_running_loop().create_future()
    publish = JetStream.publish

    async def hold(self: JetStream, subject: str, body: bytes, after: int) -> int:
        if json.loads(body)["by"] == "dying" and after:
            under_way.set_result((subject, body, after))
            await asyncio.Event().wait()
        return await publish(self, subject, body, after)

    monkeypatch.setattr(JetStream, "publish", hold)

    async def die(*_: Any) -> None: ...

    monkeypatch.setattr("calls_in_progress_async.fleet.worker.hand_over", die)
    # Telling of a long gap would be a write too, and hide the hole.
    monkeypatch.setattr("calls_in_progress_async.fleet.sink._LONG_GAP", 1e9)
    async with SandboxServer(organizations=1, calls_per_organization=0) as sandbox:
        organization = sandbox.organizations[0]
        settings["organizations"] = [organization]
        async with CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client:
            kept = sandbox.start_call(organization)
            dying = asyncio.create_task(Fleet(client, worker="dying", **settings).run())
            probe = JetStream(LogSettings(servers=server.url, name=name, shards=1), lambda: None)
            await probe.connect("probe")
            subject = f"cip.{name}.events.0.{organization.type}.{organization.id}"
            while not (await probe.last(subject)).sequence:
                await asyncio.sleep(0.05)
            late = sandbox.start_call(organization)
            message = await under_way
            sandbox.end_call(organization, late)
            dying.cancel()
            await asyncio.gather(dying, return_exceptions=True)
            living = asyncio.create_task(Fleet(client, worker="living", **settings).run())
            await asyncio.sleep(2)
            try:
                await publish(probe, *message)
            except SupersededCommitError:
                taken = False
            else:
                taken = True
            await asyncio.sleep(1)
            calls = set(json.loads((await probe.last(subject)).body)["calls"])
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
            await probe.close()
            return taken, sorted("kept" if each == kept else "ended" for each in calls)


async def test_a_late_message_of_a_dead_worker_is_refused(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The successor's first look is always written, so the late message follows nothing."""
    assert await late_write(server, "late", monkeypatch) == (False, ["kept"])


async def test_without_a_first_write_a_call_never_ends(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without the first write the late message is taken, and the log has a call that is over."""
    learn = FleetState.learn

    def learn_and_trust(self: FleetState, *arguments: Any) -> None:
        learn(self, *arguments)
        self.must_write = False

    monkeypatch.setattr(FleetState, "learn", learn_and_trust)
    assert await late_write(server, "unwritten", monkeypatch) == (True, ["ended", "kept"])
