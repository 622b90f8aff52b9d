"""A 429 of one organization, while others succeed, is distinguished from a 429 of the whole token."""

import asyncio
import random
from bisect import bisect

import pytest
from timing import advance, passes

from calls_in_progress_async.clock import now
from calls_in_progress_async.errors import RateLimitWaitError
from calls_in_progress_async.limits.limiter import RateLimiter
from calls_in_progress_async.limits.settings import RateLimit
from calls_in_progress_async.limits.throttle_attribution import ThrottleAttribution, Verdict

pytestmark = pytest.mark.usefixtures("on_virtual_clock")

KEY = ("host", "token")


class Traffic:
    """Responses by hand, one after the other, with the verdict of each 429."""

    def __init__(self, most_suspects=100):
        self.attribution = ThrottleAttribution(most_suspects)
        self.time = 0.0

    def respond(self, *organizations):
        for organization in organizations:
            self.time += 1
            self.attribution.on_answered(organization)

    def reject(self, organization, sent=0.5):
        """Reject a request sent so many seconds ago."""
        self.time += 1
        return self.attribution.on_throttled(organization, self.time - sent, self.time)


NINETEEN = range(1, 20)
SHARED, NEWLY_ALONE, ALONE = Verdict.SHARED, Verdict.NEWLY_ALONE, Verdict.ALONE


def test_an_organization_with_two_429s_among_nineteen_successes_is_limited_alone():
    """The first 429 is the token's, the second the organization's."""
    traffic = Traffic()
    traffic.respond(*NINETEEN)
    assert traffic.reject(0) is SHARED
    traffic.respond(*NINETEEN)
    assert [traffic.reject(0) for _ in range(3)] == [NEWLY_ALONE, ALONE, ALONE]


def test_the_429s_of_one_round_count_once():
    """Ten requests rejected at the same time are no more evidence than one."""
    traffic = Traffic()
    for _ in range(2):
        traffic.respond(*NINETEEN)
        verdicts = [traffic.reject(0, sent=1 + index) for index in range(10)]
        assert len(set(verdicts[1:])) == 1
    traffic, began = Traffic(), 0.5
    for _ in range(10):  # the requests are sent at the same time, and the responses of others come in between
        traffic.respond(*NINETEEN)
        assert traffic.reject(0, sent=traffic.time + 1 - began) is SHARED


def test_the_only_organization_is_never_limited_alone():
    """Nobody else succeeds, so a 429 can be about anything."""
    traffic = Traffic()
    for _ in range(200):
        traffic.respond(0, 0)
        assert traffic.reject(0) is SHARED


def test_an_organization_with_most_of_the_traffic_needs_more_evidence():
    """The rejected one of two equally busy organizations is told apart after six rounds, not after two."""
    traffic, verdicts = Traffic(), []
    for _ in range(10):
        traffic.respond(1)
        verdicts.append(traffic.reject(0))
    assert verdicts == [SHARED] * 5 + [NEWLY_ALONE] + [ALONE] * 4


def test_an_organization_with_successes_in_between_needs_more_evidence():
    """Rejected half of the time by a limit of its own, it is told apart in the third round, not in the second."""
    traffic, verdicts = Traffic(), []
    for _ in range(4):
        traffic.respond(*NINETEEN, 0)
        verdicts.append(traffic.reject(0))
    assert verdicts == [SHARED, SHARED, NEWLY_ALONE, ALONE]


@pytest.mark.parametrize("organizations", [2, 3, 5, 10, 20, 100])
@pytest.mark.parametrize("rejected", [0.01, 0.1, 0.5])
def test_a_limit_of_the_token_is_hardly_ever_taken_for_one_of_an_organization(organizations, rejected):
    """With 429s at random, at most one in 20 is taken for the organization's own."""
    chance, traffic, verdicts = random.Random(organizations), Traffic(), []
    while len(verdicts) < 2000:
        organization = chance.randrange(organizations)
        if chance.random() < rejected:
            verdicts.append(traffic.reject(organization))
        else:
            traffic.respond(organization)
    assert sum(verdict is not SHARED for verdict in verdicts) <= 0.05 * len(verdicts)


def test_several_organizations_may_be_limited_alone():
    """Two of twenty, rejected from the start, are both told apart, and a third one later."""
    traffic, verdicts = Traffic(), {0: [], 1: [], 2: []}
    for turn in range(16):
        rejected = (0, 1, 2) if turn >= 8 else (0, 1)
        for organization in rejected:
            traffic.respond(*(each for each in range(20) if each not in rejected))
            verdicts[organization].append(traffic.reject(organization))
    assert all(each[-3:] == [ALONE] * 3 for each in verdicts.values())
    assert verdicts[2][:1] == [SHARED]


def test_the_429s_of_an_organization_limited_alone_say_nothing_of_others():
    """They do not weaken the suspicion of another organization."""
    traffic = Traffic()
    for _ in range(3):
        traffic.respond(*range(2, 20))
        traffic.reject(0)
    traffic.respond(*range(2, 20))
    assert traffic.reject(1) is SHARED
    for _ in range(10):
        traffic.respond(*range(2, 20))
        assert traffic.reject(0) is ALONE
    traffic.respond(*range(2, 20))
    assert traffic.reject(1) is NEWLY_ALONE


def test_the_429s_of_others_withdraw_the_verdict():
    """An organization told apart is believed no more after a few 429s of several others."""
    traffic = Traffic()
    for _ in range(5):
        traffic.respond(*NINETEEN)
        traffic.reject(0)
    began = traffic.time - 0.5
    assert [traffic.reject(other) for other in range(1, 9)] == [SHARED] * 8
    assert traffic.reject(0, sent=traffic.time + 1 - began) is SHARED
    traffic.respond(0)
    assert traffic.reject(0) is SHARED


def test_a_success_clears_an_organization():
    """After some two hundred responses without a 429 the next one is the token's."""
    traffic = Traffic()
    for _ in range(5):
        traffic.respond(*NINETEEN)
        traffic.reject(0)
    for _ in range(400):
        traffic.respond(0, 1)
    assert traffic.reject(0) is SHARED


def test_a_single_suspicion_is_forgotten():
    """An organization with many successes after a 429 starts from nothing at the next."""
    traffic = Traffic()
    for _ in range(10):
        for _ in range(110):
            traffic.respond(*range(10))
        assert traffic.reject(0) is SHARED
        traffic.respond(*range(10))


def test_memory_is_bounded():
    """The books hold as many suspects as told, and the responses of a thousand requests."""
    traffic = Traffic(most_suspects=3)
    traffic.respond(*range(5000))
    for organization in range(50):
        traffic.respond(*NINETEEN)
        traffic.reject(organization)
    assert len(traffic.attribution._suspects) <= 3
    traffic.respond(*range(5000))
    assert len(traffic.attribution._responses) <= 1000


class Server:
    """Responds after 20 ms; some organizations always get 429, and a limit may hold for the whole token.

    The kit's doubles serve a client. This server asks a limiter directly, so that only its decisions count.
    """

    def __init__(self, limiter, *, rejected=(), allowed=None, retry_after=5.0):
        self.limiter, self.rejected, self.allowed, self.retry_after = limiter, rejected, allowed, retry_after
        self.tokens, self.at = 1.0, now()
        self.log = []  # (time sent, organization, throttled)

    def throttles(self, organization):
        if organization in self.rejected:
            return True
        if self.allowed is None:
            return False
        self.tokens = min(1.0, self.tokens + (now() - self.at) * self.allowed)
        self.at = now()
        throttled = self.tokens < 1 - 1e-9
        self.tokens -= not throttled
        return throttled

    async def ask(self, organization):
        if not self.limiter.try_acquire(KEY, organization):
            await self.limiter.acquire(KEY, organization)
        sent, throttled = now(), self.throttles(organization)
        self.log.append((sent, organization, throttled))
        await asyncio.sleep(0.02)
        self.limiter.on_response(
            KEY, organization, throttled=throttled, retry_after=self.retry_after if throttled else None, sent_at=sent
        )

    async def run(self, organizations, seconds, *, at_once=2):
        """Ask for every organization, again and again."""

        async def keep_asking(organization):
            while True:
                await self.ask(organization)

        tasks = [asyncio.create_task(keep_asking(each)) for each in organizations for _ in range(at_once)]
        await passes(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def responses(self, begin, end, organization=None):
        """Return responses per second other than 429s."""
        times = [at for at, each, throttled in self.log if not throttled and organization in (None, each)]
        return sum(begin <= at < end for at in times) / (end - begin)


@pytest.mark.parametrize("own", [{}, {"per_organization_rate": 10.0}])
@pytest.mark.parametrize("position", [0, 7, 19])
async def test_one_rejected_organization_of_twenty_does_not_starve_the_others(position, own):
    """The other 19 keep 47.5 of 50 requests per second, after one or two pauses of all; it is asked on."""
    limiter = RateLimiter(RateLimit(rate=50, **own))
    server = Server(limiter, rejected={position})
    began = now()
    await server.run(range(20), 60)
    assert server.responses(began + 15, began + 60) >= 47
    assert server.responses(began, began + 60) >= 0.8 * 47
    asked = [at for at, organization, _ in server.log if organization == position and at > began + 15]
    assert 45 / 5 - 1 <= len(asked) <= 2 * 45 / 5 + 1


@pytest.mark.parametrize("rejected", [2, 3, 5, 10])
async def test_several_rejected_organizations_of_twenty_do_not_starve_the_others(rejected):
    """The others share the rate as if the rejected ones were not there, after a few pauses of all."""
    limiter = RateLimiter(RateLimit(rate=50))
    server = Server(limiter, rejected=set(range(rejected)))
    began = now()
    await server.run(range(20), 90)
    assert server.responses(began + 45, began + 90) >= 0.9 * 50


async def test_an_organization_paused_alone_is_paused_nowhere_else():
    """Its queued requests wait for its Retry-After too, and the snapshot shows no pause of the token."""
    limiter = RateLimiter(RateLimit(rate=50))
    server = Server(limiter, rejected={0})
    began = now()
    await server.run(range(20), 30, at_once=10)
    (bucket,) = limiter.snapshot().shared.values()
    assert bucket.paused_for == 0
    assert limiter.is_paused(KEY, 0)
    assert not limiter.is_paused(KEY, 1)
    assert not limiter.try_acquire(KEY, 0)
    rounds = sorted(
        {round((at - began) * 2) for at, organization, _ in server.log if organization == 0 and at > began + 15}
    )
    assert len(rounds) <= 2 * 15 / 5 + 2


@pytest.mark.parametrize("organizations", [1, 2, 20])
@pytest.mark.parametrize("limit", [RateLimit(rate=50), None, RateLimit.adaptive(initial=50)])
async def test_a_limit_of_the_token_still_pauses_all_at_once(organizations, limit):
    """A server that allows 20 per second to the token gets nothing for its Retry-After, after nearly every 429."""
    limiter = RateLimiter(limit)
    server = Server(limiter, allowed=20.0, retry_after=1.0)
    await server.run(range(organizations), 60)
    pauses = [at + 0.02 for at, _, throttled in server.log if throttled]
    sent_in_pauses = sum(bisect(pauses, at - 1e-6) > bisect(pauses, at - 1.0 + 1e-6) for at, _, _ in server.log)
    assert len(pauses) > 1
    assert sent_in_pauses <= 0.05 * len(server.log)


async def test_an_adaptive_rate_is_not_cut_by_one_organizations_429s():
    """The rate climbs as if the organization were not there, and the first cut is taken back."""
    limiter = RateLimiter(RateLimit.adaptive(initial=50, ceiling=100))
    server = Server(limiter, rejected={3})
    began = now()
    await server.run(range(20), 60, at_once=6)
    (learnt,) = limiter.export_state()["limits"].values()
    assert learnt["rate"] == 100
    assert server.responses(began + 40, began + 60) >= 0.9 * 100


async def test_the_limit_of_the_token_is_still_found_beside_a_rejected_organization():
    """The server allows 40 per second to all: they get nearly as many, with few 429s."""
    limiter = RateLimiter(RateLimit.adaptive(initial=20, ceiling=100))
    server = Server(limiter, rejected={3}, allowed=40.0, retry_after=1.0)
    began = now()
    await server.run(range(20), 200, at_once=6)
    assert server.responses(began + 60, began + 200) >= 0.85 * 40
    others = [throttled for at, organization, throttled in server.log if organization != 3 and at > began + 60]
    assert sum(others) < 0.02 * len(others)


async def test_an_organization_with_a_separate_limit_does_not_hold_the_others_back():
    """Rejected for half of its requests, not for all, it is told apart as well."""
    limiter = RateLimiter(RateLimit(rate=100))
    server = Server(limiter, retry_after=2.0)
    allowance = {"tokens": 3.0, "at": now()}

    def throttles(organization):
        if organization != 0:
            return False
        allowance["tokens"] = min(3.0, allowance["tokens"] + (now() - allowance["at"]) * 2)
        allowance["at"] = now()
        throttled = allowance["tokens"] < 1
        allowance["tokens"] -= not throttled
        return throttled

    server.throttles = throttles
    began = now()
    await server.run(range(20), 60)
    others = server.responses(began + 20, began + 60) - server.responses(began + 20, began + 60, 0)
    assert others >= 0.95 * 95
    assert server.responses(began + 20, began + 60, 0) > 0.5


async def test_a_request_queued_before_the_attribution_waits_for_the_pause():
    """It gives the shared grant back, so that the others lose nothing, and is granted after the pause."""
    limiter = RateLimiter(RateLimit(rate=10, burst=1))

    def reject():
        for other in NINETEEN:
            limiter.on_response(KEY, other, throttled=False, retry_after=None, sent_at=now())
        advance(0.001)
        limiter.on_response(KEY, 0, throttled=True, retry_after=2.0, sent_at=now())

    reject()
    await passes(2.5)
    assert limiter.try_acquire(KEY, 1)
    queued = asyncio.create_task(limiter.acquire(KEY, 0))
    other = asyncio.create_task(limiter.acquire(KEY, 1))
    await passes(0.01)
    reject()
    assert await other == pytest.approx(0.1, abs=0.005)
    assert await queued == pytest.approx(2.01, abs=0.005)
    (bucket,) = limiter.snapshot().shared.values()
    assert bucket.granted == 3


async def test_max_wait_covers_the_wait_before_and_after_the_attribution():
    """A request waits 0.3 s in the shared queue; a pause of its organization beyond the other 0.2 s rejects it."""
    limiter = RateLimiter(RateLimit(rate=10, burst=1, max_wait=0.5))
    for retry_after in (2.0, 0.7):
        for other in NINETEEN:
            limiter.on_response(KEY, other, throttled=False, retry_after=None, sent_at=now())
        await passes(2.5)
        assert limiter.try_acquire(KEY, 1)
        others = [asyncio.create_task(limiter.acquire(KEY, other)) for other in (1, 2)]
        queued = asyncio.create_task(limiter.acquire(KEY, 0))
        await passes(0.01)
        limiter.on_response(KEY, 0, throttled=True, retry_after=retry_after, sent_at=now())
        if limiter.is_paused(KEY, 1):
            await asyncio.gather(queued, *others, return_exceptions=True)
    began = now()
    with pytest.raises(RateLimitWaitError):
        await queued
    assert now() - began == pytest.approx(0.29, abs=0.005)
    assert await asyncio.gather(*others) == pytest.approx([0.1, 0.2], abs=0.005)


async def test_the_cut_before_the_attribution_is_taken_back():
    """The first 429 cuts the rate, the second shows its cause, and the rate is as before."""
    limiter = RateLimiter(RateLimit.adaptive(initial=50))
    rates = []
    for _ in range(2):
        for other in NINETEEN:
            limiter.on_response(KEY, other, throttled=False, retry_after=None, sent_at=now())
        advance(2.5)
        limiter.on_response(KEY, 0, throttled=True, retry_after=2.0, sent_at=now())
        (bucket,) = limiter.snapshot().shared.values()
        rates.append(bucket.rate)
    assert rates == [45, 50]


async def test_a_pause_of_one_organization_wakes_its_requests_in_groups():
    """Ten thousand waiting requests do not stop the loop in one step when the pause ends."""
    limiter = RateLimiter()
    for _ in range(2):
        for other in NINETEEN:
            limiter.on_response(KEY, other, throttled=False, retry_after=None, sent_at=now())
        await passes(2.5)
        limiter.on_response(KEY, 0, throttled=True, retry_after=2.0, sent_at=now())
    granted = []
    tasks = [asyncio.create_task(limiter.acquire(KEY, 0)) for _ in range(10_000)]
    for task in tasks:
        task.add_done_callback(lambda _: granted.append(now()))
    await passes(1.999)
    assert granted == []
    await passes(1)
    assert len(granted) == 10_000
    assert max(granted.count(at) for at in set(granted)) <= 64
