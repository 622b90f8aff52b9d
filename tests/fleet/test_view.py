"""The view of a fleet, on messages as workers write them, in a real nats-server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import define, field
from fleet.nats_server import NatsServer
from fleet.test_status import beat

from calls_in_progress_async import (
    CallChanged,
    CallEnded,
    CallEvent,
    CallStarted,
    InvalidRequestError,
    Organization,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
    ServerError,
)
from calls_in_progress_async.fleet import FleetError, FleetView
from calls_in_progress_async.fleet.errors import LogUnavailableError
from calls_in_progress_async.fleet.jetstream import JetStream
from calls_in_progress_async.fleet.log import Log
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.fleet.message import LogEvent
from calls_in_progress_async.fleet.state import FleetState
from calls_in_progress_async.watch.call_set import CallSet
from calls_in_progress_async.watch.listing import read

ONE, TWO = Organization.advertiser(1), Organization.advertiser(2)
ABSENT = 999
"""Sequence of a message that was trimmed."""


@define
class Writer:
    """Writes the messages of one worker."""

    log: Log
    states: dict[Organization, FleetState] = field(factory=dict)
    at: float = 1000.0

    async def poll(self, organization: Organization, **calls: str) -> None:
        """Write the message of a poll with calls, each a name and a status."""
        state = self._state(organization)
        payload = [{"transaction_id": name, "call_status": status} for name, status in calls.items()]
        listing = read(json.dumps({"current_calls": payload}).encode(), state.calls.listing, strict=False)
        await self.write(organization, *(state.event_of(delta) for delta in state.apply(listing, 1.0)))

    async def write(self, organization: Organization, *events: LogEvent) -> None:
        """Write a message with events."""
        state = self._state(organization)
        self.at += 1.0
        draft = state.draft(events, "me", self.at)
        sequence = await self.log.jetstream.publish(state.subject, draft.body, state.sequence)
        state.accept(draft, sequence, self.at)

    def _state(self, organization: Organization) -> FleetState:
        subject = self.log.settings.subject_of(organization)
        new = FleetState(organization=organization, added_at=0.0, calls=CallSet(1), subject=subject)
        return self.states.setdefault(organization, new)


@asynccontextmanager
async def writer(server: NatsServer, name: str, **settings: Any) -> AsyncIterator[Writer]:
    """Open an empty log."""
    log = Log(LogSettings(servers=server.url, name=name, shards=4, **settings))
    await log.connect("t")
    try:
        await log.ensure_stream()
        yield Writer(log)
    finally:
        await log.close()


def shown(view: FleetView) -> dict[str, dict[str | None, str | None]]:
    """Return the status of each call in a view by organization."""
    return {
        str(organization): {call.transaction_id: call.call_status for call in calls}
        for organization, calls in view.calls.items()
    }


async def take(view: FleetView, number: int) -> list[CallEvent]:
    return [await anext(view) for _ in range(number)]


async def test_a_view_begins_with_the_present_and_then_follows(server: NatsServer) -> None:
    """Payloads in earlier messages are read too, and the events are those of a watch."""
    async with writer(server, "view_follow") as log:
        await log.poll(ONE, A="ringing", B="ringing")
        await log.poll(ONE, A="bridged", B="ringing")
        await log.poll(TWO, C="ringing")
        await log.poll(TWO)
        async with FleetView(server.url, name="view_follow") as view:
            assert len(view.calls) == 2
            assert shown(view) == {"advertiser:1": {"A": "bridged", "B": "ringing"}, "advertiser:2": {}}
            await log.poll(ONE, A="bridged", B="bridged")
            await log.poll(ONE, A="bridged", D="ringing")
            changed, ended, started = await take(view, 3)
            assert isinstance(changed, CallChanged)
            assert dict(changed.changes) == {"call_status": ("ringing", "bridged")}
            assert isinstance(ended, CallEnded)
            assert ended.call.transaction_id == "B"
            assert ended.call.call_status == "bridged"
            assert isinstance(started, CallStarted)
            assert shown(view)["advertiser:1"] == {"A": "bridged", "D": "ringing"}
            assert await log.log.jetstream.consumers() == []


async def test_the_view_of_some_organizations_has_no_others(server: NatsServer) -> None:
    """The server sends nothing about the others."""
    async with writer(server, "view_some") as log:
        await log.poll(ONE, A="ringing")
        await log.poll(TWO, B="ringing")
        async with FleetView(server.url, name="view_some", organizations=[TWO]) as view:
            assert shown(view) == {"advertiser:2": {"B": "ringing"}}
            await log.poll(ONE)
            await log.poll(TWO)
            assert isinstance(await anext(view), CallEnded)


async def test_outages_and_gaps_are_events(server: NatsServer) -> None:
    """An outage on entry is the first event; the error has the worker's class."""
    async with writer(server, "view_outage") as log:
        await log.poll(ONE)
        log.states[ONE].failed = True
        await log.write(ONE, LogEvent(id="", kind="organization_failed", error="ServerError"))
        async with FleetView(server.url, name="view_outage") as view:
            failed = await anext(view)
            assert isinstance(failed, OrganizationFailed)
            assert isinstance(failed.error, ServerError)
            assert "the polls of worker me fail with ServerError" in failed.error.message
            log.states[ONE].failed = False
            await log.write(ONE, LogEvent(id="", kind="organization_recovered", gap=5.0))
            await log.write(ONE, LogEvent(id="", kind="organization_resumed", gap=7.0))
            log.states[ONE].failed = True
            await log.write(ONE)
            log.states[ONE].failed = False
            await log.write(ONE)
            recovered, resumed, unknown, again = await take(view, 4)
            assert recovered == OrganizationRecovered(ONE, 5.0)
            assert resumed == OrganizationResumed(ONE, 7.0)
            assert isinstance(unknown, OrganizationFailed)
            assert isinstance(unknown.error, FleetError)
            assert again == OrganizationRecovered(ONE, 1.0)


async def test_a_call_with_a_trimmed_payload_has_its_id(server: NatsServer) -> None:
    """A view needs no payload to know that a call is in progress."""
    async with writer(server, "view_payload") as log:
        await log.poll(ONE, A="ringing")
        log.states[ONE].known["A"] = log.states[ONE].known["A"]._replace(at=ABSENT)
        await log.write(ONE)
        async with FleetView(server.url, name="view_payload") as view:
            assert shown(view) == {"advertiser:1": {"A": None}}


async def test_a_view_goes_on_from_the_present_after_a_restart_of_the_server(own_server: NatsServer) -> None:
    """Its consumer dies with the server. Events in between are differences; no event comes twice."""
    async with writer(own_server, "view_restart") as log:
        await log.poll(ONE, A="ringing")
        async with FleetView(own_server.url, name="view_restart", connection={"reconnect_time_wait": 0.02}) as view:
            waiting = asyncio.create_task(take(view, 2))
            await asyncio.sleep(0)
            own_server.kill()
            own_server.start()
            async with writer(own_server, "view_restart") as again:
                again.states = log.states
                await again.poll(ONE, A="ringing", B="ringing")
                await again.poll(ONE, B="ringing")
                one, two = await waiting
                assert {one.kind, two.kind} <= {"call_started", "call_ended"}
                assert shown(view) == {"advertiser:1": {"B": "ringing"}}
                await again.poll(ONE)
                assert (await anext(view)).kind == "call_ended"


async def test_a_view_forgotten_by_the_server_begins_again(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server forgets the consumer of a long busy reader. The view emits no event twice."""
    monkeypatch.setattr("calls_in_progress_async.fleet.jetstream.WAIT", 0.2)
    async with writer(server, "view_forgotten") as log:
        await log.poll(ONE, A="ringing")
        await log.poll(TWO, B="ringing")
        async with FleetView(server.url, name="view_forgotten") as view:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(view), 0.5)
            assert await log.log.jetstream._js.delete_consumer("cip_view_forgotten_events", view._consumer)
            await log.poll(ONE)
            async for event in view:
                assert (event.kind, event.organization) == ("call_ended", ONE)
                break


async def test_a_cancelled_wait_loses_nothing(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is applied once its payloads are read, however often the reader gives up waiting."""
    message_at, silent = JetStream.message_at, True

    async def read_when_up(self: JetStream, sequence: int) -> bytes | None:
        if silent:
            raise LogUnavailableError
        return await message_at(self, sequence)

    monkeypatch.setattr(JetStream, "message_at", read_when_up)
    async with writer(server, "view_cancelled") as log:
        await log.poll(ONE)
        async with FleetView(server.url, name="view_cancelled") as view:
            await log.poll(ONE, A="ringing")
            log.states[ONE].known["A"] = log.states[ONE].known["A"]._replace(at=2, digest="other")
            assert (await anext(view)).kind == "call_started"
            await log.write(ONE)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(view), 0.1)
            silent = False
            assert (await anext(view)).kind == "call_changed"


async def test_staleness_is_told_by_the_beats(server: NatsServer) -> None:
    """It is that of the organization's worker; during an outage, the time since its beginning."""
    async with writer(server, "view_stale") as log:
        await log.poll(ONE, A="ringing")
        await log.poll(TWO)
        log.states[TWO].failed = True
        await log.write(TWO)
        async with FleetView(server.url, name="view_stale") as view:
            assert view.status.workers == ()
            assert view.staleness[ONE] > 1e6
            polls = 0
            while view.status.polls < 10 or len(view.status.workers) < 2:
                polls += 10
                await log.log.send_beat(beat("one", polls, stale=3.0))
                await log.log.send_beat(beat("two", stale=3.0))
                await asyncio.sleep(0.01)
            assert 3.0 <= view.staleness[ONE] < 1e6
            assert view.staleness[TWO] > 1e6


async def test_a_view_of_no_fleet_is_an_error(server: NatsServer) -> None:
    """A wrong name is no silence."""
    with pytest.raises(FleetError, match="no fleet 'nobody'"):
        async with FleetView(server.url, name="nobody"):
            pass


@pytest.mark.parametrize("organizations", [[], [5], "advertiser:5"])
def test_wrong_organizations_are_named(organizations: Any) -> None:
    """A view of nothing is a mistake."""
    with pytest.raises(InvalidRequestError, match="organizations must"):
        FleetView("nats://127.0.0.1:1", name="t", organizations=organizations)
