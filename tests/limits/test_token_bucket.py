"""The token bucket grants no more than it may, in the right order, and loses nothing."""

import asyncio
import itertools
import math
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls_in_progress_async.errors import ClientClosedError, InvalidRequestError, RateLimitWaitError
from calls_in_progress_async.limits.token_bucket import TIMER_STEP, TokenBucket

ROUNDING = 1e-5


def make(wheel, *, rate=10.0, burst=5.0, **more):
    return TokenBucket(rate=rate, burst=burst, clock=wheel.clock, call_at=wheel.call_at, **more)


def drain(bucket):
    while bucket.try_acquire():
        pass


async def queue_up(wheel, bucket, waits):
    """Start one task for each (cost, key); the list it returns fills with (index, time) as they are granted."""
    granted = []

    async def one(index, cost, key):
        await bucket.acquire(cost, key=key)
        granted.append((index, wheel.now))

    tasks = [asyncio.create_task(one(index, cost, key)) for index, (cost, key) in enumerate(waits)]
    await wheel.settle()
    return granted, tasks


async def test_a_full_bucket_grants_its_burst_without_waiting(wheel):
    """A burst is had at once, alternating the two ways in, and not one token more."""
    bucket = make(wheel, burst=4)
    assert bucket.try_acquire()
    assert await bucket.acquire() == 0.0
    assert bucket.try_acquire(2)
    assert not bucket.try_acquire()
    assert wheel.made == 0


def test_tokens_accrue_at_the_rate_and_never_above_the_burst(wheel):
    """Half a second at 10/s is 5 tokens; an hour is no more than the burst."""
    bucket = make(wheel, burst=8)
    drain(bucket)
    wheel.turn(0.5)
    assert sum(bucket.try_acquire() for _ in range(20)) == 5
    wheel.turn(3600)
    assert sum(bucket.try_acquire() for _ in range(20)) == 8


def test_what_has_accrued_is_had_without_giving_up_the_loop(wheel):
    """An uncontended acquire makes no future and ends in its first step, also when the bucket was empty before."""
    bucket = make(wheel, burst=2)
    for seconds, count in [(0, 2), (0.1, 1), (3600, 2)]:
        wheel.turn(seconds)
        for _ in range(count):
            with pytest.raises(StopIteration) as ended:
                bucket.acquire().send(None)
            assert ended.value.value == 0.0
        assert bucket.snapshot().tokens == pytest.approx(0)


@pytest.mark.parametrize("cost", [0, -1, math.nan, 5.1, math.inf])
async def test_a_cost_that_can_never_be_had_is_refused_by_name(wheel, cost):
    """It is refused at once, so that it cannot block the queue for ever."""
    bucket = make(wheel)
    assert not bucket.try_acquire(cost)
    with pytest.raises(InvalidRequestError, match="cost") as caught:
        await bucket.acquire(cost)
    assert caught.value.parameter == "cost"
    assert bucket.snapshot().tokens == 5


@pytest.mark.parametrize("name", ["rate", "burst"])
@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, True, "5", None, 10**400])
def test_rate_and_burst_are_finite_numbers_above_zero(name, bad):
    """A bucket cannot be made from anything else, and the error names the parameter."""
    with pytest.raises(InvalidRequestError) as caught:
        TokenBucket(**{"rate": 1.0, "burst": 1.0, name: bad})
    assert caught.value.parameter == name


waits = st.lists(st.tuples(st.floats(0.05, 5.0), st.sampled_from("abc")), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(
    waits=waits,
    pauses=st.lists(st.floats(0, 1), max_size=4),
    lateness=st.floats(0, 0.3),
    catch_up=st.sampled_from([0.0, 0.05]),
)
def test_no_window_sees_more_than_burst_and_rate_allow(make_wheel, waits, pauses, lateness, catch_up):
    """In any window of t seconds at most ``burst + rate * t`` is granted, however late the timers are."""
    wheel = make_wheel()
    bucket = make(wheel, catch_up=catch_up)

    async def run():
        granted, tasks = await queue_up(wheel, bucket, waits)
        for pause in [*pauses, 0]:
            bucket.pause(pause)
            await wheel.run(pause)
            wheel.now += lateness
        await wheel.run(100)
        await asyncio.gather(*tasks)
        return [(time, waits[index][0]) for index, time in granted]

    assert_bounded(asyncio.run(run()), burst=5, rate=10, catch_up=catch_up)
    assert wheel.most_live <= 1
    assert wheel.live == 0


def assert_bounded(grants, *, burst, rate, catch_up):
    """No window is over the bound, by more than the rounding of a timer."""
    for start in range(len(grants)):
        total = 0.0
        for time, cost in grants[start:]:
            total += cost
            assert total <= burst + rate * (time - grants[start][0] + catch_up) + ROUNDING


deeds = st.one_of(
    st.tuples(st.just("wait"), st.floats(0.05, 3.0)),
    st.tuples(st.just("try"), st.floats(0.05, 3.0)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("pause"), st.floats(0, 0.5)),
)


@settings(max_examples=100, deadline=None)
@given(
    deeds=st.lists(st.tuples(st.floats(0, 0.4), deeds), min_size=1, max_size=40),
    lateness=st.lists(st.floats(0, 0.3), min_size=1, max_size=10),
    catch_up=st.sampled_from([0.0, 0.002, 0.2]),
)
def test_the_bound_holds_whatever_is_done_and_however_late_each_timer_is(make_wheel, deeds, lateness, catch_up):
    """Who comes while others wait, who does not wait, who is cancelled and what is paused change nothing of it."""
    wheel = make_wheel()
    wheel.lateness = itertools.cycle(lateness)
    bucket = make(wheel, burst=3.0, catch_up=catch_up)
    grants, tasks = [], []

    async def one(cost):
        await bucket.acquire(cost)
        grants.append((wheel.now, cost))

    async def run():
        for seconds, (what, amount) in deeds:
            if what == "wait":
                tasks.append(asyncio.create_task(one(amount)))
            elif what == "try" and bucket.try_acquire(amount):
                grants.append((wheel.now, amount))
            elif what == "cancel" and amount < len(tasks):
                tasks[amount].cancel()
            elif what == "pause":
                bucket.pause(amount)
            await wheel.run(seconds)
        await wheel.run(100)
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    assert_bounded(grants, burst=3, rate=10, catch_up=catch_up)
    assert bucket.snapshot().granted == len(grants)
    assert wheel.live == 0


@settings(max_examples=20, deadline=None)
@given(
    rate=st.floats(50, 5_000),
    lateness=st.lists(st.floats(0, 0.001), min_size=1, max_size=20),
)
def test_two_milliseconds_of_catch_up_make_good_timers_a_millisecond_late(make_wheel, rate, lateness):
    """With burst 1 the whole rate is had, and at most 2 ms of it above the bound."""
    wheel = make_wheel()
    wheel.lateness = itertools.cycle(lateness)
    bucket = make(wheel, rate=rate, burst=1, catch_up=0.002)
    count = 400
    ends = count / rate

    async def run():
        granted, tasks = await queue_up(wheel, bucket, [(1.0, None)] * (count + 20))
        start = wheel.now
        await wheel.run(ends)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return [(time - start, 1.0) for _, time in granted]

    grants = asyncio.run(run())
    assert_bounded(grants, burst=1, rate=rate, catch_up=0.002)
    assert len(grants) >= 0.995 * count - rate * 0.002  # of which the last 2 ms may be still to come
    assert len(grants) <= 1 + count + rate * 0.002


@settings(max_examples=60, deadline=None)
@given(costs=st.lists(st.floats(0.05, 5.0), min_size=1, max_size=40))
def test_one_key_is_served_in_strict_order_of_arrival(make_wheel, costs):
    """No small request overtakes a large one, and none is starved."""
    wheel = make_wheel()

    async def run():
        granted, tasks = await queue_up(wheel, make(wheel), [(cost, None) for cost in costs])
        await wheel.run(sum(costs))
        await asyncio.gather(*tasks)
        return [index for index, _ in granted]

    assert asyncio.run(run()) == list(range(len(costs)))


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_keys_take_turns_each_in_its_own_order(make_wheel, keys):
    """With everybody queued, the order is that of a round robin over the keys as they came."""
    wheel = make_wheel()
    queues: dict[str, deque] = {}
    for index, key in enumerate(keys):
        queues.setdefault(key, deque()).append(index)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues.values()))
    expected = [index for index in turns if index is not None]

    async def run():
        bucket = make(wheel, burst=1)
        drain(bucket)
        granted, tasks = await queue_up(wheel, bucket, [(1.0, key) for key in keys])
        await wheel.run(len(keys))
        await asyncio.gather(*tasks)
        return [index for index, _ in granted]

    assert asyncio.run(run()) == expected


async def test_a_key_that_comes_late_does_not_wait_for_another_keys_queue(wheel):
    """A hundred requests of one organization delay another's first by one turn."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    granted, tasks = await queue_up(wheel, bucket, [(1.0, "busy")] * 100 + [(1.0, "quiet")])
    await wheel.run(0.2)
    assert [index for index, _ in granted] == [0, 100]
    for task in tasks:
        task.cancel()


@settings(max_examples=60, deadline=None)
@given(
    # Two of them fill the bucket at most: what is returned beyond a full one is dropped, as the bound demands.
    costs=st.lists(st.floats(0.5, 2.5), min_size=2, max_size=30),
    cancellations=st.lists(st.tuples(st.floats(0, 0.4), st.integers(0, 28), st.booleans()), max_size=30),
)
def test_no_token_is_lost_to_cancellations(make_wheel, costs, cancellations):
    """The last survivor is granted when the survivors' costs have accrued, as if the cancelled had never come."""
    wheel = make_wheel()

    async def run():
        bucket = make(wheel)
        start = wheel.now
        granted, tasks = await queue_up(wheel, bucket, [(cost, None) for cost in costs])
        for seconds, index, run_first in cancellations:
            wheel.turn(seconds)
            if run_first:
                await wheel.settle()
            if index < len(tasks) - 1:  # the last keeps the queue busy
                tasks[index].cancel()
            await wheel.settle()
            assert bucket.waiting <= len(tasks) - len(granted)
        await wheel.run(sum(costs))
        spent = sum(costs[index] for index, _ in granted)
        snapshot = bucket.snapshot()
        assert snapshot.granted == len(granted)
        assert snapshot.waiting == 0
        return granted[-1][1] - start, spent

    finished, spent = asyncio.run(run())
    asked_for = max(0.0, (spent - 5) / 10)
    turned = sum(seconds for seconds, _, _ in cancellations)
    assert finished <= max(asked_for, turned) + TIMER_STEP * len(costs)
    assert finished >= asked_for - ROUNDING


async def test_a_token_granted_in_the_step_of_the_cancellation_goes_to_the_next(wheel):
    """Granted, cancelled before it ran: the token is given back and the next waiter has it at once."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    granted, tasks = await queue_up(wheel, bucket, [(1.0, None), (1.0, None)])
    wheel.turn(0.1)
    tasks[0].cancel()
    await wheel.settle()
    assert [index for index, _ in granted] == [1]
    assert bucket.snapshot().cancelled == 1


async def test_a_waiter_cancelled_in_the_step_of_the_timer_takes_no_token(wheel):
    """Its future is cancelled and its task not yet told when the timer fires: it is passed over."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    granted, tasks = await queue_up(wheel, bucket, [(1.0, None), (1.0, None)])
    tasks[0].cancel()
    wheel.turn(0.1)
    await wheel.settle()
    assert [index for index, _ in granted] == [1]
    assert bucket.snapshot().tokens == pytest.approx(0, abs=ROUNDING)


async def test_a_cancelled_head_lets_the_next_go_at_once(wheel):
    """A large request at the head blocks a small one for as long as it is there, and no longer."""
    bucket = make(wheel)
    assert bucket.try_acquire(3)
    granted, tasks = await queue_up(wheel, bucket, [(5.0, None), (1.0, None), (5.0, None)])
    assert granted == []
    tasks[0].cancel()
    await wheel.settle()
    assert [index for index, _ in granted] == [1]
    tasks[2].cancel()
    await wheel.settle()
    assert wheel.live == 0


async def test_a_cancellation_in_the_middle_or_at_the_end_keeps_the_order(wheel):
    """Leaving the list of a key anywhere leaves the others as they were."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    granted, tasks = await queue_up(wheel, bucket, [(1.0, key) for key in "aabbab"])
    for index in (1, 3, 5):
        tasks[index].cancel()
    await wheel.run(10)
    assert [index for index, _ in granted] == [0, 2, 4]


async def test_a_key_whose_head_is_cancelled_keeps_its_turn(wheel):
    """Only a grant ends a turn, also where the timer is what finds the cancelled head."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    granted, tasks = await queue_up(wheel, bucket, [(1.0, key) for key in "aaabb"])
    tasks[0].cancel()
    await wheel.settle()
    tasks[1].cancel()
    wheel.turn(0.1)
    await wheel.run(10)
    assert [index for index, _ in granted] == [2, 3, 4]


async def test_cancellations_make_no_timers(wheel):
    """The timer that runs is early enough for whoever is left."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    _, tasks = await queue_up(wheel, bucket, [(1.0, None)] * 100)
    for task in tasks[:-1]:
        task.cancel()
    await wheel.settle()
    assert wheel.made == 1
    await wheel.run(0.1)
    await tasks[-1]


@pytest.mark.parametrize("ahead", [1, 3])
async def test_nobody_overtakes_those_whose_turn_has_come_and_who_have_not_run_yet(wheel, ahead):
    """The timer grants; until the granted tasks run, a newcomer queues, though there are tokens for it."""
    bucket = make(wheel, burst=ahead + 1)
    drain(bucket)
    order, _ = await queue_up(wheel, bucket, [(1.0, None)] * ahead)
    wheel.turn(0.1 * (ahead + 1))  # grants, and runs no task
    assert bucket.waiting == 0
    assert not bucket.try_acquire()
    newcomer = asyncio.create_task(bucket.acquire())
    newcomer.add_done_callback(lambda _: order.append((ahead, wheel.now)))
    await wheel.settle()
    await wheel.run(0.1)
    assert [index for index, _ in order] == list(range(ahead + 1))
    assert newcomer.done()
    wheel.turn(1)
    assert bucket.try_acquire()
    assert bucket.idle is False
    assert wheel.live == 0


async def test_one_cancelled_between_its_turn_and_its_run_lets_a_newcomer_go(wheel):
    """Its token goes to whoever queued behind it meanwhile, and the bucket is open again after that."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    _, tasks = await queue_up(wheel, bucket, [(1.0, None)])
    wheel.turn(0.1)
    newcomer = asyncio.create_task(bucket.acquire())
    tasks[0].cancel()
    await wheel.settle()
    assert newcomer.done()
    wheel.turn(0.1)
    assert bucket.try_acquire()


async def test_a_bucket_closed_between_a_turn_and_its_run_lets_that_one_go_and_no_other(wheel):
    """What was granted stays granted, and everything after it is refused."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    _, tasks = await queue_up(wheel, bucket, [(1.0, None)] * 2)
    wheel.turn(0.1)
    bucket.close(RuntimeError)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] is None or isinstance(results[0], float)
    assert isinstance(results[1], RuntimeError)
    with pytest.raises(RuntimeError):
        await bucket.acquire()


async def test_tokens_that_are_held_take_room(wheel):
    """What cannot be used yet does not pile up: held and granted, there are never more than the burst."""
    bucket = make(wheel, burst=3)
    for _ in range(2):
        assert bucket.try_acquire()
        bucket.hold()
    wheel.turn(3600)
    assert [bucket.try_acquire() for _ in range(2)] == [True, False]
    assert not bucket.idle
    bucket.use()
    bucket.use()
    wheel.turn(3600)
    assert [bucket.try_acquire() for _ in range(4)] == [True, True, True, False]


async def test_while_all_room_is_taken_no_timer_runs(wheel):
    """Nothing can be granted before a token is used, and then after the time that one takes."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    bucket.hold()
    granted, _ = await queue_up(wheel, bucket, [(1.0, None)] * 2)
    await wheel.run(60)
    assert (granted, wheel.made) == ([], 0)
    used_at = wheel.now
    bucket.use()
    await wheel.run(60)
    assert [at for _, at in granted] == pytest.approx([used_at + 0.1, used_at + 0.2])


async def test_one_who_holds_a_token_and_gives_it_back_lets_the_next_go(wheel):
    """A wait that is cancelled after the grant costs nobody anything."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    bucket.hold()
    granted, _ = await queue_up(wheel, bucket, [(1.0, None)])
    bucket.use()
    bucket.give_back()
    await wheel.settle()
    assert [index for index, _ in granted] == [0]


@given(
    st.lists(st.tuples(st.sampled_from(["take", "use", "give back", "wait"]), st.floats(0, 2)), max_size=60),
    st.sampled_from([1.0, 1.5, 4.0]),
)
def test_no_window_sees_more_used_than_burst_and_rate_allow_however_long_tokens_are_held(make_wheel, acts, burst):
    """What counts is when they are used, not when they were granted."""
    wheel = make_wheel()
    bucket = make(wheel, burst=burst)
    held, used = 0, []
    for act, seconds in acts:
        if act == "take" and bucket.try_acquire():
            bucket.hold()
            held += 1
        elif act in ("use", "give back") and held:
            bucket.use()
            held -= 1
            if act == "use":
                used.append(wheel.now)
            else:
                bucket.give_back()
        elif act == "wait":
            wheel.turn(seconds)
    for first, last in itertools.combinations_with_replacement(range(len(used)), 2):
        assert last - first + 1 <= burst + 10 * (used[last] - used[first]) + ROUNDING


async def test_closing_a_waiting_coroutine_leaves_the_queue(wheel):
    """A coroutine that is thrown away, not cancelled, does not take a token later."""
    bucket = make(wheel, burst=1)
    drain(bucket)
    coroutine = bucket.acquire()
    coroutine.send(None)
    assert bucket.waiting == 1
    coroutine.close()
    assert bucket.waiting == 0


async def test_a_thousand_waiters_need_one_timer_at_a_time_and_one_a_grant(wheel):
    """However many wait, one timer is live, and at most 1.1 callbacks run for each grant."""
    bucket = make(wheel, rate=100.0)
    _, tasks = await queue_up(wheel, bucket, [(1.0, index % 7) for index in range(1000)])
    await wheel.run(20)
    await asyncio.gather(*tasks)
    assert wheel.most_live == 1
    assert wheel.made <= 1000
    assert wheel.fired <= 1100


async def test_one_late_timer_grants_all_that_has_accrued(wheel):
    """A timer that fires 0.3 s late grants four tokens, and nobody else is woken."""
    bucket = make(wheel)
    drain(bucket)
    granted, tasks = await queue_up(wheel, bucket, [(1.0, None)] * 6)
    wheel.now += 0.4
    wheel.turn(0)
    await wheel.settle()
    assert [index for index, _ in granted] == [0, 1, 2, 3]
    assert wheel.fired == 1
    for task in tasks:
        task.cancel()


async def test_no_timer_is_shorter_than_a_millisecond(wheel):
    """At 5,000/s a timer serves five waiters: a delay below 1 ms would make uvloop spin."""
    bucket = make(wheel, rate=5000.0, burst=10)
    drain(bucket)
    _, tasks = await queue_up(wheel, bucket, [(1.0, None)] * 100)
    await wheel.run(1)
    await asyncio.gather(*tasks)
    assert min(wheel.delays) >= TIMER_STEP - 1e-9
    assert wheel.fired <= 21


@pytest.mark.parametrize(("rate", "step"), [(700.0, 0.002), (300.0, 0.004), (500.0, 0.002)])
async def test_a_timer_is_a_whole_number_of_milliseconds_rounded_up(wheel, rate, step):
    """At 700/s a grant takes 1.43 ms: uvloop would round that to 1 ms, and a second timer would be needed."""
    bucket = make(wheel, rate=rate, burst=1)
    drain(bucket)
    _, tasks = await queue_up(wheel, bucket, [(1.0, None)] * 50)
    await wheel.run(1)
    await asyncio.gather(*tasks)
    assert wheel.delays == pytest.approx([step] * 50)


@pytest.mark.parametrize("seconds", [0.0, 1e307])
async def test_a_wait_without_end_is_a_wait(wheel, seconds):
    """A rate so small, or a pause so long, that its seconds cannot be counted: a timer looks again every day."""
    bucket = make(wheel, rate=5e-324, burst=1)
    drain(bucket)
    bucket.pause(seconds)
    _, tasks = await queue_up(wheel, bucket, [(1.0, None)])
    await wheel.run(200_000)
    assert wheel.delays == pytest.approx([86_400.0] * 3)
    tasks[0].cancel()


@pytest.mark.parametrize(("catch_up", "count"), [(0.0, 1), (0.002, 3)])
async def test_catch_up_makes_good_the_lateness_of_a_timer(wheel, catch_up, count):
    """With burst 1 at 1,000/s a timer 9 ms late grants one, or three with 2 ms of catch-up; at rest always one."""
    bucket = make(wheel, rate=1000.0, burst=1, catch_up=catch_up)
    drain(bucket)
    granted, _ = await queue_up(wheel, bucket, [(1.0, None)] * count)
    wheel.now += 0.01
    wheel.turn(0)
    await wheel.settle()
    assert len(granted) == count
    wheel.turn(1)
    assert [bucket.try_acquire() for _ in range(2)] == [True, False]


async def test_a_wait_longer_than_allowed_is_refused_before_queueing(wheel):
    """The estimate counts the queue, the deficit and the pause, and stands in the error."""
    bucket = make(wheel)
    drain(bucket)
    _, tasks = await queue_up(wheel, bucket, [(1.0, None)] * 3)
    with pytest.raises(RateLimitWaitError) as caught:
        await bucket.acquire(max_wait=0.39)
    assert caught.value.estimated_wait == pytest.approx(0.4)
    assert bucket.waiting == 3
    last = asyncio.create_task(bucket.acquire(max_wait=0.41))
    await wheel.run(0.5)
    assert await last == pytest.approx(0.4)
    await asyncio.gather(*tasks)
    drain(bucket)
    bucket.pause(60)
    with pytest.raises(RateLimitWaitError) as caught:
        await bucket.acquire(max_wait=59)
    assert caught.value.estimated_wait == pytest.approx(60)
    other = make(wheel)
    drain(other)
    other.pause(0.3)
    with pytest.raises(RateLimitWaitError) as caught:
        await other.acquire(5, max_wait=0.1)
    assert caught.value.estimated_wait == pytest.approx(0.5)  # three of the five tokens accrue in the pause


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(st.sampled_from("abcd"), max_size=30), key=st.sampled_from("abcde"))
def test_the_estimate_is_never_below_the_wait_and_exact_for_a_key_that_does_not_wait(make_wheel, keys, key):
    """It counts turns, not the queue: with everybody queued the wait is at most what it says."""
    wheel = make_wheel()

    async def run():
        bucket = make(wheel, burst=1)
        drain(bucket)
        _, tasks = await queue_up(wheel, bucket, [(1.0, each) for each in keys])
        with pytest.raises(RateLimitWaitError) as caught:
            await bucket.acquire(key=key, max_wait=0)
        last = asyncio.create_task(bucket.acquire(key=key))
        await wheel.run(len(keys) + 1)
        await asyncio.gather(*tasks)
        return caught.value.estimated_wait, await last

    estimate, waited = asyncio.run(run())
    assert waited <= estimate + 0.002
    assert estimate <= 0.1 * (len(keys) + 1) + 0.002
    if key not in keys or len(set(keys)) == 1:
        assert waited == pytest.approx(estimate, abs=0.002)


async def test_a_pause_holds_everybody_until_the_later_of_two_ends(wheel):
    """A shorter pause does not shorten a longer one, and a full bucket waits as well."""
    bucket = make(wheel)
    bucket.pause(2)
    bucket.pause(1)
    assert not bucket.try_acquire()
    assert bucket.snapshot().paused_for == 2
    granted, tasks = await queue_up(wheel, bucket, [(1.0, None)] * 6)
    bucket.pause(3)
    await wheel.run(2.9)
    assert granted == []
    await wheel.run(0.1)
    assert len(granted) == 5
    await wheel.run(0.1)
    await asyncio.gather(*tasks)
    assert bucket.snapshot().paused_for == 0


async def test_a_new_rate_moves_the_turn_of_those_who_wait(wheel):
    """A faster rate brings the next turn forward, a slower one puts it off."""
    bucket = make(wheel, rate=1.0, burst=1)
    drain(bucket)
    granted, tasks = await queue_up(wheel, bucket, [(1.0, None)] * 3)
    bucket.set_rate(10)
    await wheel.run(0.1)
    assert len(granted) == 1
    bucket.set_rate(0.5)
    await wheel.run(1.9)
    assert len(granted) == 1
    await wheel.run(0.1)
    assert len(granted) == 2
    assert bucket.rate == 0.5
    assert wheel.most_live == 1
    with pytest.raises(InvalidRequestError):
        bucket.set_rate(math.nan)
    tasks[2].cancel()


async def test_what_is_given_back_serves_a_waiter_and_is_capped_at_the_burst(wheel):
    """A token given back goes to the first waiter; to a full bucket it adds nothing."""
    bucket = make(wheel)
    drain(bucket)
    granted, _ = await queue_up(wheel, bucket, [(1.0, None)])
    bucket.give_back()
    await wheel.settle()
    assert len(granted) == 1
    assert bucket.snapshot().granted == 5
    wheel.turn(10)
    bucket.give_back(3)
    assert bucket.snapshot().tokens == 5


async def test_closing_wakes_every_waiter_with_an_error_of_its_own(wheel):
    """All wake in one step with fresh errors, a cancelled one with its cancellation; later ones are refused."""
    bucket = make(wheel)
    drain(bucket)
    tasks = [asyncio.create_task(bucket.acquire(key=key)) for key in "abca"]
    await wheel.settle()
    tasks[1].cancel()
    bucket.close(lambda: ClientClosedError("closed"))
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [
        ClientClosedError, asyncio.CancelledError, ClientClosedError, ClientClosedError,
    ]  # fmt: skip
    assert len({id(error) for error in errors}) == 4
    assert wheel.live == 0
    wheel.turn(10)
    assert not bucket.try_acquire()
    with pytest.raises(ClientClosedError):
        await bucket.acquire()


async def test_a_snapshot_tells_the_state_and_idle_means_like_new(wheel):
    """Idle is full, unpaused and without waiters; a snapshot changes nothing."""
    bucket = make(wheel)
    assert bucket.idle
    bucket.pause(1)
    assert not bucket.idle
    wheel.turn(1)
    assert bucket.idle
    drain(bucket)
    assert not bucket.idle
    _, tasks = await queue_up(wheel, bucket, [(1.0, None)])
    wheel.now += 0.05
    snapshot = bucket.snapshot()
    assert (snapshot.rate, snapshot.burst, snapshot.waiting, snapshot.granted) == (10, 5, 1, 5)
    assert snapshot.tokens == pytest.approx(0.5)
    tasks[0].cancel()


def test_a_bucket_made_outside_a_loop_waits_on_the_loops_own_timer():
    """On the real loop, with no clock given: two waits of a millisecond, in two loops one after the other."""
    bucket = TokenBucket(rate=1000.0, burst=1)
    for _ in range(2):
        drain(bucket)
        assert 0 < asyncio.run(bucket.acquire()) < 60
