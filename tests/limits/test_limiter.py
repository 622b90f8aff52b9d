"""The hierarchy of buckets: organizations share fairly, a 429 stops everybody, and nothing shows the token."""

import asyncio
import copy
import inspect
import json
import pickle
import typing
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timing import Timers, advance, passes, settle

from calls_in_progress_async.clock import now
from calls_in_progress_async.errors import ClientClosedError, RateLimitWaitError
from calls_in_progress_async.limits.limiter import DEFAULT_PAUSE, RateLimiter
from calls_in_progress_async.limits.rate_limits import RateLimits
from calls_in_progress_async.limits.settings import RateLimit
from calls_in_progress_async.testing import run

pytestmark = pytest.mark.usefixtures("on_virtual_clock")

KEY = ("example.invoca.net", "secret-token")
OTHER = ("example.invoca.net", "other-token")


def respond(limiter, *, throttled=True, retry_after=None, sent_at=None, organization="a"):
    sent = now() if sent_at is None else sent_at
    limiter.on_response(KEY, organization, throttled=throttled, retry_after=retry_after, sent_at=sent)


def take_all(limiter, organization="a"):
    taken = 0
    while limiter.try_acquire(KEY, organization):
        taken += 1
    return taken


async def in_order(limiter, organizations, order):
    async def wait(organization):
        await limiter.acquire(KEY, organization)
        order.append(organization)

    tasks = [asyncio.create_task(wait(organization)) for organization in organizations]
    await settle()
    return tasks


def test_without_settings_nothing_is_limited():
    """Grant a hundred thousand requests in no time, outside a loop too."""
    limiter = RateLimiter()
    assert all(limiter.try_acquire(KEY, organization) for organization in range(100_000))
    (bucket,) = limiter.view.snapshot().shared.values()
    assert (bucket.rate, bucket.burst, bucket.tokens, bucket.granted) == (None, None, None, 100_000)
    json.dumps([bucket.rate, bucket.burst, bucket.tokens], allow_nan=False)


@pytest.mark.parametrize("limit", [None, RateLimit(rate=10, burst=10), RateLimit.adaptive()])
@pytest.mark.parametrize(("retry_after", "pause"), [(None, DEFAULT_PAUSE), (5.0, 5.0), (0.0, 0.0), (86_400.0, 86_400)])
async def test_a_429_pauses_its_host_and_token_and_no_other(limit, retry_after, pause):
    """Pause with or without a limit, for as long as the server says: the caller has capped it."""
    limiter = RateLimiter(limit)
    assert limiter.try_acquire(KEY, "a")
    respond(limiter, retry_after=retry_after)
    if pause:
        advance(pause - 0.001)
        assert not limiter.try_acquire(KEY, "b")
        assert limiter.is_paused(KEY, "b")
        assert not limiter.is_paused(OTHER, "b")
        assert limiter.try_acquire(OTHER, "a")
        assert 0 < await limiter.acquire(KEY, "b") < 0.5
    else:
        advance(1)
        assert limiter.try_acquire(KEY, "b")
    assert not limiter.is_paused(KEY, "b")


async def test_a_response_other_than_429_changes_nothing():
    """The plain limiter learns nothing from a success."""
    limiter = RateLimiter(RateLimit(rate=10, burst=3))
    assert take_all(limiter) == 3
    before = limiter.snapshot()
    respond(limiter, throttled=False)
    assert limiter.snapshot() == before


async def test_an_exhausted_organization_does_not_delay_another():
    """Its requests wait in its own bucket; another's go at once."""
    limiter = RateLimiter(RateLimit(rate=100, per_organization_rate=1))
    assert take_all(limiter, "busy") == 1
    order = []
    tasks = await in_order(limiter, ["busy"] * 3, order)
    assert limiter.snapshot().organizations_waiting == 3
    assert limiter.try_acquire(KEY, "quiet")
    assert await limiter.acquire(KEY, "silent") == 0.0
    await passes(3)
    await asyncio.gather(*tasks)
    assert order == ["busy"] * 3


@pytest.mark.parametrize("own", [{}, {"per_organization_rate": 1000.0, "per_organization_burst": 20}])
async def test_organizations_take_turns_at_the_shared_bucket(own):
    """Ten requests of one and two of another alternate, though the ten came first."""
    timers = Timers()
    limiter = RateLimiter(RateLimit(rate=10, **own))
    assert limiter.try_acquire(KEY, "x")
    order = []
    tasks = await in_order(limiter, ["a"] * 10 + ["b"] * 2, order)
    await passes(2)
    await asyncio.gather(*tasks)
    assert order[:4] == ["a", "b", "a", "b"]
    assert len(timers.delays) <= 12


async def test_the_organization_loses_nothing_if_the_shared_bucket_rejects():
    """Rejected at once, rejected for the wait, cancelled while waiting: its token is given back."""
    limits = {"rate": 0.1, "per_organization_rate": 0.001, "per_organization_burst": 2}
    hasty = RateLimiter(RateLimit(max_wait=1, **limits))
    assert hasty.try_acquire(KEY, "a")
    assert not hasty.try_acquire(KEY, "a")
    with pytest.raises(RateLimitWaitError):
        await hasty.acquire(KEY, "a")
    advance(10)
    assert hasty.try_acquire(KEY, "a")
    limiter = RateLimiter(RateLimit(**limits))
    assert limiter.try_acquire(KEY, "a")
    task = asyncio.create_task(limiter.acquire(KEY, "a"))
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    advance(10)
    assert limiter.try_acquire(KEY, "a")


async def test_max_wait_covers_both_buckets_together():
    """The time waited for the organization's bucket counts."""
    limiter = RateLimiter(RateLimit(rate=1, per_organization_rate=1, max_wait=1.5))
    assert limiter.try_acquire(KEY, "a")
    late = asyncio.create_task(limiter.acquire(KEY, "a"))
    await settle()
    assert await limiter.acquire(KEY, "b") == pytest.approx(1)
    with pytest.raises(RateLimitWaitError):
        await late
    await passes(20)
    assert limiter.try_acquire(KEY, "a")


async def rejected_after(limiter, organization="a"):
    began = now()
    with pytest.raises(RateLimitWaitError) as caught:
        await limiter.acquire(KEY, organization)
    assert caught.value.estimated_wait > 0
    return now() - began


OWN_LIMITS = [
    pytest.param({}, id="shared bucket only"),
    pytest.param({"per_organization_rate": 10.0}, id="waiting in the shared bucket"),
    pytest.param({"per_organization_rate": 2.5}, id="waiting in the organization's bucket"),
]


@pytest.mark.parametrize("own", OWN_LIMITS)
async def test_max_wait_is_kept_if_a_429_comes_during_the_wait(own):
    """A pause of 3 s ends a wait of at most 0.5 s in time, with and without limits per organization."""
    limiter = RateLimiter(RateLimit(rate=2.5, burst=1, max_wait=0.5, **own))
    assert limiter.try_acquire(KEY, "a")
    asyncio.get_running_loop().call_later(0.2, lambda: respond(limiter, retry_after=3.0))
    assert await rejected_after(limiter) <= 0.5 + 0.002
    advance(10)
    assert take_all(limiter) == 1


@pytest.mark.parametrize("own", OWN_LIMITS)
async def test_max_wait_is_kept_if_the_rate_falls_during_the_wait(own):
    """A smaller share makes the wait longer; the request is rejected when the seconds have passed."""
    limiter = RateLimiter(RateLimit(rate=2.5, burst=1, max_wait=0.5, **own))
    assert limiter.try_acquire(KEY, "a")
    asyncio.get_running_loop().call_later(0.2, lambda: limiter.view.set_share(0.001))
    assert await rejected_after(limiter) == pytest.approx(0.5, abs=0.002)


@settings(max_examples=40)
@given(
    requests=st.lists(st.tuples(st.floats(0, 0.3), st.sampled_from("abc")), min_size=1, max_size=25),
    pauses=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 4), st.sampled_from("abc")), max_size=4),
    own=st.sampled_from([None, 2.0, 20.0]),
    max_wait=st.floats(0.01, 2),
)
def test_no_request_waits_longer_than_max_wait(requests, pauses, own, max_wait):
    """Each request is granted or rejected within ``max_wait``, and nothing is left behind."""

    async def wait(limiter, organization, waits):
        began = now()
        with suppress(RateLimitWaitError):
            await limiter.acquire(KEY, organization)
        waits.append(now() - began)

    async def act():
        timers = Timers()
        limiter = RateLimiter(RateLimit(rate=5, burst=1, per_organization_rate=own, max_wait=max_wait))
        for at, seconds, organization in pauses:
            asyncio.get_running_loop().call_later(
                at, lambda s=seconds, o=organization: respond(limiter, retry_after=s, organization=o)
            )
        waits, tasks = [], []
        for seconds, organization in requests:
            tasks.append(asyncio.create_task(wait(limiter, organization, waits)))
            await passes(seconds)
        await asyncio.gather(*tasks)
        assert limiter.snapshot().organizations_waiting == 0
        assert [bucket.waiting for bucket in limiter.snapshot().shared.values()] == [0]
        await passes(10)
        assert timers.live == 0
        return waits

    assert max(run(act())) <= max_wait + 0.003


async def test_only_a_full_and_idle_bucket_is_forgotten():
    """Forgetting never hands out a token: a bucket in use outlives the limit of the table, and goes once it is full."""
    limiter = RateLimiter(RateLimit(rate=1e6, per_organization_rate=1, max_buckets=3))
    for organization in range(10):
        assert limiter.try_acquire(KEY, organization)
    assert not any(limiter.try_acquire(KEY, organization) for organization in range(10))
    assert limiter.snapshot().organizations == 10
    advance(1)
    for organization in range(100, 110):
        assert limiter.try_acquire(KEY, organization)
        assert not limiter.try_acquire(KEY, organization)
    assert not any(limiter.try_acquire(KEY, organization) for organization in range(100, 110))
    advance(1)
    for organization in range(200, 220):
        advance(1)
        assert limiter.try_acquire(KEY, organization)
    assert limiter.snapshot().organizations <= 4


async def test_a_busy_bucket_does_not_keep_the_idle_ones_behind_it():
    """The first of the table has waiters for a minute; idle buckets added later are forgotten all the same."""
    limiter = RateLimiter(RateLimit(rate=1e6, per_organization_rate=1, max_buckets=1))
    tasks = await in_order(limiter, ["busy"] * 60, [])
    for organization in range(40):
        await passes(1)
        assert limiter.try_acquire(KEY, organization)
    assert limiter.snapshot().organizations_waiting > 0
    assert limiter.snapshot().organizations <= 4
    await passes(60)
    await asyncio.gather(*tasks)


async def test_an_unused_host_and_token_are_forgotten_too():
    """A callable with short-lived tokens leaves no bucket and nothing learnt behind, except for tokens in use."""
    limiter = RateLimiter(RateLimit.adaptive(max_buckets=3))
    limiter.try_acquire(("h", "busy"), "a")
    limiter.on_response(("h", "busy"), "a", throttled=True, retry_after=60, sent_at=now())
    for number in range(40):
        assert limiter.try_acquire(("h", str(number)), "a")
        advance(1)
    assert len(limiter.snapshot().shared) == 3
    assert sorted(learnt["rate"] for learnt in limiter.export_state()["limits"].values()) == [9, 10, 10]
    assert not limiter.try_acquire(("h", "busy"), "a")


@pytest.mark.parametrize("throttled", [True, False])
async def test_a_response_counts_even_if_its_bucket_was_forgotten_meanwhile(throttled):
    """A bucket is full again before a slow response comes; the response opens it anew."""
    limiter = RateLimiter(RateLimit.adaptive(max_buckets=1))
    sent = now()
    assert limiter.try_acquire(KEY, "a")
    for number in range(5):
        advance(1)
        assert limiter.try_acquire(("h", str(number)), "a")
    limiter.give_back(KEY, "a")
    assert not limiter.is_paused(KEY, "a")
    assert len(limiter.snapshot().shared) == 1
    respond(limiter, throttled=throttled, sent_at=sent)
    assert limiter.try_acquire(KEY, "a") is not throttled


async def test_an_organization_is_not_rejected_for_the_queue_of_another():
    """The estimate counts one request of the other organization, not its hundreds."""
    limiter = RateLimiter(RateLimit(rate=10, burst=1, max_wait=50))
    assert limiter.try_acquire(KEY, "busy")
    busy = [asyncio.create_task(limiter.acquire(KEY, "busy")) for _ in range(600)]
    await settle()
    rejected = [task for task in busy if task.done()]
    assert len(rejected) == 100
    assert rejected[0].exception().estimated_wait == pytest.approx(50.1)
    quiet = asyncio.create_task(limiter.acquire(KEY, "quiet"))
    await passes(0.2)
    assert await quiet == pytest.approx(0.2)
    for task in busy:
        task.cancel()


@pytest.mark.parametrize("per_organization_rate", [None, 0.001])
async def test_the_grant_of_a_request_not_sent_is_given_back(per_organization_rate):
    """It goes to the shared bucket, and to the organization's bucket if there is one."""
    limiter = RateLimiter(RateLimit(rate=0.001, per_organization_rate=per_organization_rate))
    assert take_all(limiter) == 1
    limiter.give_back(KEY, "a")
    assert take_all(limiter) == 1


@pytest.mark.parametrize("limit", [None, RateLimit(rate=1), RateLimit(rate=1, per_organization_rate=1)])
async def test_closing_wakes_everybody_and_rejects_later_requests(limit):
    """Waiting requests, later requests, and requests to a host never seen before get the error."""
    timers = Timers()
    limiter = RateLimiter(limit)
    assert limiter.try_acquire(KEY, "a")
    respond(limiter, retry_after=9)
    tasks = await in_order(limiter, "aab", [])
    limiter.close(lambda: ClientClosedError("closed"))
    assert all(isinstance(error, ClientClosedError) for error in await asyncio.gather(*tasks, return_exceptions=True))
    for limit_key in (KEY, ("unseen", "t")):
        assert not limiter.try_acquire(limit_key, "c")
        with pytest.raises(ClientClosedError):
            await limiter.acquire(limit_key, "c")
    assert timers.live == 0


async def test_learnt_limits_survive_a_restart_and_do_not_show_the_token():
    """The state goes through JSON, and the next limiter starts at the learnt rate."""
    first = RateLimiter(RateLimit.adaptive(initial=100, ceiling=200))
    assert first.try_acquire(KEY, "a")
    advance(1)
    respond(first, retry_after=1)
    text = json.dumps(first.view.export_state())
    assert "secret" not in text
    assert "secret" not in repr(first.view.snapshot())
    second = RateLimiter(RateLimit.adaptive(initial=100, ceiling=200, state=json.loads(text)))
    assert second.try_acquire(KEY, "a")
    assert second.try_acquire(("unseen", "t"), "a")
    assert sorted(bucket.rate for bucket in second.snapshot().shared.values()) == [90, 100]
    assert second.export_state()["limits"].items() >= json.loads(text)["limits"].items()


async def test_learnt_limits_of_other_tokens_are_handed_on():
    """A run without requests to a host loses nothing of its state; beyond ``max_buckets`` the oldest go first."""
    learnt = {str(number): {"rate": 20.0 + number, "limit": None} for number in range(5)}
    state = {"version": 1, "limits": learnt}
    assert RateLimiter(RateLimit.adaptive(state=state)).export_state() == state
    limiter = RateLimiter(RateLimit.adaptive(state=state, max_buckets=3))
    assert limiter.try_acquire(KEY, "a")
    handed_on = limiter.export_state()["limits"]
    assert [each["rate"] for each in handed_on.values()] == [23.0, 24.0, 10.0]
    assert list(handed_on)[:2] == ["3", "4"]


async def test_an_absurd_but_finite_learnt_limit_is_kept_within_the_bounds():
    """A rate of 1e300 from a file becomes the ceiling, and a rate of 1e-300 the floor."""
    limiter = RateLimiter(RateLimit.adaptive(ceiling=50))
    assert limiter.try_acquire(KEY, "a")
    (digest,) = limiter.export_state()["limits"]
    for learnt, rate in ({"rate": 1e300, "limit": 1e308}, 50), ({"rate": 1e-300, "limit": 1e-300}, 0.5):
        state = {"version": 1, "limits": {digest: learnt}}
        limiter = RateLimiter(RateLimit.adaptive(ceiling=50, state=state))
        assert limiter.try_acquire(KEY, "a")
        assert limiter.export_state()["limits"][digest] == {"rate": rate, "limit": rate}
        (bucket,) = limiter.snapshot().shared.values()
        assert bucket.rate == rate


async def test_an_adaptive_limit_moves_the_bucket():
    """The rate rises while it is used, and ten 429s of one round cut it once."""
    limiter = RateLimiter(RateLimit.adaptive(initial=100))
    for _ in range(200):
        advance(0.01)
        assert limiter.try_acquire(KEY, "a")
        respond(limiter, throttled=False)
    (bucket,) = limiter.snapshot().shared.values()
    assert 110 < bucket.rate < 140
    sent = now()
    for _ in range(10):
        advance(0.001)
        respond(limiter, sent_at=sent)
    (after,) = limiter.snapshot().shared.values()
    assert after.rate == pytest.approx(0.9 * bucket.rate)


@pytest.mark.parametrize("shared_rate", [2.0, 1000.0])
async def test_requests_of_an_organization_keep_their_order_through_both_buckets(shared_rate):
    """A request arriving just as an older one gets its organization's token stays behind it."""
    limiter = RateLimiter(RateLimit(rate=shared_rate, burst=2, per_organization_rate=10, per_organization_burst=2))
    assert take_all(limiter) == 2
    order = []
    tasks = await in_order(limiter, ["a"], order)
    advance(5)  # both buckets have tokens for two, and the older request has not run
    assert not limiter.try_acquire(KEY, "a")
    newer = asyncio.create_task(limiter.acquire(KEY, "a"))
    newer.add_done_callback(lambda _: order.append("newer"))
    await passes(5)
    await asyncio.gather(*tasks, newer)
    assert order == ["a", "newer"]


async def test_grants_of_an_organization_do_not_pile_up_before_the_shared_bucket():
    """After a long pause its own rate still holds for the requests sent."""
    limiter = RateLimiter(RateLimit(rate=100, burst=10, per_organization_rate=1, per_organization_burst=2))
    respond(limiter, retry_after=30)
    sent = []
    tasks = await in_order(limiter, ["a"] * 8, [])
    for task in tasks:
        task.add_done_callback(lambda _: sent.append(now()))
    began = now()
    await passes(29)
    assert sent == []
    await passes(60)
    await asyncio.gather(*tasks)
    assert [round(at - began) for at in sent] == [30, 30, 31, 32, 33, 34, 35, 36]


async def test_a_reserved_grant_takes_room_in_both_buckets_until_the_wait_ends():
    """The room is free again after a result and after a cancellation; forgotten buckets need nothing."""
    limiter = RateLimiter(RateLimit(rate=100, burst=2, per_organization_rate=10, per_organization_burst=2))
    assert take_all(limiter) == 2
    ready = asyncio.Event()
    holding = [asyncio.create_task(limiter.reserve(KEY, "a", ready.wait())) for _ in range(2)]
    await passes(60)
    assert take_all(limiter) == 0
    holding[0].cancel()
    await passes(60)
    assert take_all(limiter) == 1
    ready.set()
    await asyncio.gather(*holding, return_exceptions=True)
    await passes(60)
    assert take_all(limiter) == 2
    await limiter.reserve(("unknown", ""), "b", ready.wait())


@settings(max_examples=40)
@given(
    requests=st.lists(
        st.tuples(st.floats(0, 0.3), st.sampled_from("ab"), st.floats(0, 2), st.floats(0.01, 3)),
        min_size=1,
        max_size=20,
    ),
    own=st.sampled_from([None, 3.0]),
)
def test_timeouts_while_waiting_or_reserved_leak_nothing(requests, own):
    """However an `asyncio.timeout` meets a wait or a reserved grant, the limits are whole again afterwards."""

    async def use(limiter, organization, seconds, timeout):
        try:
            async with asyncio.timeout(timeout):
                if not limiter.try_acquire(KEY, organization):
                    await limiter.acquire(KEY, organization)
                try:
                    await limiter.reserve(KEY, organization, asyncio.sleep(seconds))
                except asyncio.CancelledError:
                    limiter.give_back(KEY, organization)
                    raise
        except TimeoutError:
            return 0
        return 1

    async def act():
        timers = Timers()
        limit = RateLimit(rate=4, burst=3, per_organization_rate=own, per_organization_burst=own and 3)
        limiter, tasks = RateLimiter(limit), []
        for seconds, organization, slot_wait, timeout in requests:
            tasks.append(asyncio.create_task(use(limiter, organization, slot_wait, timeout)))
            await passes(seconds)
        used = sum(await asyncio.gather(*tasks))
        await passes(10)
        assert timers.live == 0
        assert limiter.snapshot().organizations_waiting == 0
        (bucket,) = limiter.snapshot().shared.values()
        assert (bucket.granted, bucket.waiting, bucket.tokens) == (used, 0, 3)
        assert limiter.snapshot().organizations == (0 if own is None else len({name for _, name, _, _ in requests}))
        assert take_all(limiter) == 3

    run(act())


async def test_a_wait_too_long_in_either_bucket_is_rejected_at_once():
    """The shared bucket is paused for longer than allowed, though the organization's bucket would wait less."""
    own = {"per_organization_rate": 0.5, "per_organization_burst": 1, "max_wait": 10}
    limiter = RateLimiter(RateLimit(rate=100, burst=10, **own))
    assert limiter.try_acquire(KEY, "a")
    respond(limiter, retry_after=50)
    with pytest.raises(RateLimitWaitError) as raised:
        await limiter.acquire(KEY, "a")
    assert raised.value.estimated_wait == pytest.approx(50)
    advance(50)
    assert await limiter.acquire(KEY, "a") == 0


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("of", [lambda limiter: limiter, lambda limiter: limiter.view])
def test_a_limiter_is_not_pickled_with_its_tokens(duplicate, of):
    """The exported state can be pickled, and holds no token."""
    limiter = RateLimiter(RateLimit.adaptive())
    assert limiter.try_acquire(KEY, "a")
    with pytest.raises(TypeError, match="export_state"):
        duplicate(of(limiter))
    assert KEY[1] not in str(pickle.dumps(limiter.export_state()))


async def test_a_cancelled_wait_for_the_shared_bucket_gives_the_organizations_grant_back():
    """The organization has its whole burst again, room included."""
    limiter = RateLimiter(RateLimit(rate=100, burst=10, per_organization_rate=10, per_organization_burst=2))
    respond(limiter, retry_after=30)
    (task,) = await in_order(limiter, ["a"], [])
    await passes(1)
    task.cancel()
    await passes(60)
    assert take_all(limiter) == 2


def test_the_view_is_read_only_and_its_hints_resolve():
    """The public object has no way to take or give tokens, and frameworks can read its types."""
    public = {name for name in dir(RateLimits) if not name.startswith("_")}
    assert public == {"snapshot", "export_state", "set_share"}
    for name in public:
        assert typing.get_type_hints(getattr(RateLimits, name))
    for _, member in inspect.getmembers(RateLimiter, inspect.isfunction):
        typing.get_type_hints(member)
