"""The adaptive rate against simulated servers: it settles just under the limit, and follows when the limit moves."""

import asyncio
import heapq
import itertools
import random

import pytest
from timing import passes

from calls_in_progress_async import clock
from calls_in_progress_async.limits.adaptive import Adaptation, AdaptiveRate
from calls_in_progress_async.limits.limiter import RateLimiter
from calls_in_progress_async.limits.settings import RateLimit
from calls_in_progress_async.testing import run


def simulate(allowed, *, seconds, burst=1.0, latency=0.1, retry_after=1.0, demand=1e9, settings=None):
    """Send at the adaptive rate to a server with a token bucket; return (time, True unless a 429, rate)."""
    adaptive = AdaptiveRate(settings or Adaptation())
    now = next_send = paused = refilled = 0.0
    tokens = burst
    responses = []
    log = []
    while now < seconds:
        start = max(next_send, paused)
        if responses and responses[0][0] <= start:
            now, sent, good = heapq.heappop(responses)
            if good:
                adaptive.on_success(now, sent)
            else:
                paused = max(paused, now + retry_after)
                adaptive.on_throttled(now, sent, retry_after)
            log.append((now, good, adaptive.rate))
            continue
        now = start
        tokens = min(burst, tokens + (now - refilled) * allowed(now))
        refilled = now
        good = tokens >= 1 - 1e-9
        tokens -= good
        heapq.heappush(responses, (now + latency, now, good))
        next_send = now + 1 / min(demand, adaptive.rate)
    return log


def steady(log, start, end):
    """Return successes per second, and the share of 429s."""
    good = [good for now, good, _ in log if start <= now < end]
    return sum(good) / (end - start), 1 - sum(good) / len(good)


def found(log, since, reached):
    """Return the seconds from a moment until the rate satisfies ``reached``."""
    return next(now for now, _, rate in log if now > since and reached(rate)) - since


@pytest.mark.parametrize("latency", [0.02, 0.2])
@pytest.mark.parametrize("seconds_of_burst", [0, 1, 4])
@pytest.mark.parametrize("allowed", [3.7, 5, 12, 37, 120, 370])
def test_the_rate_settles_at_nine_tenths_of_the_limit_with_few_429s(allowed, seconds_of_burst, latency):
    """Settle at any rate, with any burst of the server and any time of a round trip."""
    burst = max(1.0, seconds_of_burst * allowed)
    seconds = 250 if allowed > 100 else 500
    log = simulate(lambda _: allowed, seconds=seconds, burst=burst, latency=latency)
    delivered, throttled = steady(log, 100, seconds)
    assert delivered >= 0.9 * allowed
    assert throttled < 0.01


MOVES = [
    (37, 120),
    (37, 370),
    (12, 37),
    (12, 120),
    (5, 12),
    (5, 37),
    (5, 120),
    (120, 37),
    (120, 12),
    (37, 12),
    (37, 5),
    (12, 5),
]


@pytest.mark.parametrize("seconds_of_burst", [0, 1, 4])
@pytest.mark.parametrize(("before", "after"), MOVES)
def test_a_raised_limit_is_found_within_a_minute_and_a_cut_one_within_seconds(before, after, seconds_of_burst):
    """The limit may move at any point of the climb; the new limit is kept as well as the old one."""
    seconds = 200 if after > 12 else 460  # a slow limit needs many for a share of 429s
    for moved_at in range(80, 110, 6):
        log = simulate(
            lambda now, moved_at=moved_at: before if now < moved_at else after,
            seconds=moved_at + seconds,
            burst=max(1, after * seconds_of_burst),
        )
        if before < after:
            assert found(log, moved_at, lambda rate: rate >= 0.9 * after) < 60
        else:
            assert found(log, moved_at, lambda rate: rate <= 1.1 * after) < 8
        delivered, throttled = steady(log, moved_at + 60, moved_at + seconds)
        assert delivered >= 0.89 * after
        assert throttled < 0.01


@pytest.mark.parametrize("seconds", [5, 40])
@pytest.mark.parametrize("allowed", [5, 37, 120])
def test_a_rejection_of_everything_for_a_while_is_not_taken_for_a_low_limit(allowed, seconds):
    """One cut for all of it: the rate is back within seconds of the first response, not a floor to climb from."""
    log = simulate(lambda now: 0 if 60 <= now < 60 + seconds else allowed, seconds=100 + seconds)
    before = next(rate for now, _, rate in log if now >= 59)
    assert min(rate for now, _, rate in log if 60 <= now < 60 + seconds) > 0.6 * before
    assert found(log, 60 + seconds, lambda rate: rate >= 0.75 * allowed) < 10


def test_ten_429s_of_one_round_cut_once():
    """The rate falls from 100/s to 90/s; botocore's adaptive mode falls to 2.8/s."""
    adaptive = AdaptiveRate(Adaptation(initial=100))
    for index in range(10):
        adaptive.on_throttled(10 + index / 1000, 9.9 + index / 1000, 1.0)
    assert adaptive.rate == pytest.approx(90)


def test_a_429_to_a_request_sent_at_the_time_of_the_cut_is_of_the_same_round():
    """A clock may show the same time twice, so a request sent at the time of the cut is of the round before it."""
    adaptive = AdaptiveRate(Adaptation(initial=100))
    adaptive.on_throttled(10, 9.9, 1.0)
    adaptive.on_success(10.2, 10.1)
    adaptive.on_throttled(10.2, 10, 1.0)
    assert adaptive.rate == pytest.approx(90)


def test_responses_before_a_cut_do_not_count_for_the_climb_after_it():
    """The climb begins with a window of its own, even without a pause in between."""
    adaptive = AdaptiveRate(Adaptation(initial=5))
    for step in range(8):
        adaptive.on_success(step / 5, step / 5 - 0.1)
    adaptive.on_throttled(1.5, 1.45, 0.0)
    adaptive.on_success(1.7, 1.6)
    assert adaptive.rate == 4.5


def test_responses_in_clumps_are_counted_over_a_window():
    """Ten at once, ten times a second, are a hundred a second: the rate is in use, and rises."""
    adaptive = AdaptiveRate(Adaptation(initial=100))
    for clump in range(50):
        for _ in range(10):
            adaptive.on_success(clump / 10, clump / 10 - 0.1)
    assert 130 < adaptive.rate < 140  # three quarters of the rate are in use


def test_a_slow_rate_doubles_at_most_from_one_window_to_the_next():
    """At 0.5/s a window of responses takes 16 s, and the climb would go on unseen meanwhile."""
    adaptive = AdaptiveRate(Adaptation(initial=0.5))
    rates = [0.5]
    for time in range(0, 60, 2):
        adaptive.on_success(time, time - 0.1)
        rates.append(adaptive.rate)
    assert rates[-1] > 0.5
    assert all(after <= 2 * before for before, after in itertools.pairwise(rates))


def test_bounds_may_be_equal():
    """A fixed rate is a rate."""
    assert AdaptiveRate(Adaptation(initial=5, floor=5, ceiling=5)).rate == 5


def test_the_rate_never_leaves_its_bounds():
    """Stop at the ceiling if the server allows everything, and at the floor if it allows next to nothing."""
    settings = Adaptation(initial=10, floor=5, ceiling=20)
    assert max(rate for _, _, rate in simulate(lambda _: 1e9, seconds=120, burst=1e9, settings=settings)) == 20
    assert min(rate for _, _, rate in simulate(lambda _: 0.9, seconds=60, burst=1, settings=settings)) == 5


def test_the_rate_rises_only_while_it_is_the_bottleneck():
    """Sending 5/s for an hour says nothing about 10/s."""
    log = simulate(lambda _: 1e9, seconds=3600, burst=1e9, demand=5)
    assert {rate for _, _, rate in log} == {10}


def test_the_first_climb_is_quick_and_ends_with_the_first_429():
    """From 10/s it doubles every three seconds, and overshoots a limit of 370/s by less than a fifth."""
    log = simulate(lambda _: 370, seconds=60, burst=10)
    assert next(now for now, _, rate in log if rate > 0.9 * 370) < 20
    assert max(rate for _, _, rate in log) < 1.2 * 370


def test_a_start_with_the_state_of_an_earlier_run_is_a_start_near_the_limit():
    """It climbs from the given rate to the given limit, and no further until nothing happens."""
    adaptive = AdaptiveRate(Adaptation(), rate=30, limit=37)
    assert adaptive.rate == 30
    for step in range(1, 36 * 18):
        adaptive.on_success(step / 36, step / 36 - 0.1)
    assert 36 < adaptive.rate <= 37
    assert AdaptiveRate(Adaptation(), rate=30, limit=20).limit == 30


def test_a_share_is_a_share_of_the_pace_too():
    """With a quarter of the traffic the rate of all processes climbs as fast as with the whole of it."""
    rates = []
    for share in (1.0, 0.25):
        adaptive, time = AdaptiveRate(Adaptation(initial=40), share=share), 0.0
        while time < 6:
            time += 1 / (adaptive.rate * share)
            adaptive.on_success(time, time - 0.1)
        rates.append(adaptive.rate)
    assert rates[1] == pytest.approx(rates[0], rel=0.1)
    assert rates[0] > 120


def test_a_window_counts_eight_responses_of_this_process():
    """With a share of 2 of 40 requests per second a window takes 4 s, not 0.2 s."""
    adaptive = AdaptiveRate(Adaptation(initial=40), share=0.05)
    rates = []
    for step in range(9):
        adaptive.on_success(step / 2, step / 2 - 0.1)
        rates.append(adaptive.rate)
    assert rates[:-1] == [40] * 8
    assert rates[-1] > 40


def test_a_cut_can_be_taken_back_once():
    """The rate and its limit are as before the cut; a second time changes nothing."""
    adaptive = AdaptiveRate(Adaptation(initial=100))
    adaptive.undo_cut()
    assert adaptive.rate == 100
    adaptive.on_throttled(10, 9.9, 1.0)
    adaptive.undo_cut()
    assert (adaptive.rate, adaptive.limit) == (100, None)
    adaptive.on_success(12, 11.9)
    adaptive.on_throttled(13, 12.9, 1.0)
    adaptive.on_success(15, 14.9)
    adaptive.on_throttled(16, 15.9, 1.0)
    cut = adaptive.rate
    adaptive.undo_cut()
    adaptive.undo_cut()
    assert cut < adaptive.rate == pytest.approx(90)
    assert adaptive.limit == pytest.approx(98)


def test_a_rate_grown_beyond_a_cut_is_kept_if_the_cut_is_taken_back():
    """The search has found more in the meantime, and does not fall back."""
    adaptive = AdaptiveRate(Adaptation(initial=10))
    adaptive.on_throttled(0, -0.1, 1.0)
    time = 1.0
    while adaptive.rate < 20:
        time += 1 / adaptive.rate
        adaptive.on_success(time, time - 0.1)
    found = adaptive.rate
    adaptive.undo_cut()
    assert adaptive.rate == found


@pytest.mark.parametrize(("allowed", "after"), [(37, 80), (60, 12)])
def test_the_limiter_finds_a_limit_and_follows_it(allowed, after):
    """Thirty tasks with one limiter settle just under the limit of the token, before and after the limit moves."""

    async def act():
        limiter = RateLimiter(RateLimit.adaptive())
        log, chance = [], random.Random(3)
        server = {"tokens": 1.0, "at": clock.now(), "allowed": allowed}

        async def keep_asking(organization):
            key = ("host", "token")
            while True:
                await limiter.acquire(key, organization)
                sent = clock.now()
                server["tokens"] = min(
                    server["allowed"] / 4, server["tokens"] + (sent - server["at"]) * server["allowed"]
                )
                server["at"] = sent
                good = server["tokens"] >= 1 - 1e-6
                server["tokens"] -= good
                await asyncio.sleep(chance.uniform(0.05, 0.15))
                retry_after = None if good else 1.0
                limiter.on_response(key, organization, throttled=not good, retry_after=retry_after, sent_at=sent)
                log.append((clock.now() - began, good, 0.0))

        began = clock.now()
        tasks = [asyncio.create_task(keep_asking(organization)) for organization in range(30)]
        await passes(150)
        server["allowed"] = after
        await passes(250)
        for task in tasks:
            task.cancel()
        return log

    log = run(act())
    for begin, end, limit in (60, 150, allowed), (240, 400, after):
        delivered, throttled = steady(log, begin, end)
        assert delivered >= 0.89 * limit
        assert throttled < 0.015
