"""The events of a fleet, read from handmade messages on a real nats-server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from fleet.nats_server import NatsServer

from calls_in_progress_async import InvalidRequestError
from calls_in_progress_async.fleet import FleetEvents
from calls_in_progress_async.fleet.log import Log
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.fleet.message import LogEvent, LogMessage, encode

ABSENT = 999
"""Sequence of a message that was trimmed."""


def event(kind: str, name: str, status: str = "", *, previous_at: int = 0, call_at: int = 0) -> LogEvent:
    payload = msgspec.Raw(msgspec.json.encode({"transaction_id": name, "call_status": status}))
    return LogEvent(
        id=f"{kind} {name} {status}",
        kind=kind,
        call_id=name,
        call=payload if status else msgspec.UNSET,
        previous_at=previous_at,
        call_at=call_at,
    )


def body_of(rev: int, *events: LogEvent) -> bytes:
    message = LogMessage(
        v=1,
        organization="advertiser:25",
        rev=rev,
        by="me",
        at=5.0,
        failed=False,
        events=list(events),
        calls={},
        ended={},
    )
    return encode(message)


@asynccontextmanager
async def log_with(server: NatsServer, name: str, *messages: tuple[LogEvent, ...]) -> AsyncIterator[Log]:
    """Open a log with one message for each tuple of events."""
    log = Log(LogSettings(servers=server.url, name=name, shards=1))
    await log.connect("t")
    try:
        await log.ensure_stream()
        after = 0
        for rev, events in enumerate(messages, 1):
            body = body_of(rev, *events)
            after = await log.jetstream.publish(f"cip.{name}.events.0.advertiser.25", body, after)
        yield log
    finally:
        await log.close()


async def test_a_change_has_both_states_of_the_call(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload no longer in memory is read from the log."""
    read = []
    message_at = Log.message_at

    async def record(self: Log, sequence: int) -> bytes | None:
        read.append(sequence)
        return await message_at(self, sequence)

    monkeypatch.setattr(Log, "message_at", record)
    monkeypatch.setattr("calls_in_progress_async.fleet.events._PAYLOADS_KEPT", 1)
    messages = (
        (event("call_started", "A", "ringing"),),
        (event("call_started", "B", "ringing"),),
        (event("call_changed", "A", "bridged", previous_at=1),),
        (),
    )
    async with log_with(server, "change", *messages), FleetEvents(server.url, name="change", group="g") as events:
        found = [await anext(events) for _ in range(3)]
    changed = found[2]
    assert [each.kind for each in found] == ["call_started", "call_started", "call_changed"]
    assert changed.call is not None
    assert changed.previous is not None
    assert (changed.previous.call_status, changed.call.call_status) == ("ringing", "bridged")
    assert set(changed.changes) == {"call_status"}
    assert found[0].changes == {}
    assert read == [1]
    assert repr(changed) == "FleetEvent(call_changed, 'advertiser:25', rev=3)"


async def test_a_call_with_a_trimmed_payload_has_its_id(server: NatsServer) -> None:
    """An end has the id of the call alone, and a change has no previous state."""
    messages = (
        event("call_ended", "A", call_at=ABSENT),
        event("call_changed", "B", "bridged", previous_at=ABSENT),
        LogEvent(id="f", kind="organization_failed", error="ServerError"),
    )
    async with log_with(server, "trimmed", messages), FleetEvents(server.url, name="trimmed", group="g") as events:
        ended, changed, failed = [await anext(events) for _ in range(3)]
    assert ended.call is not None
    assert ended.call.transaction_id == "A"
    assert ended.previous is None
    assert changed.previous is None
    assert changed.changes == {}
    assert (failed.call, failed.error) == (None, "ServerError")


async def progress(log: Log, unacknowledged: int) -> int:
    """Wait until a number of messages is unacknowledged, and return the last sequence of the acknowledged ones."""
    while True:
        (group,) = await log.jetstream.consumers()
        if group.unacknowledged == unacknowledged:
            return group.acknowledged


async def test_a_message_is_acknowledged_with_its_last_event(server: NatsServer) -> None:
    """A second acknowledgement of an event does nothing, and a message without events is acknowledged at once."""
    messages = (
        (),
        (event("call_started", "A", "ringing"), event("call_started", "B", "ringing")),
        (event("call_started", "C", "ringing"),),
    )
    async with log_with(server, "acks", *messages) as log, FleetEvents(server.url, name="acks", group="g") as events:
        found = []
        async for each in events:
            found.append(each)
            if len(found) == 3:
                break
        first, second, third = found
        await first.ack()
        await first.ack()
        await third.ack()
        assert await progress(log, unacknowledged=1) == 1
        await second.ack()
        assert await progress(log, unacknowledged=0) == 3


async def test_a_wait_for_acknowledgements_must_be_positive() -> None:
    """A setting out of its range is named."""
    with pytest.raises(InvalidRequestError, match="ack_wait must be"):
        FleetEvents("nats://127.0.0.1:1", name="t", group="g", ack_wait=0)
