"""A watch on a clock turned by hand, against a scripted server."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import pickle
from typing import Any

import attrs
import pytest
from timing import passes, settle
from watch.scripted_calls import ACME, GLOBEX, INITECH, ScriptedCalls, call, take_all

from calls_in_progress_async import (
    CallChanged,
    CallEnded,
    CallStarted,
    ClientClosedError,
    ClientStateError,
    InvalidRequestError,
    Organization,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
    ServerError,
    UnexpectedResponseError,
)
from calls_in_progress_async.testing import html

pytestmark = pytest.mark.usefixtures("on_virtual_clock")


def short(events: list[Any]) -> list[str]:
    """Write events as text: "+A" for a start, "*A city" for a change, "-A" for an end."""
    shown = []
    for event in events:
        match event:
            case CallStarted(_, call):
                shown.append(f"+{call.transaction_id}")
            case CallChanged(_, call, _, changes):
                shown.append(f"*{call.transaction_id} {' '.join(changes)}".rstrip())
            case CallEnded(_, call):
                shown.append(f"-{call.transaction_id}")
            case OrganizationFailed(_, error):
                shown.append(type(error).__name__)
            case OrganizationRecovered(_, gap):
                shown.append(f"recovered {gap:.0f}")
            case OrganizationResumed(_, gap):
                shown.append(f"resumed {gap:.0f}")
    return shown


async def test_the_life_of_a_call(server: ScriptedCalls) -> None:
    """A call starts, changes and ends, and each event is told once."""
    server.calls[ACME] = [call("A", city="Goleta")]
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(6)
        assert short(await take_all(watch)) == ["+A"]
        await passes(20)
        assert await take_all(watch) == []
        server.calls[ACME] = [call("A", city="Ventura")]
        await passes(5)
        assert [each.city for each in watch.calls[ACME]] == ["Ventura"]
        (event,) = await take_all(watch)
        assert event.changes == {"city": ("Goleta", "Ventura")}
        server.calls[ACME] = []
        await passes(5)
        assert short(await take_all(watch)) == ["-A"]
        assert dict(watch.calls) == {ACME: ()}
        assert len(watch.calls) == 1


@pytest.mark.parametrize(
    ("response", "kind"),
    [(500, ServerError), (html(), UnexpectedResponseError), (401, KeyError)],
)
async def test_a_call_never_ends_because_of_an_error(response: Any, kind: type[Exception]) -> None:
    """An outage and its end are told once each, with the seconds between good responses; no call ends in it."""

    async def token(organization: Organization) -> str:
        if organization in server.errors:  # asked again after the 401
            raise KeyError("token")
        return "t"

    server = ScriptedCalls(token=token)
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(6)
        await take_all(watch)
        server.errors[ACME] = response
        await passes(300)
        (failed,) = await take_all(watch)
        assert (type(failed), failed.organization, type(failed.error)) == (OrganizationFailed, ACME, kind)
        assert [each.transaction_id for each in watch.calls[ACME]] == ["A"]
        assert watch.stats.failing == 1
        del server.errors[ACME]
        server.calls[ACME] = [call("B")]
        await passes(60)
        recovered, ended, started = await take_all(watch)
        assert short([ended, started]) == ["-A", "+B"]
        assert isinstance(recovered, OrganizationRecovered)
        assert 290 < recovered.gap < 370
        assert watch.stats.failing == 0


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"current_call":[]}', ["UnexpectedResponseError"]),
        (b'{"current_call":null}', ["UnexpectedResponseError"]),
        (b'{"current_call":"x"}', ["UnexpectedResponseError"]),
        (b'{"current_calls":null}', ["UnexpectedResponseError"]),
        (b'{"current_calls":[null]}', []),
        (b'{"current_calls":[{"transaction_id":["A"],"city":"Goleta"}]}', []),
        (b'{"current_calls":[{"transaction_id":null,"city":"Goleta"}]}', []),
        (b'{"current_calls":[{"call_status":"bridged"}]}', []),
        (b'{"current_call":{}}', []),
    ],
)
async def test_a_response_that_names_no_call_ends_none(server: ScriptedCalls, body: bytes, told: list[str]) -> None:
    """Garbage is a failure, and an entry with an unreadable id is neither an end nor a start."""
    server.calls[ACME] = [call("A", city="Goleta")]
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(6)
        assert short(await take_all(watch)) == ["+A"]
        server.bodies[ACME] = body
        await passes(30)
        assert short(await take_all(watch)) == told
        assert [each.transaction_id for each in watch.calls[ACME]] == ["A"]
        del server.bodies[ACME]
        await passes(60)
        assert [each for each in short(await take_all(watch)) if not each.startswith("recovered")] == []
        server.calls[ACME] = []
        await passes(6)
        assert short(await take_all(watch)) == ["-A"]


async def test_an_organization_that_fails_from_the_start(server: ScriptedCalls) -> None:
    """Before the first good response, the gap counts from the beginning of the watch."""
    server.errors[ACME] = 500
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(20)
        server.errors.clear()
        await passes(60)
        failed, recovered = await take_all(watch)
        assert short([failed]) == ["ServerError"]
        assert 20 < recovered.gap < 80


async def test_a_failure_that_waits_to_be_taken_holds_no_frames(server: ScriptedCalls) -> None:
    """The error of an event has no traceback, because frames hold responses and may hold the token."""
    server.errors[ACME] = 500
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(6)
        (failed,) = await take_all(watch)
        assert failed.error.__traceback__ is None


# Iteration.


async def test_cancelled_waiting_loses_no_event(server: ScriptedCalls) -> None:
    """A cancelled __anext__ changes nothing."""
    server.gates[ACME] = asyncio.Event()
    async with server.watch(ACME, interval=5.0) as watch:
        waiting = asyncio.create_task(anext(watch))
        await settle()
        waiting.cancel()
        await settle()
        server.calls[ACME] = [call("A"), call("B")]
        waiting = asyncio.create_task(anext(watch))
        server.gates[ACME].set()
        assert short([await waiting, await anext(watch)]) == ["+B", "+A"]


async def test_a_consumer_that_never_waits_lets_others_run(server: ScriptedCalls) -> None:
    """A loop over a thousand pending events gives other tasks their turn."""
    server.calls[ACME] = [call(f"C{number}") for number in range(1000)]
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(6)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        assert len(await take_all(watch)) == 1000
        counting.cancel()
        assert turns >= 9


async def test_polling_pauses_for_a_consumer_that_sleeps(server: ScriptedCalls) -> None:
    """While the queue is full nothing is polled and nothing lost; taking one event is enough to go on."""
    server.calls[ACME] = [call("A"), call("B"), call("C")]
    async with server.watch(ACME, interval=5.0, max_pending=3) as watch:
        await passes(50)
        assert server.requests[ACME] == 1
        assert watch.stats.paused
        server.calls[ACME] = [call("D")]
        await passes(50)
        assert short([await anext(watch)]) == ["+C"]
        await passes(6)
        assert server.requests[ACME] == 2
        assert short(await take_all(watch)) == ["+B", "+A", "-A", "-B", "-C", "+D"]
        assert not watch.stats.paused


async def test_leaving_ends_everything(server: ScriptedCalls) -> None:
    """Leaving the block cancels what is running and forgets pending events; iteration is over."""
    server.calls[GLOBEX] = [call("G")]
    server.gates[ACME] = asyncio.Event()
    before = asyncio.all_tasks()
    async with server.watch(ACME, GLOBEX, interval=5.0) as watch:
        await passes(6)
        waiting = [asyncio.create_task(anext(watch)) for _ in range(2)]
        await settle()
        watch.remove(GLOBEX)
    assert server.running == 0
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert short(results[:1]) == ["+G"]
    assert isinstance(results[1], StopAsyncIteration)
    assert [event async for event in watch] == []
    assert asyncio.all_tasks() == before
    await watch.close()


async def test_a_block_left_by_an_error_ends_too(server: ScriptedCalls) -> None:
    """An exception passes through the block, and no poll runs after it."""
    before = asyncio.all_tasks()
    with contextlib.suppress(ZeroDivisionError):
        async with server.watch(ACME, interval=5.0):
            await passes(6)
            raise ZeroDivisionError
    assert asyncio.all_tasks() == before
    requests = server.requests[ACME]
    await passes(60)
    assert server.requests[ACME] == requests


async def test_a_watch_is_entered_once(server: ScriptedCalls) -> None:
    """Iterating before entering, and entering twice, are rejected."""
    watch = server.watch(ACME)
    with pytest.raises(ClientStateError, match="Enter the watch"):
        await anext(watch)
    async with watch:
        with pytest.raises(ClientStateError, match="once"):
            await watch.__aenter__()
    await server.watch(ACME).close()


async def test_a_closed_client_ends_the_watch(server: ScriptedCalls) -> None:
    """Events that had happened are told first, then every __anext__ raises ClientClosedError."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(6)
        await server.client.close()
        assert short([await anext(watch)]) == ["+A"]
        for _ in range(2):
            with pytest.raises(ClientClosedError):
                await anext(watch)


async def test_a_client_that_cannot_be_used_ends_the_watch(server: ScriptedCalls) -> None:
    """A ClientStateError ends a watch only if the client itself cannot be used; else it is one organization's."""
    server.errors[ACME] = ClientStateError("the token callable's own client")
    server.calls[GLOBEX] = [call("G")]
    async with server.watch(ACME, GLOBEX, interval=5.0) as watch:
        await passes(30)
        assert sorted(short(await take_all(watch))) == ["+G", "ClientStateError"]
        server.client._closed = True  # without telling the watch
        with pytest.raises(ClientClosedError):
            await anext(watch)


async def test_a_fault_of_our_own_is_not_swallowed(server: ScriptedCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the watch itself ends the watch, and is raised to the consumer."""
    async with server.watch(ACME, interval=5.0) as watch:
        monkeypatch.setattr(watch._sink, "on_listing", None)
        with pytest.raises(TypeError):
            await anext(watch)


# Organizations.


async def test_adding_and_removing(server: ScriptedCalls) -> None:
    """Organizations come and go while the watch runs; nothing more is told of a removed organization."""
    server.calls = {ACME: [call("A")], GLOBEX: [call("G")], INITECH: [call("I")]}
    async with server.watch() as watch:
        await passes(20)
        watch.add(ACME, GLOBEX, ACME)
        await passes(6)
        watch.remove(GLOBEX, INITECH)
        assert short(await take_all(watch)) == ["+A"]
        watch.add(INITECH)
        await passes(6)
        assert short(await take_all(watch)) == ["+I"]
        assert set(watch.calls) == {ACME, INITECH}
        assert repr(watch) == "<Watch of 2 organizations, entered>"
        watch.add(GLOBEX)
        await passes(6)
        assert short(await take_all(watch)) == ["+G"]


@pytest.mark.parametrize("failing", [False, True])
async def test_removing_an_organization_during_its_poll(server: ScriptedCalls, failing: bool) -> None:
    """The response, or the failure, of a removed organization is dropped."""
    server.calls[ACME] = [call("A")]
    gate = server.gates[ACME] = asyncio.Event()
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(6)
        assert server.running == 1
        watch.remove(ACME)
        if failing:
            server.errors[ACME] = 500
        gate.set()
        await passes(60)
        assert server.requests[ACME] == 1
        assert await take_all(watch) == []


async def test_adding_an_organization_again_during_its_poll(server: ScriptedCalls) -> None:
    """The organization is not polled a second time before its first poll has ended."""
    server.calls[ACME] = [call("A")]
    gate = server.gates[ACME] = asyncio.Event()
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(6)
        watch.remove(ACME)
        watch.add(ACME)
        await passes(20)
        assert server.requests[ACME] == 1
        gate.set()
        await passes(6)
        assert server.requests[ACME] == 2
        assert short(await take_all(watch)) == ["+A"]


async def test_entering_a_watch_of_many_lets_others_run(server: ScriptedCalls) -> None:
    """Scheduling takes several steps of the loop, and whoever looks at the watch meanwhile sees all organizations."""
    organizations = [Organization.advertiser(number) for number in range(1, 201)]
    server.calls = {each: [call("A")] for each in organizations}
    watch = server.watch(*organizations, interval=5.0)
    entering = asyncio.create_task(watch.__aenter__())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (entering.done(), "200 organizations" in repr(watch)) == (False, True)
    watch.remove(organizations[3])
    assert (watch.stats.organizations, len(watch.calls)) == (199, 199)
    await entering
    await passes(6)
    assert {event.organization for event in await take_all(watch)} == {*organizations} - {organizations[3]}
    await watch.close()


@pytest.mark.parametrize("change", ["add", "remove"])
async def test_a_wrong_argument_changes_nothing(server: ScriptedCalls, change: str) -> None:
    """If one of several arguments is not an Organization, none is added or removed."""
    watch = server.watch(ACME)
    with pytest.raises(InvalidRequestError, match="organizations"):
        getattr(watch, change)(GLOBEX, ACME, "advertiser:25")
    assert set(watch.calls) == {ACME}


@pytest.mark.parametrize(
    "organizations",
    [ACME, "advertiser:25", b"x", 5, None, ["advertiser:25"], {"advertiser:25"}, {"advertiser:25": 1}, [ACME, None]],
)
async def test_wrong_organizations_are_rejected_at_once(server: ScriptedCalls, organizations: Any) -> None:
    """The argument is rejected by its name, when the watch is made."""
    with pytest.raises(InvalidRequestError) as caught:
        server.client.watch(organizations)
    assert caught.value.parameter == "organizations"


async def test_an_async_iterable_is_rejected_with_the_remedy(server: ScriptedCalls) -> None:
    """A watch needs all organizations at once, so an async iterable is rejected and the message says what to do."""

    async def source() -> Any:
        yield ACME

    with pytest.raises(InvalidRequestError, match="in a list first"):
        server.client.watch(source())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("interval", 0),
        ("interval", float("nan")),
        ("missed_polls_before_end", 0),
        ("max_in_flight", 0),
        ("max_pending", 0),
        ("max_pending", True),
    ],
)
async def test_settings_are_checked(server: ScriptedCalls, setting: str, value: Any) -> None:
    """A setting out of its range is rejected by its name."""
    with pytest.raises(InvalidRequestError) as caught:
        server.watch(ACME, **{setting: value})
    assert caught.value.parameter == setting


# State.


async def test_a_call_ends_after_missed_polls(server: ScriptedCalls) -> None:
    """missed_polls_before_end counts good responses; failures do not count."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0, missed_polls_before_end=2) as watch:
        await passes(6)
        server.calls[ACME] = []
        await passes(5)
        server.errors[ACME] = 500
        await passes(20)
        assert short(await take_all(watch)) == ["+A", "ServerError"]
        server.errors.clear()
        await passes(20)
        assert short(await take_all(watch))[1:] == ["-A"]


async def test_the_numbers(server: ScriptedCalls) -> None:
    """Requests, unchanged responses, failures, events and merges are counted."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0) as watch:
        assert watch.stats.effective_interval == 5.0
        assert server.watch().stats.max_staleness == 0.0
        await passes(5)
        assert watch.stats.requests == 2
        assert watch.stats.effective_intervals == {}  # the rhythm starts with the second response
        await passes(10)
        server.calls[ACME] = [call("A", city="Goleta")]
        await passes(5)
        server.errors[ACME] = 500
        await passes(5)
        stats = watch.stats
        assert (stats.organizations, stats.requests, stats.unchanged, stats.failures) == (1, 6, 3, 1)
        assert (stats.events, stats.merges, stats.pending) == (3, 1, 2)
        assert stats.effective_interval == pytest.approx(5.0, abs=0.02)
        assert dict(stats.effective_intervals) == {ACME: stats.effective_interval}
        assert stats.requests_saved == 0


async def test_the_numbers_are_values(server: ScriptedCalls) -> None:
    """attrs.asdict, copy.deepcopy, pickle and hash take the numbers as they are."""
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(20)
        stats = watch.stats
        assert attrs.asdict(stats)["effective_intervals"] == {ACME: 5.0}
        assert copy.deepcopy(stats) == pickle.loads(pickle.dumps(stats)) == stats
        assert len({stats, copy.deepcopy(stats)}) == 1
        assert "advertiser" in repr(stats.effective_intervals)


async def test_memory_of_a_watched_organization(server: ScriptedCalls) -> None:
    """The bytes of each call are kept once, and stay the same objects while nothing changes."""
    server.calls[ACME] = [call(letter, city="x" * 1000) for letter in "ABCDE"]
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(6)
        await take_all(watch)
        state = watch._states[ACME]
        assert state.calls.listing is not None
        listing, kept = state.calls.listing, list(state.calls.listing.entries)
        await passes(50)
        gc.collect()
        assert state.calls.listing is listing
        assert list(state.calls.calls.values()) == kept
