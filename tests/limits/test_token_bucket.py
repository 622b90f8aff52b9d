"""The token bucket grants no more than allowed, in the right order, and loses nothing."""

import asyncio
import itertools
import math
import time
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timing import Timers, advance, passes, settle

from calls_in_progress_async import clock
from calls_in_progress_async.clock import now
from calls_in_progress_async.errors import ClientClosedError, InvalidRequestError, RateLimitWaitError
from calls_in_progress_async.limits.token_account import UNLIMITED
from calls_in_progress_async.limits.token_bucket import TIMER_STEP, TokenBucket
from calls_in_progress_async.testing import run
from calls_in_progress_async.testing.virtual_clock import START

pytestmark = pytest.mark.usefixtures("on_virtual_clock")

ROUNDING = 2e-5


def make(*, rate=10.0, burst=5.0, **more):
    return TokenBucket(rate=rate, burst=burst, **more)


def drain(bucket):
    while bucket.try_acquire():
        pass


def poke(bucket):
    """Have the bucket grant its accrued tokens before any task runs."""
    state = bucket.snapshot()
    bucket.set_limit(state.rate, state.burst)


async def queue_up(bucket, keys, **more):
    """Start one waiting task for each key; the returned list fills with (index, time) as they are granted."""
    granted = []

    async def wait(index, key):
        await bucket.acquire(key, **more)
        granted.append((index, now()))

    tasks = [asyncio.create_task(wait(index, key)) for index, key in enumerate(keys)]
    await settle()
    return granted, tasks


async def cancel(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def indices(granted):
    return [index for index, _ in granted]


async def test_a_full_bucket_grants_its_burst_without_waiting():
    """Grant the burst at once, through both ways in, and not one token more."""
    timers = Timers()
    bucket = make(burst=4)
    assert bucket.try_acquire()
    assert await bucket.acquire() == 0.0
    assert [bucket.try_acquire() for _ in range(3)] == [True, True, False]
    assert timers.delays == []


async def test_tokens_accrue_at_the_rate_and_never_above_the_burst():
    """Half a second at 10/s gives 5 tokens; an hour gives no more than the burst."""
    bucket = make(burst=8)
    drain(bucket)
    advance(0.5)
    assert sum(bucket.try_acquire() for _ in range(20)) == 5
    advance(3600)
    assert sum(bucket.try_acquire() for _ in range(20)) == 8


async def test_accrued_tokens_are_granted_without_giving_up_the_loop():
    """An uncontended acquire makes no future and ends in its first step, even if the bucket was empty before."""
    bucket = make(burst=2)
    for seconds, count in [(0, 2), (0.1, 1), (3600, 2)]:
        advance(seconds)
        for _ in range(count):
            with pytest.raises(StopIteration) as ended:
                bucket.acquire().send(None)
            assert ended.value.value == 0.0
        assert bucket.snapshot().tokens == pytest.approx(0, abs=ROUNDING)


@pytest.mark.parametrize("name", ["rate", "burst"])
@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, True, "5", None, 10**400])
def test_rate_and_burst_are_finite_numbers_above_zero(name, bad):
    """Reject anything else by name, in the constructor and in a change."""
    with pytest.raises(InvalidRequestError) as caught:
        TokenBucket(**{"rate": 1.0, "burst": 1.0, name: bad})
    assert caught.value.parameter == name
    bucket = make()
    with pytest.raises(InvalidRequestError) as caught:
        bucket.set_limit(**{"rate": 1.0, "burst": 1.0, name: bad})
    assert caught.value.parameter == name
    assert bucket.rate == 10


def assert_bounded(times, *, burst, rate, catch_up=0.0):
    """Fail if any window has more grants than the bound, beyond the rounding of a timer."""
    for first, last in itertools.combinations_with_replacement(range(len(times)), 2):
        assert last - first + 1 <= burst + rate * (times[last] - times[first] + catch_up) + ROUNDING


actions = st.one_of(
    st.tuples(st.sampled_from(["wait", "try"]), st.just(0.0)),
    st.tuples(st.just("wait no longer than"), st.floats(0, 3)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("pause"), st.floats(0, 0.5)),
)


@settings(max_examples=150)
@given(
    actions=st.lists(st.tuples(st.floats(0, 0.4), actions), min_size=1, max_size=60),
    lateness=st.lists(st.floats(0, 0.3), min_size=1, max_size=10),
    catch_up=st.sampled_from([0.0, 0.002, 0.2]),
)
def test_no_window_sees_more_than_burst_and_rate_allow(actions, lateness, catch_up):
    """In any t seconds at most ``burst + rate * t`` tokens are granted, even with cancellations and late timers."""
    grants = []

    async def wait(bucket, max_wait=None):
        await bucket.acquire(None, max_wait)
        grants.append(now())

    async def act():
        timers = Timers()
        timers.lateness = itertools.cycle(lateness)
        bucket, tasks = make(burst=3.0, catch_up=catch_up), []
        for seconds, (action, amount) in actions:
            if action.startswith("wait"):
                tasks.append(asyncio.create_task(wait(bucket, amount if "longer" in action else None)))
            elif action == "try" and bucket.try_acquire():
                grants.append(now())
            elif action == "cancel" and amount < len(tasks):
                tasks[amount].cancel()
            elif action == "pause":
                bucket.pause(amount)
            await passes(seconds)
        await passes(100)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert bucket.snapshot().granted == len(grants)
        assert (bucket.waiting, timers.live) == (0, 0)
        assert timers.most_live <= 1

    run(act())
    assert_bounded(grants, burst=3, rate=10, catch_up=catch_up)


@settings(max_examples=20)
@given(
    rate=st.floats(50, 5_000),
    lateness=st.lists(st.floats(0, 0.001), min_size=1, max_size=20),
)
def test_two_milliseconds_of_catch_up_make_good_timers_a_millisecond_late(rate, lateness):
    """With a burst of 1 the whole rate is granted, and at most 2 ms of it above the bound."""
    count = 400

    async def act():
        timers = Timers()
        timers.lateness = itertools.cycle(lateness)
        bucket = make(rate=rate, burst=1, catch_up=0.002)
        granted, tasks = await queue_up(bucket, [None] * (count + 20))
        await passes(count / rate)
        await cancel(tasks)
        return [time for _, time in granted]

    grants = run(act())
    assert_bounded(grants, burst=1, rate=rate, catch_up=0.002)
    assert len(grants) >= 0.995 * count - rate * 0.002  # the grants of the last 2 ms may be still to come
    assert len(grants) <= 1 + count + rate * 0.002


@settings(max_examples=60)
@given(keys=st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_keys_take_turns_each_in_its_own_order(keys):
    """With everybody queued, the order is a round robin over the keys in their order of arrival."""
    queues: dict[str, deque] = {}
    for index, key in enumerate(keys):
        queues.setdefault(key, deque()).append(index)
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*queues.values()))
    expected = [index for index in rounds if index is not None]

    async def act():
        bucket = make(burst=1)
        drain(bucket)
        granted, tasks = await queue_up(bucket, keys)
        await passes(len(keys))
        await asyncio.gather(*tasks)
        return indices(granted)

    assert run(act()) == expected


async def test_a_late_key_does_not_wait_for_another_keys_queue():
    """A hundred requests of one organization delay the first of another by one grant."""
    bucket = make(burst=1)
    drain(bucket)
    granted, tasks = await queue_up(bucket, ["busy"] * 100 + ["quiet"])
    await passes(0.2)
    assert indices(granted) == [0, 100]
    await cancel(tasks)


@settings(max_examples=60)
@given(
    count=st.integers(2, 40),
    cancellations=st.lists(st.tuples(st.floats(0, 0.2), st.integers(0, 38), st.booleans()), max_size=30),
)
def test_no_token_is_lost_to_cancellations(count, cancellations):
    """The last survivor is granted with the survivors' tokens, as if the cancelled waiters had never come."""

    async def act():
        bucket, start = make(), now()
        granted, tasks = await queue_up(bucket, [None] * count)
        for seconds, index, run_first in cancellations:
            advance(seconds)
            if run_first:
                await settle()
            if index < len(tasks) - 1:  # the last keeps the queue busy
                tasks[index].cancel()
            await settle()
            assert bucket.waiting <= len(tasks) - len(granted)
        await passes(count)
        state = bucket.snapshot()
        assert (state.granted, state.waiting) == (len(granted), 0)
        return granted[-1][1] - start, len(granted)

    finished, spent = run(act())
    needed = max(0.0, (spent - 5) / 10)
    # A jump of the clock over several grants drops the tokens beyond the burst.
    jumped = sum(seconds for seconds, _, _ in cancellations)
    assert needed - ROUNDING <= finished <= max(needed, jumped + needed) + TIMER_STEP * count


async def test_a_grant_to_a_task_cancelled_in_the_same_step_goes_to_the_next():
    """A waiter granted and cancelled before it ran gives the token back, and the next waiter has it at once."""
    bucket = make(burst=1)
    drain(bucket)
    granted, tasks = await queue_up(bucket, [None] * 2)
    advance(0.1)
    poke(bucket)
    tasks[0].cancel()
    await settle()
    assert indices(granted) == [1]
    assert bucket.snapshot().cancelled == 1


async def test_a_waiter_cancelled_in_the_step_of_the_timer_takes_no_token():
    """A waiter with a cancelled future, whose task has not run yet, is passed over."""
    bucket = make(burst=1)
    drain(bucket)
    granted, tasks = await queue_up(bucket, [None] * 2)
    tasks[0].cancel()
    advance(0.1)
    poke(bucket)
    await settle()
    assert indices(granted) == [1]
    assert bucket.snapshot().tokens == pytest.approx(0, abs=ROUNDING)


async def test_the_last_cancelled_waiter_takes_the_timer_with_it():
    """An empty queue leaves no timer behind, and the bucket is open again."""
    timers = Timers()
    bucket = make(burst=1)
    drain(bucket)
    _, tasks = await queue_up(bucket, "aab")
    await cancel(tasks)
    assert (bucket.waiting, timers.live) == (0, 0)
    advance(0.1)
    assert bucket.try_acquire()


async def test_a_cancellation_in_the_middle_or_at_the_end_keeps_the_order():
    """Leaving the list of a key anywhere leaves the others in their order."""
    bucket = make(burst=1)
    drain(bucket)
    granted, tasks = await queue_up(bucket, "aabbab")
    for index in (1, 3, 5):
        tasks[index].cancel()
    await passes(10)
    assert indices(granted) == [0, 2, 4]


async def test_a_key_keeps_its_position_if_its_head_is_cancelled():
    """Only a grant moves a key behind the others, even if the timer is first to find the cancelled head."""
    bucket = make(burst=1)
    drain(bucket)
    granted, tasks = await queue_up(bucket, "aaabb")
    tasks[0].cancel()
    await settle()
    tasks[1].cancel()
    advance(0.1)
    poke(bucket)
    await passes(10)
    assert indices(granted) == [2, 3, 4]


async def test_cancellations_make_no_timers():
    """The timer already set is early enough for any waiter left."""
    timers = Timers()
    bucket = make(burst=1)
    drain(bucket)
    _, tasks = await queue_up(bucket, [None] * 100)
    for task in tasks[:-1]:
        task.cancel()
    await settle()
    assert len(timers.delays) == 1
    await passes(0.1)
    await tasks[-1]


@pytest.mark.parametrize("ahead", [1, 3])
async def test_nobody_overtakes_a_granted_waiter_before_its_task_runs(ahead):
    """The timer grants; until the granted tasks run, a newcomer queues, though there are tokens for it."""
    timers = Timers()
    bucket = make(burst=ahead + 1)
    drain(bucket)
    order, _ = await queue_up(bucket, [None] * ahead)
    advance(0.1 * (ahead + 1))
    poke(bucket)  # grants, and runs no task
    assert bucket.waiting == 0
    assert not bucket.try_acquire()
    newcomer = asyncio.create_task(bucket.acquire())
    newcomer.add_done_callback(lambda _: order.append((ahead, now())))
    await passes(0.1)
    assert indices(order) == list(range(ahead + 1))
    advance(1)
    assert bucket.try_acquire()
    assert bucket.idle is False
    assert timers.live == 0


async def test_a_waiter_cancelled_between_its_grant_and_its_run_lets_a_newcomer_go():
    """Its token goes to the newcomer behind it, and the bucket is open again after that."""
    bucket = make(burst=1)
    drain(bucket)
    _, tasks = await queue_up(bucket, [None])
    advance(0.1)
    poke(bucket)
    newcomer = asyncio.create_task(bucket.acquire())
    tasks[0].cancel()
    await settle()
    assert newcomer.done()
    advance(0.1)
    assert bucket.try_acquire()


async def test_closing_lets_a_granted_waiter_go_and_nobody_else():
    """A grant made before stays a grant, and everything after it is rejected."""
    bucket = make(burst=1)
    drain(bucket)
    _, tasks = await queue_up(bucket, [None] * 2)
    advance(0.1)
    poke(bucket)
    bucket.close(RuntimeError)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], RuntimeError)
    with pytest.raises(RuntimeError):
        await bucket.acquire()


async def test_reserved_tokens_take_room():
    """Reserved and granted tokens together are never more than the burst, however long the wait."""
    bucket = make(burst=3)
    for _ in range(2):
        assert bucket.try_acquire()
        bucket.reserve()
    advance(3600)
    assert [bucket.try_acquire() for _ in range(2)] == [True, False]
    assert not bucket.idle
    bucket.consume()
    bucket.consume()
    advance(3600)
    assert [bucket.try_acquire() for _ in range(4)] == [True, True, True, False]


async def test_no_timer_runs_while_reserved_tokens_take_all_the_room():
    """Nothing can be granted before a token is consumed; the next token accrues from then on."""
    timers = Timers()
    bucket = make(burst=1)
    drain(bucket)
    bucket.reserve()
    granted, _ = await queue_up(bucket, [None] * 2)
    await passes(60)
    assert (granted, timers.delays) == ([], [])
    consumed_at = now()
    bucket.consume()
    await passes(60)
    assert [at for _, at in granted] == pytest.approx([consumed_at + 0.1, consumed_at + 0.2])


async def test_a_reserved_token_given_back_lets_the_next_go():
    """A wait cancelled after the grant costs nobody anything."""
    bucket = make(burst=1)
    drain(bucket)
    bucket.reserve()
    granted, _ = await queue_up(bucket, [None])
    bucket.consume()
    bucket.give_back()
    await settle()
    assert indices(granted) == [0]


@given(
    st.lists(st.tuples(st.sampled_from(["take", "use", "give back", "wait"]), st.floats(0, 2)), max_size=60),
    st.sampled_from([1.0, 1.5, 4.0]),
)
def test_the_bound_holds_for_the_use_of_tokens_however_long_they_are_reserved(actions, burst):
    """The moment of use counts for the bound, not the moment of the grant."""

    async def act():
        bucket, reserved, used = make(burst=burst), 0, []
        for action, seconds in actions:
            if action == "take" and bucket.try_acquire():
                bucket.reserve()
                reserved += 1
            elif action in ("use", "give back") and reserved:
                bucket.consume()
                reserved -= 1
                if action == "use":
                    used.append(now())
                else:
                    bucket.give_back()
            elif action == "wait":
                advance(seconds)
        return used

    assert_bounded(run(act()), burst=burst, rate=10)


async def test_closing_a_waiting_coroutine_leaves_the_queue():
    """A coroutine thrown away, not cancelled, does not take a token later."""
    bucket = make(burst=1)
    drain(bucket)
    coroutine = bucket.acquire()
    coroutine.send(None)
    assert bucket.waiting == 1
    coroutine.close()
    assert bucket.waiting == 0


async def test_a_thousand_waiters_need_one_timer_at_a_time_and_one_a_grant():
    """One timer is live however many wait, with ``max_wait`` too, and at most 1.1 callbacks run for each grant."""
    timers = Timers()
    bucket = make(rate=100.0)
    _, tasks = await queue_up(bucket, [index % 7 for index in range(1000)], max_wait=100)
    await passes(20)
    await asyncio.gather(*tasks)
    assert timers.most_live == 1
    assert len(timers.delays) <= 1000
    assert timers.fired <= 1100


async def test_one_late_timer_grants_all_accrued_tokens():
    """A timer 0.3 s late grants four tokens, and nobody else is woken."""
    timers = Timers()
    bucket = make()
    drain(bucket)
    granted, tasks = await queue_up(bucket, [None] * 6)
    advance(0.4)
    await settle()
    assert indices(granted) == [0, 1, 2, 3]
    assert timers.fired == 1
    await cancel(tasks)


async def test_no_timer_is_shorter_than_a_millisecond():
    """At 5,000/s a timer serves five waiters: a delay below 1 ms would make uvloop spin."""
    timers = Timers()
    bucket = make(rate=5000.0, burst=10)
    drain(bucket)
    _, tasks = await queue_up(bucket, [None] * 100)
    await passes(1)
    await asyncio.gather(*tasks)
    assert min(timers.delays) >= TIMER_STEP - 1e-9
    assert timers.fired <= 21


@pytest.mark.parametrize(("rate", "step"), [(700.0, 0.002), (300.0, 0.004), (500.0, 0.002)])
async def test_a_timer_is_a_whole_number_of_milliseconds_rounded_up(rate, step):
    """At 700/s a grant takes 1.43 ms: uvloop would round this to 1 ms, and a second timer would be needed."""
    timers = Timers()
    bucket = make(rate=rate, burst=1)
    drain(bucket)
    _, tasks = await queue_up(bucket, [None] * 50)
    await passes(1)
    await asyncio.gather(*tasks)
    assert timers.delays == pytest.approx([step] * 50, abs=1e-6)


@pytest.mark.parametrize("seconds", [0.0, 1e307])
async def test_a_wait_without_end_is_a_wait(seconds):
    """With a rate too small, or a pause too long, to count its seconds, a timer looks again every day."""
    timers = Timers()
    bucket = make(rate=5e-324, burst=1)
    drain(bucket)
    bucket.pause(seconds)
    _, tasks = await queue_up(bucket, [None])
    await passes(200_000)
    assert timers.delays == pytest.approx([86_400.0] * 3)
    await cancel(tasks)


@pytest.mark.parametrize(("catch_up", "count"), [(0.0, 1), (0.002, 3)])
async def test_catch_up_makes_good_the_lateness_of_a_timer(catch_up, count):
    """With burst 1 at 1,000/s a timer 9 ms late grants 1, or 3 with 2 ms of catch-up; after a rest always 1."""
    bucket = make(rate=1000.0, burst=1, catch_up=catch_up)
    drain(bucket)
    granted, _ = await queue_up(bucket, [None] * count)
    advance(0.01)
    await settle()
    assert len(granted) == count
    advance(1)
    assert [bucket.try_acquire() for _ in range(2)] == [True, False]


async def test_a_foreseeable_wait_longer_than_allowed_is_rejected_before_queueing():
    """The estimate in the error counts the queue, the missing tokens and the pause."""
    bucket = make()
    drain(bucket)
    _, tasks = await queue_up(bucket, [None] * 3)
    with pytest.raises(RateLimitWaitError) as caught:
        await bucket.acquire(max_wait=0.39)
    assert caught.value.estimated_wait == pytest.approx(0.4)
    assert bucket.waiting == 3
    last = asyncio.create_task(bucket.acquire(max_wait=0.41))
    await passes(0.5)
    assert await last == pytest.approx(0.4)
    await asyncio.gather(*tasks)
    drain(bucket)
    bucket.pause(60)
    with pytest.raises(RateLimitWaitError, match="about 60 s, more than the 59 s") as caught:
        await bucket.acquire(max_wait=59)
    assert caught.value.estimated_wait == pytest.approx(60)


@settings(max_examples=60)
@given(keys=st.lists(st.sampled_from("abcd"), max_size=30), key=st.sampled_from("abcde"))
def test_the_estimate_is_never_below_the_wait_and_exact_for_a_key_without_waiters(keys, key):
    """With everybody queued, the wait is at most the estimate."""

    async def act():
        bucket = make(burst=1)
        drain(bucket)
        _, tasks = await queue_up(bucket, keys)
        estimate = bucket.estimate(key)
        last = asyncio.create_task(bucket.acquire(key=key))
        await passes(len(keys) + 1)
        await asyncio.gather(*tasks)
        return estimate, await last

    estimate, waited = run(act())
    assert waited <= estimate + 0.002
    assert estimate <= 0.1 * (len(keys) + 1) + 0.002
    if key not in keys or len(set(keys)) == 1:
        assert waited == pytest.approx(estimate, abs=0.002)


async def rejected_after(bucket, max_wait, event):
    """Return the seconds until a queued waiter is rejected, with an event 0.1 s after it queued, and the error."""
    began = now()
    task = asyncio.create_task(bucket.acquire("a", max_wait))
    await passes(0.1)
    event()
    with pytest.raises(RateLimitWaitError) as caught:
        await task
    return now() - began, caught.value


async def test_a_pause_beyond_max_wait_rejects_at_once():
    """A 429 during the wait makes the wait too long: the waiter is told right then, with the estimate."""
    timers = Timers()
    bucket = make(burst=1, rate=2)
    drain(bucket)
    after, error = await rejected_after(bucket, 0.5, lambda: bucket.pause(3))
    assert after == pytest.approx(0.1, abs=TIMER_STEP)
    assert error.estimated_wait == pytest.approx(3.1, abs=TIMER_STEP)
    assert (bucket.waiting, timers.live) == (0, 0)


def overtake(bucket):
    for key in "bcdefgh":
        asyncio.get_running_loop().create_task(bucket.acquire(key))


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(lambda bucket: bucket.set_limit(0.01, 1), id="a lower rate"),
        pytest.param(lambda bucket: bucket.reserve(), id="a reserved token"),
    ],
)
async def test_max_wait_is_kept_if_the_wait_turns_out_longer(event):
    """A waiter is rejected no later than its ``max_wait``, whatever makes the wait longer than estimated."""
    timers = Timers()
    bucket = make(burst=1, rate=2)
    drain(bucket)
    after, error = await rejected_after(bucket, 0.5, lambda: event(bucket))
    assert after == pytest.approx(0.5, abs=2 * TIMER_STEP)
    assert error.estimated_wait > 0.5
    assert (bucket.waiting, timers.live) == (0, 0)


async def test_max_wait_is_kept_if_other_keys_come_first():
    """New keys overtake the second request of a key; it is rejected in time, and they are granted."""
    bucket = make(burst=1)
    drain(bucket)
    first, tasks = await queue_up(bucket, "aa", max_wait=0.25)
    others, _ = await queue_up(bucket, "bcdef")
    await passes(0.249)
    assert not tasks[1].done()
    await passes(0.002)
    assert isinstance(tasks[1].exception(), RateLimitWaitError)
    await passes(1)
    assert (len(first), len(others)) == (1, 5)


async def test_the_earliest_expiry_counts_wherever_it_stands_in_the_queue():
    """A later waiter with less patience moves the timer forward, and its rejection leaves the others in order."""
    timers = Timers()
    bucket = make(burst=1)
    drain(bucket)
    bucket.reserve()
    granted, patient = await queue_up(bucket, "ab", max_wait=60)
    _, hasty = await queue_up(bucket, "a", max_wait=1)
    await passes(1.001)
    assert isinstance(hasty[0].exception(), RateLimitWaitError)
    bucket.consume()
    await asyncio.gather(*patient)
    assert indices(granted) == [0, 1]
    assert timers.most_live == 1


async def test_an_expired_waiter_cancelled_in_the_same_step_takes_no_token():
    """Its task ends with the cancellation, and the account is unchanged."""
    bucket = make(burst=1, rate=2)
    drain(bucket)
    _, tasks = await queue_up(bucket, [None] * 2, max_wait=5)
    bucket.pause(60)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[0].cancelled()
    assert isinstance(tasks[1].exception(), RateLimitWaitError)
    assert (bucket.snapshot().granted, bucket.waiting) == (1, 0)


async def test_a_waiter_cancelled_before_it_expires_is_passed_over():
    """The cancelled future is not touched, and the others are rejected."""
    bucket = make(burst=1, rate=2)
    drain(bucket)
    _, tasks = await queue_up(bucket, [None] * 2, max_wait=5)
    tasks[1].cancel()
    bucket.pause(60)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[1].cancelled()
    assert isinstance(tasks[0].exception(), RateLimitWaitError)


async def test_a_pause_holds_everybody_until_the_later_of_two_ends():
    """A shorter pause does not shorten a longer one, and a full bucket waits as well."""
    bucket = make()
    bucket.pause(2)
    bucket.pause(1)
    assert bucket.paused
    assert not bucket.try_acquire()
    assert bucket.snapshot().paused_for == 2
    granted, tasks = await queue_up(bucket, [None] * 6)
    bucket.pause(3)
    await passes(2.9)
    assert granted == []
    await passes(0.1)
    assert len(granted) == 5
    await passes(0.1)
    await asyncio.gather(*tasks)
    assert bucket.snapshot().paused_for == 0
    assert not bucket.paused


async def test_a_new_rate_moves_the_next_grant():
    """A faster rate brings the next grant forward, a slower one puts it off."""
    timers = Timers()
    bucket = make(rate=1.0, burst=1)
    drain(bucket)
    granted, tasks = await queue_up(bucket, [None] * 3)
    bucket.set_limit(10, 1)
    await passes(0.1)
    assert len(granted) == 1
    bucket.set_limit(0.5, 1)
    await passes(1.9)
    assert len(granted) == 1
    await passes(0.1)
    assert len(granted) == 2
    assert bucket.rate == 0.5
    assert timers.most_live == 1
    await cancel(tasks)


async def test_a_new_burst_keeps_the_tokens_it_has_room_for():
    """A larger burst fills at the rate, a smaller one drops tokens, and reserved tokens keep their room."""
    bucket = make()
    assert bucket.try_acquire()
    bucket.reserve()
    bucket.set_limit(10, 50)
    assert bucket.snapshot().tokens == 4
    bucket.set_limit(10, 3)
    assert bucket.snapshot().tokens == 2
    advance(60)
    assert bucket.snapshot().tokens == 2
    bucket.consume()
    advance(60)
    assert bucket.snapshot().tokens == 3


async def test_a_token_given_back_serves_a_waiter_and_is_capped_at_the_burst():
    """It goes to the first waiter; to a full bucket it adds nothing."""
    bucket = make()
    drain(bucket)
    granted, _ = await queue_up(bucket, [None])
    bucket.give_back()
    await settle()
    assert len(granted) == 1
    assert bucket.snapshot().granted == 5
    advance(10)
    bucket.give_back()
    assert bucket.snapshot().tokens == 5


async def test_closing_raises_a_fresh_error_in_every_waiter():
    """All wake in one step with fresh errors, a cancelled one with its cancellation; later ones are rejected."""
    timers = Timers()
    bucket = make()
    drain(bucket)
    tasks = [asyncio.create_task(bucket.acquire(key=key)) for key in "abca"]
    await settle()
    tasks[1].cancel()
    bucket.close(lambda: ClientClosedError("closed"))
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [
        ClientClosedError, asyncio.CancelledError, ClientClosedError, ClientClosedError,
    ]  # fmt: skip
    assert len({id(error) for error in errors}) == 4
    assert timers.live == 0
    advance(10)
    assert not bucket.try_acquire()
    with pytest.raises(ClientClosedError):
        await bucket.acquire()


async def test_a_snapshot_shows_the_state_and_idle_means_like_new():
    """Idle is full, unpaused and without waiters; a snapshot changes nothing."""
    bucket = make()
    assert bucket.idle
    bucket.pause(1)
    assert not bucket.idle
    advance(1)
    assert bucket.idle
    drain(bucket)
    assert not bucket.idle
    _, tasks = await queue_up(bucket, [None])
    advance(0.05)
    state = bucket.snapshot()
    assert (state.rate, state.burst, state.waiting, state.granted) == (10, 5, 1, 5)
    assert state.tokens == pytest.approx(0.5)
    await cancel(tasks)


async def test_a_bucket_without_a_limit_has_no_numbers_to_show():
    """Rate, burst and tokens are None; pauses and grants are shown as ever."""
    bucket = make(rate=UNLIMITED, burst=UNLIMITED)
    assert all(bucket.try_acquire() for _ in range(1000))
    bucket.pause(2)
    state = bucket.snapshot()
    assert (state.rate, state.burst, state.tokens) == (None, None, None)
    assert (state.granted, state.paused_for) == (1000, 2)


def test_a_bucket_made_outside_a_loop_waits_in_any_loop():
    """In two asyncio loops one after the other, and then in a loop with a clock of its own."""
    bucket = TokenBucket(rate=20.0, burst=1)
    for _ in range(2):
        drain(bucket)
        assert 0 < asyncio.run(bucket.acquire()) < 60

    async def wait_a_second():
        bucket.set_limit(1, 1)
        return await bucket.acquire() + await bucket.acquire()

    assert 1 <= run(wait_a_second()) <= 2 + TIMER_STEP


def test_a_pause_goes_on_in_the_next_loop():
    """A loop with another clock takes over the rest of the pause, and a later loop does not wait for the first."""
    bucket = make()

    async def pause():
        advance(5000)
        bucket.pause(10)
        await passes(4)

    async def wait():
        return await bucket.acquire()

    async def be_rejected():
        with pytest.raises(RateLimitWaitError):
            await bucket.acquire(max_wait=1)
        advance(6)
        return bucket.try_acquire()

    run(pause())
    assert run(wait()) == pytest.approx(6)
    assert run(wait()) == 0.0
    run(pause())
    assert run(be_rejected())


def test_the_reader_of_the_clock_is_the_running_loops():
    """It is monotonic time in asyncio's loops, one shared function per other loop, and works outside loops."""

    async def read():
        assert clock.reader() == clock.reader()
        reader, loop = clock.reader(), asyncio.get_running_loop()
        assert loop.time() <= reader() <= loop.time()
        return reader

    assert asyncio.run(read()) is time.monotonic
    first, second = run(read()), run(read())
    assert (first(), second()) == (START, START)
    assert first.__self__ is not second.__self__
    assert clock.reader() is clock.now


def test_a_loop_with_another_clock_is_never_read_as_asyncios():
    """A clock patched into one asyncio loop counts, as a subclass does."""

    async def read():
        loop = asyncio.get_running_loop()
        loop.time = lambda: 5.0
        try:
            return clock.reader()()
        finally:
            del loop.time

    assert asyncio.run(read()) == 5.0
