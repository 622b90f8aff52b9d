"""Checkpoints: a watch goes on after a restart, and tells the events in between."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from timing import passes
from watch.scripted_calls import ACME, GLOBEX, INITECH, ScriptedCalls, call, take_all
from watch.test_watch import short

from calls_in_progress_async import InvalidRequestError, Organization, clock
from calls_in_progress_async.watch.call_set import CallSet
from calls_in_progress_async.watch.checkpoint import epoch
from calls_in_progress_async.watch.organization_state import OrganizationState

pytestmark = pytest.mark.usefixtures("on_virtual_clock")


async def test_resuming(server: ScriptedCalls) -> None:
    """After a restart the gap comes first, then the events in between; calls told before do not start again."""
    server.calls = {ACME: [call("A"), call("B"), call("C")], GLOBEX: []}
    async with server.watch(ACME, GLOBEX) as watch:
        await passes(6)
        await take_all(watch)
        checkpoint = json.loads(json.dumps(watch.checkpoint()))
    await passes(100)
    server.calls = {ACME: [call("N"), call("A"), call("B", city="Goleta")], INITECH: [call("I")]}
    async with server.watch(ACME, GLOBEX, INITECH, resume_from=checkpoint) as watch:
        assert [each.raw for each in watch.calls[ACME]] == [{"transaction_id": each} for each in "ABC"]
        again = watch.checkpoint()
        assert again["organizations"].keys() == {"advertiser:25", "network:7"}
        assert again["organizations"]["advertiser:25"]["calls"] == checkpoint["organizations"]["advertiser:25"]["calls"]
        await passes(6)
        events = await take_all(watch)
        ours = [event for event in events if event.organization == ACME]
        assert short(ours[1:]) == ["-C", "*B", "+N"]
        assert ours[0].kind == "organization_resumed"
        assert 100 < ours[0].gap < 110
        assert (ours[2].previous, ours[2].changes) == (None, {})
        assert short([event for event in events if event.organization == INITECH]) == ["+I"]
        assert [event.kind for event in events if event.organization == GLOBEX] == ["organization_resumed"]


async def test_another_spelling_after_a_restart_is_no_change(server: ScriptedCalls) -> None:
    """Checkpoints hold digests of what a payload means, so a payload spelled otherwise is the same call."""
    server.bodies[ACME] = b'{"current_calls":[{"transaction_id":"A","city":"\xc3\xa9","zip_code":83,"region":null}]}'
    async with server.watch(ACME) as watch:
        await passes(6)
        await take_all(watch)
        checkpoint = watch.checkpoint()
    server.bodies[ACME] = b'{"current_calls":[ {"zip_code": "83", "city": "\\u00e9", "transaction_id": "A"} ]}'
    async with server.watch(ACME, resume_from=checkpoint) as watch:
        await passes(6)
        assert short(await take_all(watch)) == ["resumed 0"]


async def test_a_call_that_cannot_be_identified_after_a_restart(server: ScriptedCalls) -> None:
    """A call of the checkpoint has not ended while some entry has no readable id and may be the call."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME) as watch:
        await passes(6)
        await take_all(watch)
        checkpoint = watch.checkpoint()
    server.calls[ACME] = [{"transaction_id": ["A"], "city": "Goleta"}]
    async with server.watch(ACME, resume_from=checkpoint) as watch:
        await passes(6)
        assert short(await take_all(watch)) == ["resumed 0"]
        server.calls[ACME] = [call("A")]
        await passes(6)
        assert short(await take_all(watch)) == []


async def test_a_checkpoint_holds_what_was_taken(server: ScriptedCalls) -> None:
    """Events pending before the restart come after it."""
    server.calls[ACME] = [call("A"), call("B"), call("C")]
    async with server.watch(ACME) as watch:
        await passes(6)
        assert short([await anext(watch), await anext(watch)]) == ["+C", "+B"]
        began = clock.now()
        server.calls[ACME] = [call("B", city="Goleta")]
        await passes(10)
        checkpoint = watch.checkpoint()
        assert watch.stats.pending == 4
    async with server.watch(ACME, resume_from=checkpoint) as watch:
        await passes(6)
        events = await take_all(watch)
        assert short(events[1:]) == ["-C", "*B"]
        assert events[0].gap >= clock.now() - began - 12


async def test_an_outage_across_a_restart(server: ScriptedCalls) -> None:
    """If the first polls after a restart fail, one recovery tells the gap since the last good response before it."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME) as watch:
        await passes(6)
        await take_all(watch)
        server.errors[ACME] = 500
        await passes(50)
        await take_all(watch)
        checkpoint = watch.checkpoint()
    async with server.watch(ACME, resume_from=checkpoint) as watch:
        await passes(50)
        server.errors.clear()
        await passes(50)
        failed, recovered = await take_all(watch)
        assert (failed.kind, recovered.kind) == ("organization_failed", "organization_recovered")
        assert 100 < recovered.gap < 160


async def test_a_checkpoint_with_a_pending_outage(server: ScriptedCalls) -> None:
    """A recovery pending before the restart is part of the gap after it."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME) as watch:
        await passes(6)
        await take_all(watch)
        server.errors[ACME] = 500
        await passes(50)
        server.errors.clear()
        await passes(60)
        checkpoint = watch.checkpoint()
        assert watch.stats.pending == 2
    async with server.watch(ACME, resume_from=checkpoint) as watch:
        await passes(6)
        (resumed,) = await take_all(watch)
        assert resumed.kind == "organization_resumed"
        assert resumed.gap > 105


async def test_a_checkpoint_in_steps_shows_one_moment(server: ScriptedCalls) -> None:
    """`acheckpoint` returns what `checkpoint` would have returned at its start, and lets others run meanwhile."""
    organizations = [Organization.advertiser(number) for number in range(1, 121)]
    server.calls = {each: [call("A"), call("B")] for each in organizations}
    remembered = {"version": 1, "organizations": {str(GLOBEX): {"seen": 5.0, "calls": {"G": "0"}}}}
    async with server.watch(*organizations, resume_from=remembered) as watch:
        await passes(6)
        await take_all(watch)
        server.calls[organizations[-1]] = [call("A", city="Goleta")]
        await passes(6)  # two events stay pending
        before = watch.checkpoint()
        writing = asyncio.create_task(watch.acheckpoint())
        await asyncio.sleep(0)
        assert not writing.done()
        await take_all(watch)
        watch.add(GLOBEX)
        server.calls.clear()
        watch.remove(organizations[0])
        assert await writing == before
        assert watch.checkpoint() != before
    assert len(before["organizations"]) == 121


async def test_others_run_while_one_large_organization_is_written(server: ScriptedCalls) -> None:
    """After every 50 digests it is another task's turn."""
    server.calls[ACME] = [call(f"CALL-{number}") for number in range(1000)]
    async with server.watch(ACME) as watch:
        await passes(6)
        await take_all(watch)
        writing, turns = asyncio.create_task(watch.acheckpoint()), 0
        while not writing.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns >= 20
        assert writing.result() == watch.checkpoint()


async def test_a_checkpoint_reveals_no_caller(server: ScriptedCalls) -> None:
    """A checkpoint is JSON of a few dozen bytes a call, without phone numbers or payloads."""
    server.calls[ACME] = [
        call("A", calling_phone_number="+18005551234"),
        {"calling_phone_number": "+18005551234", "start_time": "2024-02-01T10:00:00-07:00"},
    ]
    async with server.watch(ACME) as watch:
        assert watch.checkpoint() == {"version": 1, "organizations": {}}
        await passes(6)
        await take_all(watch)
        text = json.dumps(watch.checkpoint())
        assert "555" not in text
        assert "bridged" not in text
        assert len(text) < 220


@pytest.mark.parametrize(
    "checkpoint",
    [
        {},
        [],
        "text",
        7,
        {"version": 2, "organizations": {}},
        {"version": 1},
        {"version": 1, "organizations": []},
        {"version": 1, "organizations": {"nobody": {"seen": 1, "calls": {}}}},
        {"version": 1, "organizations": {"advertiser:25": {"seen": "x", "calls": {}}}},
        {"version": 1, "organizations": {"advertiser:25": {"seen": 1, "calls": []}}},
        {"version": 1, "organizations": {"advertiser:25": None}},
    ],
)
async def test_a_bad_checkpoint_is_rejected(server: ScriptedCalls, checkpoint: Any) -> None:
    """A value of another shape or version is rejected when the watch is made."""
    with pytest.raises(InvalidRequestError) as caught:
        server.watch(ACME, resume_from=checkpoint)
    assert caught.value.parameter == "resume_from"


async def test_a_second_restart_before_the_first_response(server: ScriptedCalls) -> None:
    """An organization without calls stays in the checkpoint until its first response, so that its gap is told."""
    async with server.watch(ACME) as watch:
        await passes(6)
        checkpoint = watch.checkpoint()
    assert server.watch(ACME, resume_from=checkpoint).checkpoint() == checkpoint


async def test_an_organization_added_later_is_resumed(server: ScriptedCalls) -> None:
    """Calls of an organization that is added later do not start again, unless it was removed in between."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME) as watch:
        await passes(6)
        await take_all(watch)
        checkpoint = watch.checkpoint()
    async with server.watch(GLOBEX, resume_from=checkpoint) as watch:
        watch.add(ACME)
        await passes(6)
        assert [event.kind for event in await take_all(watch)] == ["organization_resumed"]
        watch.remove(ACME)
        watch.add(ACME)
        await passes(6)
        assert short(await take_all(watch)) == ["+A"]


async def test_an_organization_not_added_yet_stays_in_the_checkpoint(server: ScriptedCalls) -> None:
    """The next checkpoint holds organizations of the last that are not under watch yet, unless they were removed."""
    server.calls = {ACME: [call("A")], GLOBEX: [call("G")]}
    async with server.watch(ACME, GLOBEX, INITECH) as watch:
        await passes(6)
        await take_all(watch)
        checkpoint = watch.checkpoint()
    async with server.watch(INITECH, resume_from=checkpoint) as watch:
        await passes(6)
        later = watch.checkpoint()["organizations"]
        assert later.keys() == checkpoint["organizations"].keys()
        assert later["advertiser:25"] == checkpoint["organizations"]["advertiser:25"]
        watch.remove(GLOBEX)
        assert watch.checkpoint()["organizations"].keys() == {"advertiser:9", "advertiser:25"}


async def test_one_organization_alone_can_be_dumped_and_loaded(server: ScriptedCalls) -> None:
    """A state dumped in one process and loaded in another goes on with the same calls and the same Unix time."""
    server.calls[ACME] = [call("A"), call("B")]
    state = OrganizationState(ACME, clock.now(), CallSet(missed_polls_before_end=2))
    assert not state.is_known
    state.apply(await server.fetch(state), clock.now())
    dumped = json.loads(json.dumps(state.dump(epoch())))
    await asyncio.sleep(40)
    other = OrganizationState(ACME, clock.now(), CallSet(missed_polls_before_end=2))
    other.load(dumped, epoch())
    assert other.dump(epoch()) == dumped
    assert other.is_known
    assert clock.now() - other.last_response_at == pytest.approx(40.0, abs=0.01)
    server.calls[ACME] = [call("B", city="Goleta")]
    listing = await server.fetch(other)
    (delta,) = other.apply(listing, clock.now())
    assert (delta.identity, delta.before and delta.before.json, delta.after) == ("B", None, listing.entries[0])
    (ended,) = other.apply(listing, clock.now())
    assert (ended.identity, ended.after) == ("A", None)


@pytest.mark.parametrize("value", [None, {}, {"seen": "x", "calls": {}}, {"seen": 1.0, "calls": 5}])
async def test_a_bad_dump_changes_nothing(value: Any) -> None:
    """A value of another shape is rejected, and the state stays as it was."""
    state = OrganizationState(ACME, clock.now())
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        state.load(value, epoch())
    assert not state.is_known
