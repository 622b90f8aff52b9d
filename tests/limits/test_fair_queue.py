"""The queue of a bucket, held to a model: a list of waiters for each key."""

from math import inf
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from calls_in_progress_async.limits.fair_queue import FairQueue, Waiter

NO_FUTURE: Any = None

actions = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("abcd"), st.sampled_from([inf, *map(float, range(20))])),
    st.tuples(st.just("serve"), st.none(), st.none()),
    st.tuples(st.just("leave"), st.integers(0, 200), st.none()),
    st.tuples(st.just("expire"), st.none(), st.floats(0, 20)),
)


class Model:
    """A queue written in the simplest way."""

    def __init__(self) -> None:
        self.keys: dict[str, list[Waiter]] = {}

    @property
    def waiters(self) -> list[Waiter]:
        return [waiter for waiters in self.keys.values() for waiter in waiters]

    def add(self, waiter: Waiter) -> None:
        self.keys.setdefault(waiter.key, []).append(waiter)

    def remove(self, waiter: Waiter, *, served: bool = False) -> None:
        rest = [each for each in self.keys[waiter.key] if each is not waiter]
        if served or not rest:
            del self.keys[waiter.key]
        if rest:
            self.keys[waiter.key] = rest

    def first(self) -> Waiter:
        return next(iter(self.keys.values()))[0]

    def earliest_expiry(self) -> float:
        return min((waiter.expires for waiter in self.waiters), default=inf)


def apply(queue: FairQueue, model: Model, action: str, what: Any, expiry: Any) -> None:
    """Do the same to both, and compare the results."""
    if action == "add":
        waiter = Waiter(what, NO_FUTURE, 0.0, expiry)
        queue.add(waiter)
        model.add(waiter)
    elif action == "serve" and queue.length:
        waiter = queue.first()
        assert waiter is model.first()
        queue.remove(waiter, served=True)
        model.remove(waiter, served=True)
    elif action == "leave" and queue.length:
        waiter = model.waiters[what % queue.length]
        queue.remove(waiter)
        model.remove(waiter)
    elif action == "expire":
        expired = queue.pop_expiring(expiry)
        if expired is None:
            assert model.earliest_expiry() >= expiry
        else:
            assert expired.expires == model.earliest_expiry() < expiry
            model.remove(expired)


@settings(max_examples=200)
@given(st.lists(actions, max_size=150))
def test_the_queue_is_fair_and_expires_in_order(steps):
    """Keys take turns, each in order of arrival; the earliest expiry is known after any departure."""
    queue, model = FairQueue(), Model()
    for step in steps:
        apply(queue, model, *step)
        assert queue.length == len(model.waiters)
        assert queue.earliest_expiry() == model.earliest_expiry()
        assert list(queue.heads) == list(model.keys)
    while queue.length:
        apply(queue, model, "serve", None, None)
    assert not model.waiters


def test_departures_keep_the_expiries_in_order_and_few():
    """Many departures rebuild the heap of expiries; the earliest of the rest is still found first."""
    queue = FairQueue()
    waiters = [Waiter(number % 3, NO_FUTURE, 0.0, float(number * 37 % 501)) for number in range(501)]
    for waiter in waiters:
        queue.add(waiter)
    for number, waiter in enumerate(waiters):
        if number % 10:
            queue.remove(waiter)
            assert len(queue._expiring) <= 2 * queue.length + 33
    rest = []
    while (expired := queue.pop_expiring(inf)) is not None:
        rest.append(expired.expires)
    assert rest == sorted(waiter.expires for number, waiter in enumerate(waiters) if not number % 10)


def test_the_estimate_counts_one_more_of_every_other_key():
    """It is exact for a key without waiters, and never more than the queue."""
    queue = FairQueue()
    assert queue.ahead("a") == 0
    for key in "aaaab":
        queue.add(Waiter(key, NO_FUTURE, 0.0, inf))
    assert (queue.ahead("c"), queue.ahead("b"), queue.ahead("a")) == (2, 3, 5)
