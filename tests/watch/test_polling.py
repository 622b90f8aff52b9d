"""Polls are prompt, spread, limited, and one organization's trouble is its own."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest
from timing import passes, settle
from watch.scripted_calls import ACME, GLOBEX, INITECH, ScriptedCalls, call, check_usable, take_all

from calls_in_progress_async import (
    DeadlineExceededError,
    Organization,
    OrganizationFailed,
    RateLimit,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    SupersededError,
    clock,
)
from calls_in_progress_async.testing import ScriptedTransport, hang, status
from calls_in_progress_async.watch.organization_state import OrganizationState
from calls_in_progress_async.watch.poller import Poller
from calls_in_progress_async.watch.schedule import Schedule

pytestmark = pytest.mark.usefixtures("on_virtual_clock")

LIMITED = RateLimitedError("HTTP 429", status=429)


def some(count: int) -> list[Organization]:
    return [Organization.advertiser(number) for number in range(1, count + 1)]


async def test_the_first_poll_is_prompt(server: ScriptedCalls) -> None:
    """Each of many organizations is polled at once, as fast as max_in_flight allows, however long the interval is."""
    server.seconds = dict.fromkeys(some(200), 0.1)
    began = clock.now()
    async with server.watch(*some(200), interval=60.0, max_in_flight=50):
        await passes(0.5)
        assert set(server.requests) == set(some(200))
        assert max(server.times) - began == pytest.approx(0.3)


async def test_after_the_first_poll_the_rhythm_is_even(server: ScriptedCalls) -> None:
    """From the second poll on polls are spread over the interval, and each organization keeps its interval."""
    async with server.watch(*some(300), interval=10.0):
        await passes(1)
        server.transport.requests.clear()
        await passes(30)
    began = server.times[0]
    per_second = Counter(int(time - began) for time in server.times)
    assert all(15 <= per_second[second] <= 50 for second in range(30))
    polls = defaultdict(list)
    for each in server.transport.requests:
        polls[each.organization].append(each.time)
    assert len(polls) == 300
    for times in polls.values():
        assert all(later - earlier == pytest.approx(10.0, abs=0.02) for earlier, later in pairwise(times))


async def test_failures_back_off() -> None:
    """A failing organization is polled ever less, and no sooner than its Retry-After; the others as ever."""
    server = ScriptedCalls(retry=RetryPolicy(max_attempts=1, max_retry_after=45.0))
    # A status 503 would pause the whole token.
    server.errors.update({ACME: 401, INITECH: ServerError("HTTP 503", status=503, retry_after=45.0)})
    async with server.watch(ACME, GLOBEX, INITECH, interval=5.0) as watch:
        await passes(300)
        assert 8 <= server.requests[ACME] <= 14
        assert 6 <= server.requests[INITECH] <= 8
        assert 60 <= server.requests[GLOBEX] <= 62
        assert sorted(type(each.error).__name__ for each in await take_all(watch)) == [
            "AuthenticationError",
            "ServerError",
        ]


async def test_a_long_retry_after_is_capped(server: ScriptedCalls) -> None:
    """A server that asks for an hour is polled again after max_retry_after."""
    server.errors[ACME] = status(503, retry_after=3600)
    async with server.watch(ACME, interval=1.0):
        await passes(100)
    gaps = [later - earlier for earlier, later in pairwise(server.times)]
    assert gaps == pytest.approx([30.0] * 3)


async def test_a_rate_limit_is_not_the_failure_of_one(server: ScriptedCalls) -> None:
    """After the first three rate-limit errors in a row the organization is polled again at once; a fourth is told."""
    server.seconds[ACME] = 1.0  # the client's own attempts and pauses
    server.failure = lambda _: LIMITED if server.requests[ACME] in (1, 2, 3, 5, 6, 7, 8) else None
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(4.5)
        assert server.requests[ACME] >= 4
        assert watch.stats.failing == 0
        assert await take_all(watch) == []
        await passes(30)
        first = (await take_all(watch))[0]
        assert isinstance(first, OrganizationFailed)
        assert isinstance(first.error, RateLimitedError)


async def test_rejections_lower_the_concurrency(server: ScriptedCalls) -> None:
    """While the server rejects, fewer polls run at once; when it accepts again, `max_in_flight` polls run."""
    limited = True
    server.seconds = dict.fromkeys(some(100), 1.0)
    server.failure = lambda _: LIMITED if limited and server.running else None
    async with server.watch(*some(100), interval=5.0, max_in_flight=8):
        await passes(0.5)
        assert server.peak == 8
        await passes(20)
        server.peak = 0
        await passes(50)
        assert server.peak <= 3
        limited = False
        await passes(100)
        assert server.peak == 8


async def test_waiting_beyond_the_deadline_for_a_rate_limit_is_no_failure() -> None:
    """If more polls wait for the client's limit than a deadline allows, fewer are started, and none has failed."""
    server = ScriptedCalls(rate_limit=RateLimit(rate=20, burst=1), timeout=1.0)
    async with server.watch(*some(100), interval=1.0, max_in_flight=64) as watch:
        await passes(60)
        assert await take_all(watch) == []
        assert watch.stats.max_staleness < 12
        assert min(server.requests.values()) >= 7


async def hang_for_a_token(_: Organization) -> str:
    await asyncio.Event().wait()
    return "never"


@pytest.mark.parametrize("token", ["t", hang_for_a_token])
async def test_a_slow_server_is_a_failure(token: Any) -> None:
    """A deadline used up by the server, or by a token callable, is a failure."""
    server = ScriptedCalls(timeout=1.0, token=token)
    server.errors[ACME] = hang()
    async with server.watch(ACME, interval=5.0) as watch:
        await passes(2)
        (failed,) = await take_all(watch)
        assert (failed.organization, type(failed.error)) == (ACME, DeadlineExceededError)


async def test_a_hanging_organization_delays_nobody(server: ScriptedCalls) -> None:
    """An organization without a response has one request in flight; the others are polled at their times."""
    server.gates[ACME] = asyncio.Event()
    async with server.watch(ACME, GLOBEX, interval=5.0, max_in_flight=2):
        await passes(100)
        assert server.requests[ACME] == 1
        assert server.requests[GLOBEX] == 21
        server.gates[ACME].set()
        await passes(20)
        assert server.requests[ACME] > 2


async def test_slow_organizations_delay_nobody(server: ScriptedCalls) -> None:
    """Organizations that respond slowly share a quarter of the polls in flight; the others keep the interval."""
    organizations = some(50)
    server.seconds = {each: 4.0 if each.id <= 20 else 0.1 for each in organizations}
    async with server.watch(*organizations, interval=5.0, max_in_flight=8):
        await passes(60)
        server.transport.requests.clear()
        await passes(100)
        assert min(server.requests[each] for each in organizations[20:]) >= 19
        assert min(server.requests[each] for each in organizations[:20]) >= 1


async def test_never_more_than_max_in_flight(server: ScriptedCalls) -> None:
    """However many organizations there are, no more than max_in_flight are polled at once."""
    organizations = some(50)
    server.gates = dict.fromkeys(organizations, asyncio.Event())
    async with server.watch(*organizations, interval=1.0, max_in_flight=7):
        await passes(5)
        assert server.peak == 7
    assert server.running == 0


async def test_a_slow_server_stretches_the_interval(server: ScriptedCalls) -> None:
    """If responses take too long for the interval, all are polled equally less often, and the stats say so."""
    organizations = some(40)
    server.seconds = dict.fromkeys(organizations, 1.0)
    async with server.watch(*organizations, interval=5.0, max_in_flight=4) as watch:
        await passes(100)
        assert watch.stats.effective_interval == pytest.approx(10.0, rel=0.1)
        assert max(watch.stats.effective_intervals.values()) == pytest.approx(10.0, rel=0.2)
        assert set(watch.stats.effective_intervals) == set(organizations)
        assert 3 < watch.stats.staleness < 7
        assert watch.stats.max_staleness < 13
        assert watch.stats.requests_saved == pytest.approx(400, rel=0.15)
        assert max(server.requests.values()) - min(server.requests.values()) <= 2


async def test_a_cancellation_from_within_is_a_failure() -> None:
    """If a token callable's own work is cancelled, one organization fails and polling goes on."""
    asked = Counter[Organization]()

    async def token(organization: Organization) -> str:
        asked[organization] += 1
        if organization == ACME and asked[ACME] <= 3:
            raise asyncio.CancelledError
        return "t"

    server = ScriptedCalls(token=token)
    server.calls[GLOBEX] = [call("G")]
    async with server.watch(ACME, GLOBEX, interval=5.0, max_in_flight=2) as watch:
        await passes(60)
        events = await take_all(watch)
    assert sorted(type(event).__name__ for event in events) == [
        "CallStarted",
        "OrganizationFailed",
        "OrganizationRecovered",
    ]
    assert server.requests[GLOBEX] >= 11


async def swallow_cancellation(_: object) -> Any:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise KeyError("token") from None


@pytest.mark.parametrize(
    "settings", [{"token": swallow_cancellation}, {"transport": ScriptedTransport(swallow_cancellation)}]
)
async def test_closing_although_a_cancellation_is_swallowed(settings: dict[str, Any]) -> None:
    """A token callable or a transport may turn a cancellation into another error, and the watch still ends."""
    before = asyncio.all_tasks()
    async with ScriptedCalls(**settings).watch(ACME, interval=5.0):
        await passes(6)
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


def poller_of(server: ScriptedCalls, log: Log, max_in_flight: int = 4) -> Poller:
    schedule: Schedule[OrganizationState] = Schedule(5.0, max_in_flight)
    return Poller(server.fetch, schedule, log, check_usable=check_usable, max_retry_after=30.0)


async def test_the_next_poll_waits_for_the_sink(server: ScriptedCalls) -> None:
    """While a sink commits the deltas of an organization, that organization is not polled again."""
    log, server.calls[ACME] = Log(), [call("A")]
    log.gate.clear()
    poller = poller_of(server, log)
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await passes(60)
    assert server.requests[ACME] == 1
    log.gate.set()
    await passes(11)
    assert log.committed[:3] == [("advertiser:25", 1), ("advertiser:25", 0), ("advertiser:25", 0)]
    server.errors[ACME] = 500
    await passes(60)
    assert list(map(type, log.failures)) == [ServerError]
    await poller.close()


async def test_a_paused_sink_stops_polling_until_it_wakes_the_poller(server: ScriptedCalls) -> None:
    """While a sink is paused no poll starts; `wake` makes the poller look again."""
    log = Log()
    log.paused = True
    poller = poller_of(server, log)
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await passes(60)
    assert server.requests[ACME] == 0
    log.paused = False
    poller.wake()
    await settle()
    assert server.requests[ACME] == 1
    await poller.close()


@pytest.mark.parametrize("failing", [False, True])
async def test_draining_hands_over_the_running_poll(server: ScriptedCalls, failing: bool) -> None:
    """`drain` ends when the sink has taken the result of the running poll; the organization is polled no more."""
    log, server.calls[ACME] = Log(), [call("A")]
    gate = server.gates[ACME] = asyncio.Event()
    if failing:
        server.errors[ACME] = 500
    poller = poller_of(server, log)
    for organization in (ACME, GLOBEX):
        poller.add(OrganizationState(organization, clock.now()))
    poller.start()
    await passes(1)
    log.gate.clear()
    draining = asyncio.create_task(poller.drain([ACME, INITECH]))
    gate.set()
    await passes(60)
    assert not draining.done()
    log.gate.set()
    await draining
    assert len(log.failures) == failing
    assert (("advertiser:25", 1) in log.committed) is not failing
    await passes(60)
    assert server.requests[ACME] == 1
    assert server.requests[GLOBEX] > 10
    assert poller.remove(ACME) is None
    await poller.close()


async def test_closing_ends_a_drain(server: ScriptedCalls) -> None:
    """A drain waiting for a hanging poll ends when the poller is closed."""
    server.gates[ACME] = asyncio.Event()
    poller = poller_of(server, Log())
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await passes(1)
    draining = asyncio.create_task(poller.drain([ACME]))
    await settle()
    await poller.close()
    await draining


async def test_a_sink_that_raises_ends_the_polling(server: ScriptedCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a sink is told to the sink, once, and no poll follows."""
    log = Log()
    monkeypatch.setattr(log, "on_listing", None)
    poller = poller_of(server, log)
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await passes(60)
    assert isinstance(log.ended, TypeError)
    assert server.requests[ACME] == 1
    poller.end(LIMITED)
    assert isinstance(log.ended, TypeError)
    poller.start()
    await poller.close()


async def test_a_sink_may_end_the_polling(server: ScriptedCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    """`end`, called by a sink during a poll, ends all polling after that poll."""
    log = Log()
    poller = poller_of(server, log, max_in_flight=1)
    monkeypatch.setattr(log, "on_listing", lambda *_: poller.end(LIMITED))
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await passes(60)
    assert log.ended is LIMITED
    assert server.requests[ACME] == 1
    await poller.close()


async def test_a_poll_that_was_not_sent_is_no_failure(server: ScriptedCalls) -> None:
    """The fetch of a removed organization may end without a request; a new state is polled as ever."""
    log, gate = Log(), asyncio.Event()
    server.gates[ACME], server.errors[ACME] = gate, SupersededError("not sent")
    poller = poller_of(server, log)
    poller.add(OrganizationState(ACME, clock.now()))
    poller.start()
    await passes(1)
    draining = asyncio.create_task(poller.drain([ACME]))
    gate.set()
    await draining
    assert log.failures == []
    server.errors.clear()
    poller.add(OrganizationState(ACME, clock.now()))
    poller.wake()
    await passes(6)
    assert server.requests[ACME] >= 2
    assert log.committed
    await poller.close()


async def test_an_organization_is_polled_by_one_state(server: ScriptedCalls) -> None:
    """Adding a second state of an organization is rejected; removing returns the first."""
    poller, state = poller_of(server, Log()), OrganizationState(ACME, clock.now())
    poller.add(state)
    with pytest.raises(ValueError, match="advertiser:25 is polled already"):
        poller.add(OrganizationState(ACME, clock.now()))
    assert poller.remove(ACME) is state
