"""The adaptive rate against simulated servers: it settles just under what is allowed, and follows when that moves."""

import heapq

import pytest

from calls_in_progress_async.limits.adaptive import Adaptation, AdaptiveRate


def simulate(allowed, *, seconds, burst=1.0, latency=0.1, retry_after=1.0, demand=1e9, settings=None):
    """Send at the adaptive rate to a server with a token bucket; return (time, whether it was no 429, rate)."""
    adaptive = AdaptiveRate(settings or Adaptation())
    now = next_send = paused = refilled = 0.0
    tokens = burst
    answers = []
    log = []
    while now < seconds:
        start = max(next_send, paused)
        if answers and answers[0][0] <= start:
            now, sent, good = heapq.heappop(answers)
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
        heapq.heappush(answers, (now + latency, now, good))
        next_send = now + 1 / min(demand, adaptive.rate)
    return log


def steady(log, start, end):
    """Return answers a second that were no 429, and the share of 429s."""
    good = [good for now, good, _ in log if start <= now < end]
    return sum(good) / (end - start), 1 - sum(good) / len(good)


@pytest.mark.parametrize("latency", [0.02, 0.2])
@pytest.mark.parametrize("seconds_of_burst", [0, 1, 4])
@pytest.mark.parametrize("allowed", [3.7, 37, 370])
def test_it_settles_at_nine_tenths_of_what_is_allowed_with_less_than_a_percent_of_429s(
    allowed, seconds_of_burst, latency
):
    """Whatever the rate, the server's burst and the time of a round trip."""
    burst = max(1.0, seconds_of_burst * allowed)
    seconds = 250 if allowed == 370 else 500
    log = simulate(lambda _: allowed, seconds=seconds, burst=burst, latency=latency)
    delivered, throttled = steady(log, 100, seconds)
    assert delivered >= 0.9 * allowed
    assert throttled < 0.01


@pytest.mark.parametrize("burst", [1, 12, 120])
@pytest.mark.parametrize("raised_at", [100, 107, 114])
def test_it_finds_a_raised_limit_within_a_minute_and_a_cut_one_within_seconds(burst, raised_at):
    """37/s, then 120/s, then 12/s in mid-run."""
    cut_at = raised_at + 100

    def allowed(now):
        return 37 if now < raised_at else 120 if now < cut_at else 12

    log = simulate(allowed, seconds=cut_at + 100, burst=burst)
    assert next(now for now, _, rate in log if now > raised_at and rate >= 0.9 * 120) < raised_at + 60
    assert next(now for now, _, rate in log if now > cut_at and rate <= 12) < cut_at + 8
    for start, end, limit in [(50, raised_at, 37), (raised_at + 60, cut_at, 120), (cut_at + 20, cut_at + 100, 12)]:
        assert steady(log, start, end)[0] >= 0.85 * limit


def test_ten_429s_of_one_round_cut_once():
    """Where botocore's adaptive mode falls from 100/s to 2.8/s, this falls to 90/s."""
    adaptive = AdaptiveRate(Adaptation(initial=100))
    for index in range(10):
        adaptive.on_throttled(10 + index / 1000, 9.9 + index / 1000, 1.0)
    assert adaptive.rate == pytest.approx(90)


def test_it_never_leaves_its_bounds():
    """A server that allows everything is asked for the ceiling, one that allows nothing for the floor."""
    settings = Adaptation(initial=10, floor=5, ceiling=20)
    assert max(rate for _, _, rate in simulate(lambda _: 1e9, seconds=120, burst=1e9, settings=settings)) == 20
    assert min(rate for _, _, rate in simulate(lambda _: 0, seconds=60, burst=1, settings=settings)) == 5


def test_it_rises_only_while_the_rate_is_what_holds_the_client_back():
    """A client that sends 5/s learns nothing of 10/s, for an hour of it."""
    log = simulate(lambda _: 1e9, seconds=3600, burst=1e9, demand=5)
    assert {rate for _, _, rate in log} == {10}


def test_the_first_climb_is_quick_and_ends_with_the_first_429():
    """From 10/s it doubles every five seconds, and overshoots a limit of 370/s by less than a fifth."""
    log = simulate(lambda _: 370, seconds=60, burst=10)
    assert next(now for now, _, rate in log if rate > 0.9 * 370) < 30
    assert max(rate for _, _, rate in log) < 1.2 * 370


def test_a_start_with_what_an_earlier_run_found_is_a_start_near_the_limit():
    """It climbs from the given rate to the given limit, and no further until nothing happens."""
    adaptive = AdaptiveRate(Adaptation(), rate=30, limit=37)
    assert adaptive.rate == 30
    for step in range(1, 36 * 18):
        adaptive.on_success(step / 36, step / 36 - 0.1)
    assert 36 < adaptive.rate <= 37
    assert AdaptiveRate(Adaptation(), rate=30, limit=20).limit == 30
