"""A watch on a clock that is turned by hand, against a server whose answers are set."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from typing import Any

import pytest
from watch.worlds import ACME, GLOBEX, INITECH, Clock, Server, call, settle, taken

from calls_in_progress_async import (
    Attempt,
    AuthenticationError,
    CallChanged,
    CallEnded,
    CallStarted,
    ClientClosedError,
    ClientStateError,
    DeadlineExceededError,
    InvalidRequestError,
    Organization,
    OrganizationFailed,
    OrganizationRecovered,
    RateLimitedError,
    ServerError,
    UnexpectedResponseError,
)

DOWN = ServerError("HTTP 500", status=500)


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
                shown.append(f"gap {gap:g}")
    return shown


async def test_the_life_of_a_call(server: Server, clock: Clock) -> None:
    """A call starts, changes and ends, and each is told once."""
    server.calls[ACME] = [call("A", city="Goleta")]
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        assert short(await taken(watch)) == ["+A"]
        await clock.turn(20)
        assert await taken(watch) == []
        server.calls[ACME] = [call("A", city="Ventura")]
        await clock.turn(5)
        assert [each.city for each in watch.calls[ACME]] == ["Ventura"]
        (event,) = await taken(watch)
        assert event.changes == {"city": ("Goleta", "Ventura")}
        server.calls[ACME] = []
        await clock.turn(5)
        assert short(await taken(watch)) == ["-A"]
        assert dict(watch.calls) == {ACME: ()}
        assert len(watch.calls) == 1


@pytest.mark.parametrize("error", [DOWN, UnexpectedResponseError("HTTP 200: not JSON"), KeyError("a token callable")])
async def test_a_call_never_ends_because_of_an_error(server: Server, clock: Clock, error: Exception) -> None:
    """An outage is told once, its end once, with the seconds between good answers; no call ends in it."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        await taken(watch)
        server.errors[ACME] = error
        await clock.turn(300)
        assert await taken(watch) == [OrganizationFailed(ACME, error)]
        assert [each.transaction_id for each in watch.calls[ACME]] == ["A"]
        assert watch.stats.failing == 1
        del server.errors[ACME]
        server.calls[ACME] = [call("B")]
        await clock.turn(60)
        recovered, ended, started = await taken(watch)
        assert short([ended, started]) == ["-A", "+B"]
        assert 290 < recovered.gap < 370
        assert watch.stats.failing == 0


async def test_an_organization_that_fails_from_the_start(server: Server, clock: Clock) -> None:
    """Before the first good answer, the gap counts from when the watch began."""
    server.errors[ACME] = DOWN
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(20)
        server.errors.clear()
        await clock.turn(60)
        failed, recovered = await taken(watch)
        assert short([failed]) == ["ServerError"]
        assert 20 < recovered.gap < 80


async def test_failures_back_off(server: Server, clock: Clock) -> None:
    """A failing organization is asked ever less, and no less often than its server asks; the others are as ever."""
    server.errors[ACME] = AuthenticationError("HTTP 401", status=401)
    server.errors[INITECH] = ServerError("HTTP 503", status=503, retry_after=45.0)
    async with server.watch(ACME, GLOBEX, INITECH, interval=5.0) as watch:
        await clock.turn(300)
        assert 8 <= server.requests[ACME] <= 14
        assert 6 <= server.requests[INITECH] <= 8
        assert 58 <= server.requests[GLOBEX] <= 61
        assert sorted(short(await taken(watch))) == ["AuthenticationError", "ServerError"]


async def test_a_rate_limit_is_not_the_failure_of_one(server: Server, clock: Clock) -> None:
    """Some refusals in a row are none: the organization is asked again at once, and told of after four."""
    refusals = 0

    async def refuse(organization: Any, last: Any) -> Any:
        nonlocal refusals
        refusals += 1
        await clock.sleep(1.0)  # the client's own attempts and pauses
        if refusals in (1, 2, 3, 5, 6, 7, 8):
            raise RateLimitedError("HTTP 429", status=429)
        return await server.ask(organization, last)

    watch = server.watch(ACME, interval=5.0)
    watch._polls._fetch = refuse
    async with watch:
        await clock.turn(6)
        assert refusals >= 4
        assert watch.stats.failing == 0
        assert await taken(watch) == []
        await clock.turn(30)
        assert short(await taken(watch))[0] == "RateLimitedError"


async def test_refusals_make_the_window_smaller(server: Server, clock: Clock) -> None:
    """While the server refuses, fewer are asked at once, down to one; when it no longer does, all places are used."""
    organizations = [Organization.advertiser(number) for number in range(1, 101)]
    limited = True

    async def ask(organization: Any, last: Any) -> Any:
        server.running += 1
        server.peak = max(server.peak, server.running)
        try:
            await clock.sleep(1.0)
        finally:
            server.running -= 1
        if limited and server.running:
            raise RateLimitedError("HTTP 429", status=429)
        return await server.ask(organization, last)

    watch = server.watch(*organizations, interval=5.0, max_in_flight=8)
    watch._polls._fetch = ask
    async with watch:
        await clock.turn(20)
        assert server.peak == 8
        server.peak = 0
        await clock.turn(50)
        assert server.peak <= 3
        limited = False
        await clock.turn(100)
        assert server.peak == 8


async def test_a_hanging_organization_delays_nobody(server: Server, clock: Clock) -> None:
    """One that never answers has one request in flight; the others are asked at their times."""
    server.gates[ACME] = asyncio.Event()
    async with server.watch(ACME, GLOBEX, interval=5.0, max_in_flight=2):
        await clock.turn(100)
        assert server.requests[ACME] == 1
        assert server.requests[GLOBEX] == 20
        server.gates[ACME].set()
        await clock.turn(20)
        assert server.requests[ACME] > 2


async def test_slow_organizations_delay_nobody(server: Server, clock: Clock) -> None:
    """Those whose answers take most of the interval share a quarter of the places; the others keep the interval."""
    organizations = [Organization.advertiser(number) for number in range(1, 51)]

    async def ask(organization: Any, last: Any) -> Any:
        await clock.sleep(4.0 if organization.id <= 20 else 0.1)
        return await server.ask(organization, last)

    watch = server.watch(*organizations, interval=5.0, max_in_flight=8)
    watch._polls._fetch = ask
    async with watch:
        await clock.turn(60)
        server.requests.clear()
        await clock.turn(100)
        assert min(server.requests[each] for each in organizations[20:]) >= 19
        assert min(server.requests[each] for each in organizations[:20]) >= 1


async def test_a_failure_that_waits_to_be_taken_holds_no_frames(server: Server, clock: Clock) -> None:
    """The error of an organization carries no traceback: its frames hold answers, and may hold the token."""
    server.errors[ACME] = ServerError("HTTP 500", status=500)
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        (failed,) = await taken(watch)
        assert failed.error.__traceback__ is None


async def test_never_more_than_max_in_flight(server: Server, clock: Clock) -> None:
    """However many organizations there are, so many are asked at once at most."""
    organizations = [Organization.advertiser(number) for number in range(1, 50)]
    server.gates = dict.fromkeys(organizations, asyncio.Event())
    async with server.watch(*organizations, interval=1.0, max_in_flight=7):
        await clock.turn(5)
        assert server.peak == 7
    assert server.running == 0


async def test_a_slow_server_stretches_the_interval(server: Server, clock: Clock) -> None:
    """Where answers take too long for the interval, each organization is asked less often, and the stats say so."""
    organizations = [Organization.advertiser(number) for number in range(1, 41)]

    async def slowly(organization: Any, last: Any, ask: Any = server.ask) -> Any:
        await clock.sleep(1.0)
        return await ask(organization, last)

    watch = server.watch(*organizations, interval=5.0, max_in_flight=4)
    watch._polls._fetch = slowly
    async with watch:
        await clock.turn(100)
        assert watch.stats.effective_interval == pytest.approx(10.0, rel=0.1)
        assert max(watch.stats.effective_intervals.values()) == pytest.approx(10.0, rel=0.2)
        assert set(watch.stats.effective_intervals) == set(organizations)
        assert 3 < watch.stats.staleness < 7
        assert watch.stats.max_staleness < 13
        assert watch.stats.requests_saved == pytest.approx(400, rel=0.15)
        assert max(server.requests.values()) - min(server.requests.values()) <= 1


async def test_cancelled_waiting_loses_no_event(server: Server, clock: Clock) -> None:
    """An __anext__ that is cancelled while it waits is as if it had not been."""
    async with server.watch(ACME, interval=5.0) as watch:
        waiting = asyncio.create_task(anext(watch))
        await settle()
        waiting.cancel()
        await settle()
        server.calls[ACME] = [call("A"), call("B")]
        waiting = asyncio.create_task(anext(watch))
        await clock.turn(6)
        assert short([await waiting, await anext(watch)]) == ["+B", "+A"]


async def test_a_consumer_that_never_waits_lets_others_run(server: Server, clock: Clock) -> None:
    """A loop over thousands of pending events gives the event loop its turn."""
    server.calls[ACME] = [call(f"C{number}") for number in range(1000)]
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        assert len(await taken(watch)) == 1000
        counting.cancel()
        assert turns >= 9


async def test_polling_pauses_for_a_consumer_who_sleeps(server: Server, clock: Clock) -> None:
    """When too much is pending nothing is asked, and nothing lost; when it is taken, polling goes on."""
    server.calls[ACME] = [call("A"), call("B"), call("C")]
    async with server.watch(ACME, interval=5.0, max_pending=3) as watch:
        await clock.turn(50)
        assert server.requests[ACME] == 1
        assert watch.stats.paused
        server.calls[ACME] = [call("D")]
        await clock.turn(50)
        assert short([await anext(watch)]) == ["+C"]
        await clock.turn(6)
        assert server.requests[ACME] == 2
        assert short(await taken(watch)) == ["+B", "+A", "-A", "-B", "-C", "+D"]
        assert not watch.stats.paused


async def test_adding_and_removing(server: Server, clock: Clock) -> None:
    """Organizations come and go while it runs; of one that went nothing more is told."""
    server.calls = {ACME: [call("A")], GLOBEX: [call("G")], INITECH: [call("I")]}
    async with server.watch() as watch:
        await clock.turn(20)
        watch.add(ACME, GLOBEX, ACME)
        await clock.turn(6)
        watch.remove(GLOBEX, INITECH)
        assert short(await taken(watch)) == ["+A"]
        watch.add(INITECH)
        await clock.turn(6)
        assert short(await taken(watch)) == ["+I"]
        assert set(watch.calls) == {ACME, INITECH}
        assert repr(watch) == "<Watch of 2 organizations, entered>"
        watch.add(GLOBEX)
        await clock.turn(6)
        assert short(await taken(watch)) == ["+G"]


@pytest.mark.parametrize("failing", [False, True])
async def test_removing_one_that_is_being_asked(server: Server, clock: Clock, failing: bool) -> None:
    """The answer, or the failure, of an organization that went meanwhile is dropped."""
    server.calls[ACME] = [call("A")]
    gate = server.gates[ACME] = asyncio.Event()
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        assert server.running == 1
        watch.remove(ACME)
        if failing:
            server.errors[ACME] = DOWN
        gate.set()
        await clock.turn(60)
        assert server.requests[ACME] == 1
        assert await taken(watch) == []


async def test_removing_and_adding_one_that_is_being_asked(server: Server, clock: Clock) -> None:
    """One that comes back while its last find still runs is not asked a second time before that has ended."""
    server.calls[ACME] = [call("A")]
    gate = server.gates[ACME] = asyncio.Event()
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        watch.remove(ACME)
        watch.add(ACME)
        await clock.turn(20)
        assert server.requests[ACME] == 1
        gate.set()
        await clock.turn(6)
        assert server.requests[ACME] == 2
        assert short(await taken(watch)) == ["+A"]


async def test_a_cancellation_from_within_is_a_failure(server: Server, clock: Clock) -> None:
    """What a token callable waits for may be cancelled: that is a failure of one organization, and polling goes on."""

    async def ask(organization: Any, last: Any) -> Any:
        if organization == ACME and server.requests[ACME] < 3:
            server.requests[ACME] += 1
            raise asyncio.CancelledError
        return await server.ask(organization, last)

    server.calls[GLOBEX] = [call("G")]
    watch = server.watch(ACME, GLOBEX, interval=5.0, max_in_flight=2)
    watch._polls._fetch = ask
    async with watch:
        await clock.turn(60)
        told = await taken(watch)
    assert sorted(type(event).__name__ for event in told) == [
        "CallStarted",
        "OrganizationFailed",
        "OrganizationRecovered",
    ]
    assert server.requests[GLOBEX] >= 11


async def test_closing_where_a_cancellation_is_swallowed(server: Server, clock: Clock) -> None:
    """A token callable that makes another error of a cancellation does not keep a watch from ending."""

    async def ask(organization: Any, last: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError("token") from None

    watch = server.watch(ACME, interval=5.0)
    watch._polls._fetch = ask
    async with watch:
        await clock.turn(6)
    assert all(worker.done() for worker in watch._polls._workers)


async def test_waiting_for_a_rate_limit_beyond_the_deadline_is_no_failure(server: Server, clock: Clock) -> None:
    """Where more wait for the client's limit than it lets by in a deadline, fewer are asked, and none failed."""
    organizations = [Organization.advertiser(number) for number in range(1, 101)]
    free_at = clock.now

    async def ask(organization: Any, last: Any) -> Any:
        nonlocal free_at
        began, free_at = clock.now, max(free_at, clock.now) + 0.05  # 20 a second, first come first served
        if free_at - began > 1.0:
            free_at -= 0.05
            await clock.sleep(1.0)
            raise DeadlineExceededError("1 s", attempts=(Attempt(rate_limit_wait=0.999, network=0.001),))
        await clock.sleep(free_at - began)
        return await server.ask(organization, last)

    watch = server.watch(*organizations, interval=1.0, max_in_flight=64)
    watch._polls._fetch = ask
    async with watch:
        await clock.turn(60)
        assert await taken(watch) == []
        assert watch.stats.max_staleness < 10
        assert min(server.requests.values()) >= 7


@pytest.mark.parametrize("attempts", [(), (Attempt(rate_limit_wait=0.1, network=0.9),)])
async def test_a_slow_server_is_a_failure(server: Server, clock: Clock, attempts: Any) -> None:
    """A deadline that the server used up is told."""
    server.errors[ACME] = DeadlineExceededError("1 s", attempts=attempts)
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        assert short(await taken(watch)) == ["DeadlineExceededError"]


async def test_leaving_ends_everything(server: Server, clock: Clock) -> None:
    """Leaving the block cancels what is running and forgets the rest; iteration is over."""
    server.calls[GLOBEX] = [call("G")]
    server.gates[ACME] = asyncio.Event()
    before = asyncio.all_tasks()
    async with server.watch(ACME, GLOBEX, interval=5.0) as watch:
        await clock.turn(6)
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


async def test_a_block_left_by_an_error_ends_too(server: Server, clock: Clock) -> None:
    """An exception passes through, and nothing goes on behind it."""
    before = asyncio.all_tasks()
    with contextlib.suppress(ZeroDivisionError):
        async with server.watch(ACME, interval=5.0):
            await clock.turn(6)
            raise ZeroDivisionError
    assert asyncio.all_tasks() == before
    await clock.turn(60)
    assert server.requests[ACME] == 1
    assert asyncio.all_tasks() == before


async def test_a_watch_is_entered_once(server: Server) -> None:
    """Iterating before, and entering twice, are refused."""
    watch = server.watch(ACME)
    with pytest.raises(ClientStateError, match="Enter the watch"):
        await anext(watch)
    async with watch:
        with pytest.raises(ClientStateError, match="once"):
            await watch.__aenter__()
    await server.watch(ACME).close()


async def test_a_closed_client_ends_the_watch(server: Server, clock: Clock) -> None:
    """What had happened is still told; then comes ClientClosedError, to those who wait as well."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        watch.client_closed()
        assert short([await anext(watch)]) == ["+A"]
        for _ in range(2):
            with pytest.raises(ClientClosedError):
                await anext(watch)
    async with server.watch(ACME, interval=5.0) as watch:
        waiting = asyncio.create_task(anext(watch))
        server.errors[ACME] = ClientClosedError("closed")
        await clock.turn(6)
        with pytest.raises(ClientClosedError):
            await waiting


async def test_a_fault_of_our_own_is_not_swallowed(
    server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in the watch itself ends it and is raised to the consumer."""
    async with server.watch(ACME, interval=5.0) as watch:
        monkeypatch.setattr(watch._watched[ACME], "picture", None)
        await clock.turn(6)
        with pytest.raises(AttributeError):
            await anext(watch)


async def test_a_call_ends_after_so_many_absences(server: Server, clock: Clock) -> None:
    """missed_polls_before_end counts good answers, and failures do not count."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0, missed_polls_before_end=2) as watch:
        await clock.turn(6)
        server.calls[ACME] = []
        await clock.turn(5)
        server.errors[ACME] = DOWN
        await clock.turn(20)
        assert short(await taken(watch)) == ["+A", "ServerError"]
        server.errors.clear()
        await clock.turn(20)
        assert short(await taken(watch))[1:] == ["-A"]


async def test_the_numbers(server: Server, clock: Clock) -> None:
    """Requests, unchanged answers, failures, events and merges are counted."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0) as watch:
        assert watch.stats.effective_interval == 5.0
        assert server.watch().stats.max_staleness == 0.0
        await clock.turn(5)
        assert watch.stats.requests == 1
        assert watch.stats.effective_intervals == {}  # one answer makes none
        await clock.turn(12)
        server.calls[ACME] = [call("A", city="Goleta")]
        await clock.turn(5)
        server.errors[ACME] = DOWN
        await clock.turn(5)
        stats = watch.stats
        assert (stats.organizations, stats.requests, stats.unchanged, stats.failures) == (1, 6, 3, 1)
        assert (stats.events, stats.merges, stats.pending) == (3, 1, 2)
        assert stats.effective_interval == pytest.approx(5.0, abs=0.02)


async def test_resuming(server: Server, clock: Clock) -> None:
    """After a restart the gap comes first, then what happened meanwhile; calls that were told of do not start again."""
    server.calls = {ACME: [call("A"), call("B"), call("C")], GLOBEX: []}
    async with server.watch(ACME, GLOBEX, interval=5.0) as watch:
        await clock.turn(6)
        await taken(watch)
        checkpoint = json.loads(json.dumps(watch.checkpoint()))
    await clock.turn(100)
    server.calls = {ACME: [call("N"), call("A"), call("B", city="Goleta")], INITECH: [call("I")]}
    async with server.watch(ACME, GLOBEX, INITECH, interval=5.0, resume_from=checkpoint) as watch:
        assert [each.raw for each in watch.calls[ACME]] == [{"transaction_id": each} for each in "CBA"[::-1]]
        again = watch.checkpoint()
        assert again["organizations"].keys() == {"advertiser:25", "network:7"}
        assert again["organizations"]["advertiser:25"]["calls"] == checkpoint["organizations"]["advertiser:25"]["calls"]
        await clock.turn(6)
        told = await taken(watch)
        ours = [event for event in told if event.organization == ACME]
        assert short(ours[1:]) == ["-C", "*B", "+N"]
        assert 100 < ours[0].gap < 110
        assert (ours[2].previous, ours[2].changes) == (None, {})
        assert short([event for event in told if event.organization == INITECH]) == ["+I"]
        assert len([event for event in told if event.organization == GLOBEX]) == 1


async def test_a_checkpoint_is_of_what_was_taken(server: Server, clock: Clock) -> None:
    """Events that nobody took before the restart come after it."""
    server.calls[ACME] = [call("A"), call("B"), call("C")]
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        assert short([await anext(watch), await anext(watch)]) == ["+C", "+B"]
        began = clock.now
        server.calls[ACME] = [call("B", city="Goleta")]
        await clock.turn(10)
        checkpoint = watch.checkpoint()
        assert watch.stats.pending == 4
    async with server.watch(ACME, interval=5.0, resume_from=checkpoint) as watch:
        await clock.turn(6)
        told = await taken(watch)
        assert short(told[1:]) == ["-C", "*B"]
        assert told[0].gap >= clock.now - began - 12


async def test_entering_a_watch_of_many_lets_others_run(server: Server, clock: Clock) -> None:
    """Thousands of organizations take long to place; what is asked of the watch meanwhile knows of them all."""
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
    await clock.turn(6)
    assert {event.organization for event in await taken(watch)} == {*organizations} - {organizations[3]}
    await watch.close()


async def test_of_organizations_that_are_refused_together_none_is_watched(server: Server) -> None:
    """An argument that is none is found before anything is done."""
    watch = server.watch(ACME)
    with pytest.raises(InvalidRequestError, match="organizations"):
        watch.add(GLOBEX, "advertiser:25")  # type: ignore[arg-type]
    assert set(watch.calls) == {ACME}


async def test_a_checkpoint_in_steps_is_of_one_moment(server: Server, clock: Clock) -> None:
    """It says what `checkpoint` would have said at its beginning, and lets others run meanwhile."""
    organizations = [Organization.advertiser(number) for number in range(1, 121)]
    server.calls = {each: [call("A"), call("B")] for each in organizations}
    remembered = {"version": 1, "organizations": {str(GLOBEX): {"seen": 5.0, "calls": {"G": "0"}}}}
    async with server.watch(*organizations, interval=5.0, resume_from=remembered) as watch:
        await clock.turn(6)
        await taken(watch)
        server.calls[organizations[-1]] = [call("A", city="Goleta")]
        await clock.turn(6)  # two events that nobody has taken
        before = watch.checkpoint()
        writing = asyncio.create_task(watch.acheckpoint())
        await asyncio.sleep(0)
        assert not writing.done()
        await taken(watch)
        watch.add(GLOBEX)
        server.calls.clear()
        watch.remove(organizations[0])
        assert await writing == before
        assert watch.checkpoint() != before
    assert len(before["organizations"]) == 121


async def test_an_outage_across_a_restart(server: Server, clock: Clock) -> None:
    """The gap reaches back to the last good answer before the restart, also where the first answers after it fail."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        await taken(watch)
        server.errors[ACME] = DOWN
        await clock.turn(50)
        await taken(watch)
        checkpoint = watch.checkpoint()
    async with server.watch(ACME, interval=5.0, resume_from=checkpoint) as watch:
        await clock.turn(50)
        server.errors.clear()
        await clock.turn(50)
        failed, recovered = await taken(watch)
        assert short([failed]) == ["ServerError"]
        assert 100 < recovered.gap < 160


async def test_a_checkpoint_with_an_untold_outage(server: Server, clock: Clock) -> None:
    """A recovery that nobody took before the restart is part of the gap after it."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        await taken(watch)
        server.errors[ACME] = DOWN
        await clock.turn(50)
        server.errors.clear()
        await clock.turn(60)
        checkpoint = watch.checkpoint()
        assert watch.stats.pending == 2
    async with server.watch(ACME, interval=5.0, resume_from=checkpoint) as watch:
        await clock.turn(6)
        (recovered,) = await taken(watch)
        assert recovered.gap > 105


async def test_a_checkpoint_holds_nothing_of_a_caller(server: Server, clock: Clock) -> None:
    """It is JSON, of a few dozen bytes a call, without phone numbers or payloads."""
    server.calls[ACME] = [
        call("A", calling_phone_number="+18005551234"),
        {"calling_phone_number": "+18005551234", "start_time": "2024-02-01T10:00:00-07:00"},
    ]
    async with server.watch(ACME) as watch:
        assert watch.checkpoint() == {"version": 1, "organizations": {}}
        await clock.turn(6)
        await taken(watch)
        text = json.dumps(watch.checkpoint())
        assert "555" not in text.replace('"seen": 17', "")
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
def test_a_bad_checkpoint_is_refused(server: Server, checkpoint: Any) -> None:
    """What is not a checkpoint, or one of another version, is refused before anything runs."""
    with pytest.raises(InvalidRequestError) as caught:
        server.watch(ACME, resume_from=checkpoint)
    assert caught.value.parameter == "resume_from"


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
def test_settings_are_checked(server: Server, setting: str, value: Any) -> None:
    """A setting out of its range is refused by its name."""
    with pytest.raises(InvalidRequestError) as caught:
        server.watch(ACME, **{setting: value})
    assert caught.value.parameter == setting


def test_what_is_no_organization_is_refused(server: Server) -> None:
    """Text in place of an Organization is refused at once, not at every poll."""
    with pytest.raises(InvalidRequestError, match="is not an Organization"):
        server.watch("advertiser:25")  # type: ignore[arg-type]


async def test_memory_of_a_watched_organization(server: Server, clock: Clock) -> None:
    """What is kept of an answer is its calls' bytes, once, and they stay the same objects while nothing changes."""
    server.calls[ACME] = [call(letter, city="x" * 1000) for letter in "ABCDE"]
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        await taken(watch)
        listing = watch._watched[ACME].picture.listing
        assert listing is not None
        kept = list(listing.entries)
        await clock.turn(50)
        gc.collect()
        assert watch._watched[ACME].picture.listing is listing
        assert list(watch._watched[ACME].picture.calls.values()) == kept


async def test_a_second_restart_before_the_first_answer(server: Server, clock: Clock) -> None:
    """An organization without calls stays in the checkpoint while it waits for its first answer, so its gap is told."""
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        checkpoint = watch.checkpoint()
    assert server.watch(ACME, resume_from=checkpoint).checkpoint() == checkpoint


async def test_what_is_added_later_is_resumed_too(server: Server, clock: Clock) -> None:
    """An organization of the checkpoint that is added to a watch goes on where it was: its calls do not start again."""
    server.calls[ACME] = [call("A")]
    async with server.watch(ACME, interval=5.0) as watch:
        await clock.turn(6)
        await taken(watch)
        checkpoint = watch.checkpoint()
    async with server.watch(GLOBEX, interval=5.0, resume_from=checkpoint) as watch:
        watch.add(ACME)
        await clock.turn(6)
        assert [type(event).__name__ for event in await taken(watch)] == ["OrganizationRecovered"]
        watch.remove(ACME)
        watch.add(ACME)
        await clock.turn(6)
        assert short(await taken(watch)) == ["+A"]


async def test_what_is_not_added_yet_stays_in_the_checkpoint(server: Server, clock: Clock) -> None:
    """Organizations of the checkpoint that are added later are in the next one too, unless they were removed."""
    server.calls = {ACME: [call("A")], GLOBEX: [call("G")]}
    async with server.watch(ACME, GLOBEX, INITECH, interval=5.0) as watch:
        await clock.turn(6)
        await taken(watch)
        checkpoint = watch.checkpoint()
    async with server.watch(INITECH, interval=5.0, resume_from=checkpoint) as watch:
        await clock.turn(6)
        later = watch.checkpoint()["organizations"]
        assert later.keys() == checkpoint["organizations"].keys()
        assert later["advertiser:25"] == checkpoint["organizations"]["advertiser:25"]
        watch.remove(GLOBEX)
        assert watch.checkpoint()["organizations"].keys() == {"advertiser:9", "advertiser:25"}
