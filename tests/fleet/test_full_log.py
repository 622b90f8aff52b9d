"""A log without room, on a real nats-server: nothing is lost, and polling resumes with the room."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import nats
import pytest
from fleet.nats_server import NatsServer

from calls_in_progress_async import CallsInProgressClient
from calls_in_progress_async.fleet import Fleet, FleetEvents
from calls_in_progress_async.fleet.jetstream import JetStream
from calls_in_progress_async.sandbox import SandboxServer

NAME, STREAM = "full", "cip_full_events"


async def limit(jetstream: Any, bytes_more: int | None) -> None:
    """Leave room for so many bytes in the stream; None for no limit."""
    info = await jetstream.stream_info(STREAM)
    size = -1 if bytes_more is None else info.state.bytes + bytes_more
    await jetstream.update_stream(info.config.evolve(max_bytes=size))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


async def test_polling_resumes_once_a_full_log_has_room(
    server: NatsServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warning names the remedy, once. The calls that began meanwhile are told afterwards."""
    publish, writes = JetStream.publish, 0

    async def count(self: JetStream, subject: str, body: bytes, after: int) -> int:
        nonlocal writes
        writes += 1
        return await publish(self, subject, body, after)

    monkeypatch.setattr(JetStream, "publish", count)
    async with (
        SandboxServer(organizations=3, calls_per_organization=0) as sandbox,
        CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client,
    ):
        organizations = sandbox.organizations
        fleet = Fleet(client, servers=server.url, name=NAME, organizations=organizations, interval=0.1, shards=1)
        running = asyncio.create_task(fleet.run())
        connection = await nats.connect(server.url)
        jetstream = connection.jetstream()
        while sandbox.stats.requests < 6:
            await asyncio.sleep(0.02)
        await limit(jetstream, 1)
        first = sandbox.start_call(organizations[0])
        while not warnings(caplog):
            await asyncio.sleep(0.02)
        later = {sandbox.start_call(each) for each in organizations}
        refused = writes
        while writes < refused + 3:
            await asyncio.sleep(0.02)
        await limit(jetstream, None)
        started: set[str | None] = set()
        async with FleetEvents(server.url, name=NAME, group="g") as events:
            async for event in events:
                assert event.kind == "call_started"
                assert event.call is not None
                assert event.call.transaction_id not in started
                started.add(event.call.transaction_id)
                if started == later | {first}:
                    break
        (warning,) = warnings(caplog)
        assert warning.startswith("the log does not take writes, which are tried again: maximum bytes exceeded (code")
        assert "give the stream more room, such as `nats stream edit --max-bytes`" in warning
        fleet.stop()
        await running
        await connection.close()
