"""Polls are prompt, spread, limited, and one organization's trouble is its own."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from watch.scripted_server import (
    ACME,
    GLOBEX,
    INITECH,
    ScriptedServer,
    call,
    check_usable,
    on_virtual_loop,
    settle,
    take_all,
    turn,
)

from calls_in_progress_async import (
    Attempt,
    AuthenticationError,
    DeadlineExceededError,
    Organization,
    OrganizationFailed,
    RateLimitedError,
    ServerError,
    SupersededError,
    clock,
)
from calls_in_progress_async.watch.organization_state import OrganizationState
from calls_in_progress_async.watch.poller import Poller
from calls_in_progress_async.watch.schedule import Schedule

DOWN = ServerError("HTTP 500", status=500)


def some(count: int) -> list[Organization]:
    return [Organization.advertiser(number) for number in range(1, count + 1)]


@on_virtual_loop
async def test_the_first_poll_is_prompt(server: ScriptedServer) -> None:
    """Each of many organizations is polled at once, as fast as max_in_flight allows, however long the interval is."""

    async def fetch(organization: Any, last: Any) -> Any:
        await asyncio.sleep(0.1)
        return await server.fetch(organization, last)

    began = clock.now()
    async with server.watch(*some(200), interval=60.0, max_in_flight=50, fetch=fetch):
        await turn(0.5)
        assert set(server.requests) == set(some(200))
        assert max(time for time, _ in server.times) - began == pytest.approx(0.4)


@on_virtual_loop
async def test_after_the_first_poll_the_rhythm_is_even(server: ScriptedServer) -> None:
    """From the second poll on polls are spread over the interval, and each organization keeps its interval."""
    async with server.watch(*some(300), interval=10.0):
        await turn(1)
        server.times.clear()
        await turn(30)
    per_second = [
        sum(second <= time - server.times[0][0] < second + 1 for time, _ in server.times) for second in range(30)
    ]
    assert all(15 <= count <= 50 for count in per_second)
    for organization in some(300):
        times = [time for time, one in server.times if one == organization]
        assert all(later - earlier == pytest.approx(10.0, abs=0.02) for earlier, later in pairwise(times))


@on_virtual_loop
async def test_failures_back_off(server: ScriptedServer) -> None:
    """A failing organization is polled ever less, and no sooner than its Retry-After; the others as ever."""
    server.errors[ACME] = AuthenticationError("HTTP 401", status=401)
    server.errors[INITECH] = ServerError("HTTP 503", status=503, retry_after=45.0)
    async with server.watch(ACME, GLOBEX, INITECH, interval=5.0, max_retry_after=45.0) as watch:
        await turn(300)
        assert 8 <= server.requests[ACME] <= 14
        assert 6 <= server.requests[INITECH] <= 8
        assert 60 <= server.requests[GLOBEX] <= 62
        assert sorted(type(each.error).__name__ for each in await take_all(watch)) == [
            "AuthenticationError",
            "ServerError",
        ]


@on_virtual_loop
async def test_a_long_retry_after_is_capped(server: ScriptedServer) -> None:
    """A server that asks for an hour is polled again after max_retry_after."""
    server.errors[ACME] = ServerError("HTTP 503", status=503, retry_after=3600.0)
    async with server.watch(ACME, interval=1.0, max_retry_after=30.0):
        await turn(100)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(server.times)]
    assert gaps == pytest.approx([30.0] * 3)


@on_virtual_loop
async def test_a_rate_limit_is_not_the_failure_of_one(server: ScriptedServer) -> None:
    """After the first three rate-limit errors in a row the organization is polled again at once; a fourth is told."""
    rejections = 0

    async def reject(organization: Any, last: Any) -> Any:
        nonlocal rejections
        rejections += 1
        await asyncio.sleep(1.0)  # the client's own attempts and pauses
        if rejections in (1, 2, 3, 5, 6, 7, 8):
            raise RateLimitedError("HTTP 429", status=429)
        return await server.fetch(organization, last)

    async with server.watch(ACME, interval=5.0, fetch=reject) as watch:
        await turn(4.5)
        assert rejections >= 4
        assert watch.stats.failing == 0
        assert await take_all(watch) == []
        await turn(30)
        first = (await take_all(watch))[0]
        assert isinstance(first, OrganizationFailed)
        assert isinstance(first.error, RateLimitedError)


@on_virtual_loop
async def test_rejections_lower_the_concurrency(server: ScriptedServer) -> None:
    """While the server rejects, fewer polls run at once; when it accepts again, `max_in_flight` polls run."""
    limited = True

    async def fetch(organization: Any, last: Any) -> Any:
        server.running += 1
        server.peak = max(server.peak, server.running)
        try:
            await asyncio.sleep(1.0)
        finally:
            server.running -= 1
        if limited and server.running:
            raise RateLimitedError("HTTP 429", status=429)
        return await server.fetch(organization, last)

    async with server.watch(*some(100), interval=5.0, max_in_flight=8, fetch=fetch):
        await turn(0.5)
        assert server.peak == 8
        await turn(20)
        server.peak = 0
        await turn(50)
        assert server.peak <= 3
        limited = False
        await turn(100)
        assert server.peak == 8


@on_virtual_loop
async def test_waiting_beyond_the_deadline_for_a_rate_limit_is_no_failure(server: ScriptedServer) -> None:
    """If more polls wait for the client's limit than a deadline allows, fewer are started, and none has failed."""
    free_at = clock.now()

    async def fetch(organization: Any, last: Any) -> Any:
        nonlocal free_at
        began, free_at = clock.now(), max(free_at, clock.now()) + 0.05  # 20 a second, first come first served
        if free_at - began > 1.0:
            free_at -= 0.05
            await asyncio.sleep(1.0)
            raise DeadlineExceededError("1 s", attempts=(Attempt(rate_limit_wait=0.999, network=0.001),))
        await asyncio.sleep(free_at - began)
        return await server.fetch(organization, last)

    async with server.watch(*some(100), interval=1.0, max_in_flight=64, fetch=fetch) as watch:
        await turn(60)
        assert await take_all(watch) == []
        assert watch.stats.max_staleness < 12
        assert min(server.requests.values()) >= 7


@pytest.mark.parametrize("attempts", [(), (Attempt(rate_limit_wait=0.1, network=0.9),)])
@on_virtual_loop
async def test_a_slow_server_is_a_failure(server: ScriptedServer, attempts: Any) -> None:
    """A deadline used up by the server is a failure."""
    server.errors[ACME] = DeadlineExceededError("1 s", attempts=attempts)
    async with server.watch(ACME, interval=5.0) as watch:
        await turn(1)
        assert await take_all(watch) == [OrganizationFailed(ACME, server.errors[ACME])]


@on_virtual_loop
async def test_a_hanging_organization_delays_nobody(server: ScriptedServer) -> None:
    """An organization without a response has one request in flight; the others are polled at their times."""
    server.gates[ACME] = asyncio.Event()
    async with server.watch(ACME, GLOBEX, interval=5.0, max_in_flight=2):
        await turn(100)
        assert server.requests[ACME] == 1
        assert server.requests[GLOBEX] == 21
        server.gates[ACME].set()
        await turn(20)
        assert server.requests[ACME] > 2


@on_virtual_loop
async def test_slow_organizations_delay_nobody(server: ScriptedServer) -> None:
    """Organizations that respond slowly share a quarter of the polls in flight; the others keep the interval."""
    organizations = some(50)

    async def fetch(organization: Any, last: Any) -> Any:
        await asyncio.sleep(4.0 if organization.id <= 20 else 0.1)
        return await server.fetch(organization, last)

    async with server.watch(*organizations, interval=5.0, max_in_flight=8, fetch=fetch):
        await turn(60)
        server.requests.clear()
        await turn(100)
        assert min(server.requests[each] for each in organizations[20:]) >= 19
        assert min(server.requests[each] for each in organizations[:20]) >= 1


@on_virtual_loop
async def test_never_more_than_max_in_flight(server: ScriptedServer) -> None:
    """However many organizations there are, no more than max_in_flight are polled at once."""
    organizations = some(50)
    server.gates = dict.fromkeys(organizations, asyncio.Event())
    async with server.watch(*organizations, interval=1.0, max_in_flight=7):
        await turn(5)
        assert server.peak == 7
    assert server.running == 0


@on_virtual_loop
async def test_a_slow_server_stretches_the_interval(server: ScriptedServer) -> None:
    """If responses take too long for the interval, all are polled equally less often, and the stats say so."""
    organizations = some(40)

    async def fetch(organization: Any, last: Any) -> Any:
        await asyncio.sleep(1.0)
        return await server.fetch(organization, last)

    async with server.watch(*organizations, interval=5.0, max_in_flight=4, fetch=fetch) as watch:
        await turn(100)
        assert watch.stats.effective_interval == pytest.approx(10.0, rel=0.1)
        assert max(watch.stats.effective_intervals.values()) == pytest.approx(10.0, rel=0.2)
        assert set(watch.stats.effective_intervals) == set(organizations)
        assert 3 < watch.stats.staleness < 7
        assert watch.stats.max_staleness < 13
        assert watch.stats.requests_saved == pytest.approx(400, rel=0.15)
        assert max(server.requests.values()) - min(server.requests.values()) <= 2


@on_virtual_loop
async def test_a_cancellation_from_within_is_a_failure(server: ScriptedServer) -> None:
    """If a token callable's own work is cancelled, one organization fails and polling goes on."""

    async def fetch(organization: Any, last: Any) -> Any:
        if organization == ACME and server.requests[ACME] < 3:
            server.requests[ACME] += 1
            raise asyncio.CancelledError
        return await server.fetch(organization, last)

    server.calls[GLOBEX] = [call("G")]
    async with server.watch(ACME, GLOBEX, interval=5.0, max_in_flight=2, fetch=fetch) as watch:
        await turn(60)
        events = await take_all(watch)
    assert sorted(type(event).__name__ for event in events) == [
        "CallStarted",
        "OrganizationFailed",
        "OrganizationRecovered",
    ]
    assert server.requests[GLOBEX] >= 11


@on_virtual_loop
async def test_closing_although_a_cancellation_is_swallowed(server: ScriptedServer) -> None:
    """A token callable may turn a cancellation into another error, and the watch still ends."""
    before = asyncio.all_tasks()

    async def fetch(organization: Any, last: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError("token") from None

    async with server.watch(ACME, interval=5.0, fetch=fetch):
        await turn(6)
    assert asyncio.all_tasks() == before


# The poller alone, with a sink of one's own.


class Log:
    """A sink that commits to a log, as slowly as a test wants."""

    def __init__(self) -> None:
        self.committed: list[tuple[str, int]] = []
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.paused = False
        self.ended: BaseException | None = None

    async def on_listing(self, state: OrganizationState, listing: Any, now: float) -> None:
        deltas = state.apply(listing, now)
        await self.gate.wait()
        self.committed.append((str(state.organization), len(deltas)))

    async def on_failure(self, state: OrganizationState, error: Exception, now: float) -> None:
        await self.gate.wait()
        self.failures.append(error)

    def on_end(self, error: BaseException) -> None:
        self.ended = error


def poller_of(server: ScriptedServer, log: Log, max_in_flight: int = 4) -> Poller:
    schedule: Schedule[OrganizationState] = Schedule(5.0, max_in_flight)
    return Poller(server.fetch, schedule, log, check_usable=check_usable, max_retry_after=30.0)


@on_virtual_loop
async def test_the_next_poll_waits_for_the_sink(server: ScriptedServer) -> None:
    """While a sink commits the deltas of an organization, that organization is not polled again."""
    log, server.calls[ACME] = Log(), [call("A")]
    log.gate.clear()
    poller = poller_of(server, log)
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await turn(60)
    assert server.requests[ACME] == 1
    log.gate.set()
    await turn(11)
    assert log.committed[:3] == [("advertiser:25", 1), ("advertiser:25", 0), ("advertiser:25", 0)]
    server.errors[ACME] = DOWN
    await turn(60)
    assert log.failures == [DOWN]
    await poller.close()


@on_virtual_loop
async def test_a_paused_sink_stops_polling_until_it_wakes_the_poller(server: ScriptedServer) -> None:
    """While a sink is paused no poll starts; `wake` makes the poller look again."""
    log = Log()
    log.paused = True
    poller = poller_of(server, log)
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await turn(60)
    assert server.requests[ACME] == 0
    log.paused = False
    poller.wake()
    await settle()
    assert server.requests[ACME] == 1
    await poller.close()


@pytest.mark.parametrize("failing", [False, True])
@on_virtual_loop
async def test_draining_hands_over_the_running_poll(server: ScriptedServer, failing: bool) -> None:
    """`drain` ends when the sink has taken the result of the running poll; the organization is polled no more."""
    log, server.calls[ACME] = Log(), [call("A")]
    gate = server.gates[ACME] = asyncio.Event()
    if failing:
        server.errors[ACME] = DOWN
    poller = poller_of(server, log)
    for organization in (ACME, GLOBEX):
        poller.add(OrganizationState(organization, clock.now()))
    poller.start()
    await turn(1)
    log.gate.clear()
    draining = asyncio.create_task(poller.drain([ACME, INITECH]))
    gate.set()
    await turn(60)
    assert not draining.done()
    log.gate.set()
    await draining
    assert (log.failures == [DOWN]) is failing
    assert (("advertiser:25", 1) in log.committed) is not failing
    await turn(60)
    assert server.requests[ACME] == 1
    assert server.requests[GLOBEX] > 10
    assert poller.remove(ACME) is None
    await poller.close()


@on_virtual_loop
async def test_closing_ends_a_drain(server: ScriptedServer) -> None:
    """A drain waiting for a hanging poll ends when the poller is closed."""
    server.gates[ACME] = asyncio.Event()
    poller = poller_of(server, Log())
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await turn(1)
    draining = asyncio.create_task(poller.drain([ACME]))
    await settle()
    await poller.close()
    await draining


@on_virtual_loop
async def test_a_sink_that_raises_ends_the_polling(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a sink is told to the sink, once, and no poll follows."""
    log = Log()
    monkeypatch.setattr(log, "on_listing", None)
    poller = poller_of(server, log)
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await turn(60)
    assert isinstance(log.ended, TypeError)
    assert server.requests[ACME] == 1
    poller.end(DOWN)
    assert isinstance(log.ended, TypeError)
    poller.start()
    await poller.close()


@on_virtual_loop
async def test_a_sink_may_end_the_polling(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`end`, called by a sink during a poll, ends all polling after that poll."""
    log = Log()
    poller = poller_of(server, log, max_in_flight=1)
    monkeypatch.setattr(log, "on_listing", lambda *_: poller.end(DOWN))
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await turn(60)
    assert log.ended is DOWN
    assert server.requests[ACME] == 1
    await poller.close()


@on_virtual_loop
async def test_a_poll_that_was_not_sent_is_no_failure(server: ScriptedServer) -> None:
    """The fetch of a removed organization may end without a request; a new state is polled as ever."""
    log, gate = Log(), asyncio.Event()
    server.gates[ACME], server.errors[ACME] = gate, SupersededError("not sent")
    poller = poller_of(server, log)
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await turn(1)
    draining = asyncio.create_task(poller.drain([ACME]))
    gate.set()
    await draining
    assert log.failures == []
    server.errors.clear()
    poller.add(OrganizationState(ACME, clock.now()))
    poller.wake()
    await turn(6)
    assert server.requests[ACME] >= 2
    assert log.committed
    await poller.close()


@on_virtual_loop
async def test_an_organization_is_polled_by_one_state(server: ScriptedServer) -> None:
    """Adding a second state of an organization is rejected; removing returns the first."""
    poller, state = poller_of(server, Log()), OrganizationState(ACME, clock.now())
    poller.add(state)
    with pytest.raises(ValueError, match="advertiser:25 is polled already"):
        poller.add(OrganizationState(ACME, clock.now()))
    assert poller.remove(ACME) is state
