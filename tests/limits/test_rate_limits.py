"""The hierarchy of buckets: organizations share fairly, a 429 stops everybody, and nothing tells the token."""

import asyncio
import copy
import json
import math
import pickle

import pytest

from calls_in_progress_async.errors import ClientClosedError, InvalidRequestError, RateLimitWaitError
from calls_in_progress_async.limits.adaptive import Adaptation
from calls_in_progress_async.limits.limiter import DEFAULT_PAUSE, RateLimiter
from calls_in_progress_async.limits.settings import RateLimit

SCOPE = ("example.invoca.net", "secret-token")


def make(wheel, settings):
    return RateLimiter(settings, clock=wheel.clock, call_at=wheel.call_at)


def answer(limiter, wheel, *, throttled, retry_after=None, sent_at=None):
    sent = wheel.now if sent_at is None else sent_at
    limiter.on_response(SCOPE, "a", throttled=throttled, retry_after=retry_after, sent_at=sent)


def take_all(limiter, key="a"):
    taken = 0
    while limiter.try_acquire(SCOPE, key):
        taken += 1
    return taken


async def in_order(limiter, keys, order):
    async def one(key):
        await limiter.acquire(SCOPE, key)
        order.append(key)

    tasks = [asyncio.create_task(one(key)) for key in keys]
    await asyncio.sleep(0)
    return tasks


BAD_NUMBERS = [0, -1, math.nan, math.inf, True, "5"]
BAD = [
    *[("rate", bad) for bad in [*BAD_NUMBERS, None]],
    *[("burst", bad) for bad in [*BAD_NUMBERS, 0.5]],
    *[("per_organization_rate", bad) for bad in BAD_NUMBERS],
    *[("per_organization_burst", bad) for bad in [*BAD_NUMBERS, 0.5, 3]],
    *[("max_wait", bad) for bad in [-1, math.nan, math.inf, False, "5"]],
    *[("max_pause", bad) for bad in [*BAD_NUMBERS, None]],
    *[("max_buckets", bad) for bad in [*BAD_NUMBERS, 1.5]],
    *[("catch_up", bad) for bad in [-1, math.nan, math.inf, True, "5", None]],
    *[
        ("state", bad)
        for bad in [[], "x", {}, {"version": 2, "scopes": {}}, {"version": 1}, {"version": 1, "scopes": 3}]
    ],
    *[("state", {"version": 1, "scopes": {"x": bad}}) for bad in [3, {}, {"rate": 1}, {"rate": math.nan, "limit": 1}]],
    ("state", {"version": 1, "scopes": {"x": {"rate": 1, "limit": -1}}}),
    ("adaptation", {"initial": 5}),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_setting_is_refused_by_name(name, value):
    """Every field is checked when the settings are made."""
    with pytest.raises(InvalidRequestError) as caught:
        RateLimit(**{"rate": 5.0, name: value})
    assert caught.value.parameter == name
    assert name in str(caught.value)


BAD_ADAPTIVE = [
    ("initial", 0.1), ("initial", 2000), ("initial", True), ("floor", 0), ("floor", 20), ("ceiling", math.inf),
    ("ceiling", "9"), ("increase", 0), ("increase", math.nan), ("decrease", 1), ("decrease", 0), ("burst", 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_ADAPTIVE)
def test_a_bad_adaptive_setting_is_refused_by_name(name, value):
    """The adaptive settings are checked as the others are."""
    with pytest.raises(InvalidRequestError) as caught:
        RateLimit.adaptive(**{name: value})
    assert caught.value.parameter == ("initial" if name == "floor" and value == 20 else name)


def test_the_settings_of_an_adaptive_limit_are_those_it_documents():
    """With and without arguments; what it does not name goes to the settings as it is."""
    plain = RateLimit.adaptive()
    assert plain.adaptation == Adaptation(initial=10, floor=0.5, ceiling=1000, increase=0.2, decrease=0.9)
    assert plain.adaptation == Adaptation()
    assert (plain.rate, plain.burst, plain.catch_up) == (10, 1, 0.002)
    given = RateLimit.adaptive(
        initial=5, floor=2, ceiling=7, increase=0.3, decrease=0.8, burst=3, catch_up=0, max_wait=1
    )
    assert given.adaptation == Adaptation(initial=5, floor=2, ceiling=7, increase=0.3, decrease=0.8)
    assert (given.rate, given.burst, given.catch_up, given.max_wait) == (5, 3, 0, 1)


@pytest.mark.parametrize(("rate", "burst"), [(0.5, 1), (5, 1), (200, 20)])
def test_the_default_burst_is_a_tenth_of_a_second_and_at_least_one(wheel, rate, burst):
    """It holds for the organizations as for all of them."""
    assert RateLimit(rate=rate).burst == burst
    assert take_all(make(wheel, RateLimit(rate=1000, per_organization_rate=rate))) == burst


def test_without_settings_nothing_is_limited(wheel):
    """A hundred thousand in no time."""
    limiter = make(wheel, None)
    assert all(limiter.try_acquire(SCOPE, key) for key in range(100_000))


@pytest.mark.parametrize("settings", [None, RateLimit(rate=10, burst=10), RateLimit.adaptive()])
@pytest.mark.parametrize(
    ("retry_after", "pause"), [(None, DEFAULT_PAUSE), (5.0, 5.0), (0.0, 0.0), (86_400.0, 60.0), (math.inf, 60.0)]
)
async def test_a_429_pauses_its_host_and_token_and_no_other(wheel, settings, retry_after, pause):
    """With or without a limit, for as long as the server says and at most ``max_pause``."""
    limiter = make(wheel, settings)
    assert limiter.try_acquire(SCOPE, "a")
    answer(limiter, wheel, throttled=True, retry_after=retry_after)
    if pause:
        wheel.turn(pause - 0.001)
        assert not limiter.try_acquire(SCOPE, "b")
        assert limiter.try_acquire(("other", "t"), "a")
        waiting = asyncio.create_task(limiter.acquire(SCOPE, "b"))
        await wheel.run(0.5)
        assert 0 < await waiting < 0.5
    else:
        wheel.turn(1)
        assert limiter.try_acquire(SCOPE, "b")


async def test_an_answer_that_is_no_429_changes_nothing(wheel):
    """The plain limiter learns nothing from a success."""
    limiter = make(wheel, RateLimit(rate=10, burst=3))
    assert take_all(limiter) == 3
    before = limiter.snapshot()
    answer(limiter, wheel, throttled=False)
    assert limiter.snapshot() == before


async def test_an_exhausted_organization_does_not_delay_another(wheel):
    """Its requests wait in its own bucket; another's go at once."""
    limiter = make(wheel, RateLimit(rate=100, per_organization_rate=1))
    assert take_all(limiter, "busy") == 1
    order = []
    tasks = await in_order(limiter, ["busy"] * 3, order)
    assert limiter.snapshot().organizations_waiting == 3
    assert limiter.try_acquire(SCOPE, "quiet")
    assert await limiter.acquire(SCOPE, "silent") == 0.0
    await wheel.run(3)
    await asyncio.gather(*tasks)
    assert order == ["busy"] * 3


@pytest.mark.parametrize("per_organization_rate", [None, 1000.0])
async def test_organizations_take_turns_at_the_shared_bucket(wheel, per_organization_rate):
    """Ten of one and two of another alternate, though the ten came first."""
    limiter = make(
        wheel, RateLimit(rate=10, per_organization_rate=per_organization_rate, **ample(per_organization_rate))
    )
    assert limiter.try_acquire(SCOPE, "x")
    order = []
    tasks = await in_order(limiter, ["a"] * 10 + ["b"] * 2, order)
    await wheel.run(2)
    await asyncio.gather(*tasks)
    assert order[:4] == ["a", "b", "a", "b"]
    assert wheel.made <= 12


def ample(rate):
    return {"per_organization_burst": 20.0} if rate else {}


async def test_a_token_of_the_organization_is_given_back_where_the_shared_one_is_not_had(wheel):
    """Refused at once, refused for the wait, cancelled while waiting: the organization loses nothing."""
    limiter = make(wheel, RateLimit(rate=0.1, per_organization_rate=0.001, per_organization_burst=2))
    assert limiter.try_acquire(SCOPE, "a")
    assert not limiter.try_acquire(SCOPE, "a")
    with pytest.raises(RateLimitWaitError):
        await limiter.acquire(SCOPE, "a", max_wait=1)
    task = asyncio.create_task(limiter.acquire(SCOPE, "a"))
    await wheel.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    wheel.turn(10)
    assert limiter.try_acquire(SCOPE, "a")


async def test_the_longest_wait_is_that_of_both_buckets_together(wheel):
    """What was waited for the organization counts, and an argument wins over the setting."""
    settings = RateLimit(rate=1, per_organization_rate=1, max_wait=1.5)
    limiter = make(wheel, settings)
    assert limiter.try_acquire(SCOPE, "a")
    others = [asyncio.create_task(limiter.acquire(SCOPE, key)) for key in "bc"]
    await wheel.settle()
    with pytest.raises(RateLimitWaitError):
        await limiter.acquire(SCOPE, "d")
    late = asyncio.create_task(limiter.acquire(SCOPE, "a"))
    await wheel.run(20)
    with pytest.raises(RateLimitWaitError):
        await late
    assert limiter.try_acquire(SCOPE, "a")
    patient = [asyncio.create_task(limiter.acquire(SCOPE, key, 60)) for key in "ef"]
    await wheel.run(2)
    assert await patient[1] > 1.5
    assert isinstance((await asyncio.gather(*others, return_exceptions=True))[1], RateLimitWaitError)


def test_only_a_full_and_idle_bucket_is_forgotten(wheel):
    """Forgetting never hands out a token: a bucket in use outlives the limit of the table, and goes once it is full."""
    limiter = make(wheel, RateLimit(rate=1e6, per_organization_rate=1, max_buckets=3))
    for key in range(10):
        assert limiter.try_acquire(SCOPE, key)
    assert not any(limiter.try_acquire(SCOPE, key) for key in range(10))
    assert limiter.snapshot().organizations == 10
    wheel.turn(1)
    for key in range(100, 110):
        assert limiter.try_acquire(SCOPE, key)
        assert not limiter.try_acquire(SCOPE, key)
    assert not any(limiter.try_acquire(SCOPE, key) for key in range(100, 110))
    wheel.turn(1)
    for key in range(200, 220):
        wheel.turn(1)
        assert limiter.try_acquire(SCOPE, key)
    assert limiter.snapshot().organizations <= 4


async def test_a_busy_bucket_does_not_keep_the_idle_ones_behind_it(wheel):
    """The first of the table has waiters for a minute; those that came after it are forgotten all the same."""
    limiter = make(wheel, RateLimit(rate=1e6, per_organization_rate=1, max_buckets=1))
    tasks = await in_order(limiter, ["busy"] * 60, [])
    for key in range(40):
        await wheel.run(1)
        assert limiter.try_acquire(SCOPE, key)
    assert limiter.snapshot().organizations_waiting > 0
    assert limiter.snapshot().organizations <= 4
    await wheel.run(60)
    await asyncio.gather(*tasks)


async def test_a_host_and_token_that_are_not_used_any_more_are_forgotten_too(wheel):
    """A callable whose tokens are short-lived leaves no bucket and nothing learnt behind, but those that are in use."""
    limiter = make(wheel, RateLimit.adaptive(max_buckets=3))
    limiter.try_acquire(("h", "busy"), "a")
    limiter.on_response(("h", "busy"), "a", throttled=True, retry_after=60, sent_at=wheel.now)
    for number in range(40):
        assert limiter.try_acquire(("h", number), "a")
        wheel.turn(1)
    assert len(limiter.snapshot().shared) == 3
    assert [scope["rate"] for scope in limiter.export_state()["scopes"].values()] == [9, 10, 10]
    assert not limiter.try_acquire(("h", "busy"), "a")


@pytest.mark.parametrize("throttled", [True, False])
def test_an_answer_to_a_request_whose_bucket_was_forgotten_meanwhile_counts(wheel, throttled):
    """A bucket is full again before a slow answer comes: what the answer says opens it anew."""
    limiter = make(wheel, RateLimit.adaptive(max_buckets=1))
    sent = wheel.now
    assert limiter.try_acquire(SCOPE, "a")
    for number in range(5):
        wheel.turn(1)
        assert limiter.try_acquire(("h", number), "a")
    limiter.give_back(SCOPE, "a")
    assert len(limiter.snapshot().shared) == 1
    answer(limiter, wheel, throttled=throttled, sent_at=sent)
    assert limiter.try_acquire(SCOPE, "a") is not throttled


async def test_an_organization_is_not_refused_for_the_queue_of_another(wheel):
    """Its turn comes after one of the other's thousand, and so the estimate says."""
    limiter = make(wheel, RateLimit(rate=10, burst=1, max_wait=0.5))
    assert limiter.try_acquire(SCOPE, "busy")
    busy = [asyncio.create_task(limiter.acquire(SCOPE, "busy", 1_000)) for _ in range(1_000)]
    await wheel.settle()
    with pytest.raises(RateLimitWaitError) as caught:
        await limiter.acquire(SCOPE, "busy")
    assert caught.value.estimated_wait == pytest.approx(100.1)
    quiet = asyncio.create_task(limiter.acquire(SCOPE, "quiet"))
    await wheel.run(0.2)
    assert await quiet == pytest.approx(0.2)
    for task in busy:
        task.cancel()


@pytest.mark.parametrize("per_organization_rate", [None, 0.001])
def test_the_turn_of_a_request_that_was_not_sent_is_given_back(wheel, per_organization_rate):
    """To the shared bucket, and to the organization's where it has one."""
    limiter = make(wheel, RateLimit(rate=0.001, per_organization_rate=per_organization_rate))
    assert take_all(limiter) == 1
    limiter.give_back(SCOPE, "a")
    assert take_all(limiter) == 1


@pytest.mark.parametrize("settings", [None, RateLimit(rate=1), RateLimit(rate=1, per_organization_rate=1)])
async def test_closing_wakes_everybody_and_refuses_what_comes_later(wheel, settings):
    """Those who wait, those who come, and those of a host that was never seen."""
    limiter = make(wheel, settings)
    assert limiter.try_acquire(SCOPE, "a")
    answer(limiter, wheel, throttled=True, retry_after=9)
    tasks = await in_order(limiter, "aab", [])
    limiter.close(lambda: ClientClosedError("closed"))
    assert all(isinstance(error, ClientClosedError) for error in await asyncio.gather(*tasks, return_exceptions=True))
    for scope in (SCOPE, ("unseen", "t")):
        assert not limiter.try_acquire(scope, "c")
        with pytest.raises(ClientClosedError):
            await limiter.acquire(scope, "c")
    assert wheel.live == 0


def test_what_was_learnt_survives_a_restart_and_does_not_tell_the_token(wheel):
    """The state goes through JSON, and the next limiter starts at the rate that was found."""
    first = make(wheel, RateLimit.adaptive(initial=100, ceiling=200))
    assert first.try_acquire(SCOPE, "a")
    wheel.turn(1)
    answer(first, wheel, throttled=True, retry_after=1)
    text = json.dumps(first.export_state())
    assert "secret" not in text
    assert "secret" not in repr(first.snapshot())
    second = make(wheel, RateLimit.adaptive(initial=100, ceiling=200, state=json.loads(text)))
    assert second.try_acquire(SCOPE, "a")
    assert second.try_acquire(("unseen", "t"), "a")
    assert sorted(bucket.rate for bucket in second.snapshot().shared.values()) == [90, 100]
    assert second.export_state()["scopes"].items() >= json.loads(text)["scopes"].items()


def test_what_was_learnt_of_others_is_handed_on(wheel):
    """A start that asks nothing of a host loses nothing of it; of too many, the oldest go first."""
    scopes = {str(number): {"rate": 20.0 + number, "limit": None} for number in range(5)}
    state = {"version": 1, "scopes": scopes}
    limiter = make(wheel, RateLimit.adaptive(state=state))
    assert limiter.export_state() == state
    limiter = make(wheel, RateLimit.adaptive(state=state, max_buckets=3))
    assert limiter.try_acquire(SCOPE, "a")
    handed_on = limiter.export_state()["scopes"]
    assert [scope["rate"] for scope in handed_on.values()] == [23.0, 24.0, 10.0]
    assert list(handed_on)[:2] == ["3", "4"]


def test_an_adaptive_limit_moves_the_bucket(wheel):
    """The rate rises while it is used, and ten 429s of one round cut it once."""
    limiter = make(wheel, RateLimit.adaptive(initial=100))
    for _ in range(200):
        wheel.turn(0.01)
        assert limiter.try_acquire(SCOPE, "a")
        answer(limiter, wheel, throttled=False)
    (bucket,) = limiter.snapshot().shared.values()
    assert 110 < bucket.rate < 140
    sent = wheel.now
    for _ in range(10):
        wheel.turn(0.001)
        answer(limiter, wheel, throttled=True, sent_at=sent)
    (after,) = limiter.snapshot().shared.values()
    assert after.rate == pytest.approx(0.9 * bucket.rate)


@pytest.mark.parametrize("shared_rate", [2.0, 1000.0])
async def test_one_organizations_requests_keep_their_order_from_its_bucket_to_the_shared_one(wheel, shared_rate):
    """A request that comes just as an older one gets its organization's token stays behind it."""
    limiter = make(wheel, RateLimit(rate=shared_rate, burst=2, per_organization_rate=10, per_organization_burst=2))
    assert take_all(limiter) == 2
    order = []
    tasks = await in_order(limiter, ["a"], order)
    wheel.turn(5)  # both buckets have tokens for two, and the older one has not run
    assert not limiter.try_acquire(SCOPE, "a")
    newer = asyncio.create_task(limiter.acquire(SCOPE, "a"))
    newer.add_done_callback(lambda _: order.append("newer"))
    await wheel.run(5)
    await asyncio.gather(*tasks, newer)
    assert order == ["a", "newer"]


async def test_turns_of_an_organization_do_not_pile_up_before_the_shared_bucket(wheel):
    """After a pause that lasts, its own rate still holds for what goes out."""
    limiter = make(wheel, RateLimit(rate=100, burst=10, per_organization_rate=1, per_organization_burst=2))
    answer(limiter, wheel, throttled=True, retry_after=30)
    went = []
    tasks = await in_order(limiter, ["a"] * 8, [])
    for task in tasks:
        task.add_done_callback(lambda _: went.append(wheel.now))
    began = wheel.now
    await wheel.run(29)
    assert went == []
    await wheel.run(60)
    await asyncio.gather(*tasks)
    assert [round(at - began) for at in went] == [30, 30, 31, 32, 33, 34, 35, 36]


async def test_a_turn_that_is_held_takes_room_in_both_its_buckets_until_the_wait_ends(wheel):
    """However it ends, and whether the buckets are still known or not."""
    limiter = make(wheel, RateLimit(rate=100, burst=2, per_organization_rate=10, per_organization_burst=2))
    assert take_all(limiter) == 2
    ready = asyncio.Event()
    holding = [asyncio.create_task(limiter.hold(SCOPE, "a", ready.wait())) for _ in range(2)]
    await wheel.run(60)
    assert take_all(limiter) == 0
    holding[0].cancel()
    await wheel.run(60)
    assert take_all(limiter) == 1
    ready.set()
    await asyncio.gather(*holding, return_exceptions=True)
    await wheel.run(60)
    assert take_all(limiter) == 2
    await limiter.hold(("unknown", ""), "b", ready.wait())


async def test_a_wait_that_would_be_too_long_is_refused_at_once_by_either_bucket(wheel):
    """Though the organization's own would only let it go later: the shared one is paused for longer than allowed."""
    settings = {"per_organization_rate": 0.5, "per_organization_burst": 1, "max_wait": 10}
    limiter = make(wheel, RateLimit(rate=100, burst=10, **settings))
    assert limiter.try_acquire(SCOPE, "a")
    answer(limiter, wheel, throttled=True, retry_after=50)
    with pytest.raises(RateLimitWaitError) as raised:
        await limiter.acquire(SCOPE, "a")
    assert raised.value.estimated_wait == pytest.approx(50)
    wheel.turn(50)
    assert await limiter.acquire(SCOPE, "a") == 0


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_limiter_is_not_pickled_with_the_tokens_in_it(wheel, duplicate):
    """What it has learnt is, without them."""
    limiter = make(wheel, RateLimit.adaptive())
    assert limiter.try_acquire(SCOPE, "a")
    with pytest.raises(TypeError, match="export_state"):
        duplicate(limiter)
    assert SCOPE[1] not in str(pickle.dumps(limiter.export_state()))


async def test_a_wait_for_the_shared_bucket_that_is_cancelled_gives_the_organizations_turn_back(wheel):
    """Its room as well: the organization then has its whole burst again."""
    limiter = make(wheel, RateLimit(rate=100, burst=10, per_organization_rate=10, per_organization_burst=2))
    answer(limiter, wheel, throttled=True, retry_after=30)
    (task,) = await in_order(limiter, ["a"], [])
    await wheel.run(1)
    task.cancel()
    await wheel.run(60)
    assert take_all(limiter) == 2
