"""Retries: if, when and how often."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import ACME, DONE, NO_CALLS, Act, Exchange, RawServer, hang, reply
from transport.pipelines import FIND, rig, write

import calls_in_progress_async as sdk
from calls_in_progress_async import Organization, RateLimit, RetryPolicy
from calls_in_progress_async.testing import status, virtual_clock
from calls_in_progress_async.transport.attempt_result import AttemptResult, AttemptTimeline
from calls_in_progress_async.transport.retry import Retry, RetryBudgets, Stop, decide
from calls_in_progress_async.transport.retry_after import parse_retry_after
from calls_in_progress_async.transport.wire import WireResponse

pytestmark = pytest.mark.usefixtures("on_virtual_clock")

PASSING = [408, 425, 429, 500, 502, 503, 504]
LASTING = [400, 401, 403, 404, 405, 409, 410, 418, 422, 501, 505, 511, 599]


def result_of(what: Any, wait: float | None = None) -> AttemptResult:
    headers = {} if wait is None else {"Retry-After": str(wait)}
    response = WireResponse(what, headers, b"") if isinstance(what, int) else None
    return AttemptResult(AttemptTimeline(0.0, 0.0), response, None if response else what, True)


def decision(what: Any, *, wait: float | None = None, policy: RetryPolicy | None = None, **facts: Any) -> Retry | Stop:
    facts = {"attempt": 1, "repeatable": True, "remaining": None, "jitter": 1.0, **facts}
    return decide(policy or RetryPolicy(), result_of(what, wait), **facts)


# The pure decision.


@pytest.mark.parametrize("status", PASSING)
def test_a_status_that_may_pass_is_tried_again(status: int) -> None:
    """408, 425, 429, 500, 502, 503 and 504."""
    assert decision(status) == Retry(0.25)


@pytest.mark.parametrize("status", [200, 202, 204, 301, 302, *LASTING])
def test_a_permanent_status_is_not_retried(status: int) -> None:
    """Every status outside the policy is final."""
    assert decision(status) == Stop()


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (sdk.ConnectionFailedError(), True),
        (sdk.ConnectionLostError(), True),
        (sdk.RequestTimeoutError(), True),
        (sdk.DeadlineExceededError(), False),
        (sdk.TlsError(), False),
        (sdk.UnexpectedResponseError(), False),
        (sdk.ResponseTooLargeError(), False),
        (sdk.ClientClosedError(), False),
        (sdk.RateLimitWaitError(), False),
        (sdk.InvalidRequestError(), False),
    ],
)
def test_only_failures_of_the_network_are_tried_again(error: Any, again: bool) -> None:
    """Connections and timeouts; not TLS, the deadline, or our own errors."""
    assert decision(error) == (Retry(0.25) if again else Stop())


def test_a_request_is_not_repeated_if_it_may_have_been_applied() -> None:
    """The error names the reason, unless no policy would retry anyway."""
    assert decision(500, repeatable=False) == Stop("not repeated, since it may have been carried out")
    assert decision(404, repeatable=False) == Stop()


def test_max_attempts_includes_the_first() -> None:
    """No attempt follows attempt number max_attempts."""
    three = RetryPolicy(max_attempts=3)
    assert [type(decision(500, policy=three, attempt=n)) for n in (1, 2, 3, 4)] == [Retry, Retry, Stop, Stop]
    assert decision(500, policy=RetryPolicy(max_attempts=1)) == Stop()


def test_waits_grow_up_to_the_maximum() -> None:
    """0.25, 0.5, 1, ... 20, however many attempts there were."""
    policy = RetryPolicy(max_attempts=10**6)
    delays = [decision(500, policy=policy, attempt=n) for n in (1, 2, 3, 7, 8, 100, 10**5)]
    assert delays == [Retry(each) for each in (0.25, 0.5, 1.0, 16.0, 20.0, 20.0, 20.0)]


@pytest.mark.parametrize("random", [0.0, 0.5, 1.0])
def test_jitter_is_full(random: float) -> None:
    """Waits are drawn from 0 to the longest wait; jitter only adds to Retry-After."""
    assert decision(500, jitter=random) == Retry(0.25 * random)
    assert decision(503, wait=3.0, jitter=random) == Retry(3.0 + 0.25 * random)


def test_a_wait_that_is_too_long_raises_at_once() -> None:
    """max_retry_after itself is waited for; ten years are not."""
    assert decision(429, wait=30.0) == Retry(30.25)
    assert isinstance(decision(429, wait=30.01), Stop)
    stop = decision(429, wait=10 * 365 * 86400.0)
    assert stop == Stop("the server asks to wait 3.1536e+08 s, longer than max_retry_after")


def test_an_attempt_after_the_deadline_is_not_waited_for() -> None:
    """A wait to the deadline or beyond raises at once."""
    assert decision(500, remaining=0.2501) == Retry(0.25)
    for remaining in (0.25, 0.1, 0.0, -1.0):
        assert decision(500, remaining=remaining) == Stop("the next attempt would be after the deadline")


def test_the_retried_statuses_are_a_setting() -> None:
    """RetryPolicy(statuses=...) replaces the retried statuses."""
    assert decision(418, policy=RetryPolicy(statuses={418})) == Retry(0.25)  # type: ignore[arg-type]
    assert decision(500, policy=RetryPolicy(statuses=frozenset())) == Stop()


@given(st.integers(1, 10**9), st.floats(0, 1), st.floats(1, 65_535), st.floats(0, 1e10), st.floats(0, 1e300))
def test_a_backoff_is_never_longer_than_its_maximum(
    n: int, random: float, factor: float, first: float, most: float
) -> None:
    """The backoff is a finite number up to the maximum, for any attempt."""
    wait = RetryPolicy(initial=first, maximum=most, multiplier=factor).backoff(n, random)
    assert 0 <= wait <= most
    assert math.isfinite(wait)


# Retry-After.

NOW = datetime(2024, 2, 1, 12, tzinfo=UTC)
DATE = format_datetime(NOW, usegmt=True)


def http_date(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((value, None) for value in ("-1", "-0.1", "nan", "inf", "-inf", "1e999", "9" * 500, "", " ", "soon", "\x00")),
        *((value, None) for value in ("5 seconds", "5,6", "0x10", "Thu", "Thu, 99 Feb 2024 12:00:00 GMT")),
        *((value, None) for value in ("Thu, 01 Feb 99999 12:00:00 GMT", "Thu, 01 Feb 2024 12:00:00 +9999")),
        ("0", 0.0),
        ("5", 5.0),
        (" 5 ", 5.0),
        ("1.5", 1.5),
        ("315360000", 315360000.0),
        (http_date(90), 90.0),
        (http_date(0), 0.0),
        (http_date(-90), 0.0),
        (http_date(315360000), 315360000.0),
        ("Thursday, 01-Feb-24 12:01:30 GMT", 90.0),
        ("Thu Feb  1 12:01:30 2024", 90.0),
        ("Thu, 01 Feb 2024 13:01:30 +0100", 90.0),
        ("Thu, 01 Feb 2024 12:01:30 -0000", 90.0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(value: str, expected: float | None) -> None:
    """Seconds, or an HTTP-date held against the response's own Date; garbage is none."""
    assert parse_retry_after({"Retry-After": value, "Date": DATE}) == expected


def test_a_date_without_a_date_is_held_against_our_own_clock() -> None:
    """A malformed Date counts as absent."""
    later = format_datetime(datetime.now(UTC) + timedelta(days=365), usegmt=True)
    for headers in ({}, {"Date": ""}, {"Date": "garbage"}):
        seconds = parse_retry_after({"Retry-After": later, **headers})
        assert seconds is not None
        assert 364 * 86400 < seconds <= 365 * 86400
    assert parse_retry_after({}) is None


@given(st.text(), st.text())
def test_no_text_makes_retry_after_fail(value: str, date: str) -> None:
    """Any text gives a finite number of seconds or None."""
    for each in (value, f"{value} GMT", f"Thu, 01 Feb 2024 {value}", f"Thu, {value} 2024 12:00:00 GMT"):
        seconds = parse_retry_after({"Retry-After": each, "Date": date})
        assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


# Budgets.

A, B = Organization.advertiser(1), Organization.advertiser(2)


def test_each_organization_has_a_separate_budget() -> None:
    """One organization's retries leave the other's untouched."""
    budgets = RetryBudgets(RetryPolicy(organization_budget=2))
    assert [budgets.spend(A) for _ in range(3)] == [True, True, False]
    assert budgets.spend(B)


def test_a_budget_of_the_client_is_everybodys() -> None:
    """Nobody retries after the last of it."""
    budgets = RetryBudgets(RetryPolicy(budget=3))
    assert [budgets.spend(Organization.advertiser(n)) for n in range(1, 6)] == [True, True, True, False, False]
    assert not RetryBudgets(RetryPolicy(budget=0)).spend(A)
    assert not RetryBudgets(RetryPolicy(organization_budget=0)).spend(A)


def test_a_success_returns_a_part() -> None:
    """budget_refill to both, up to their initial size."""
    budgets = RetryBudgets(RetryPolicy(budget=2, organization_budget=2, budget_refill=0.5))
    for _ in range(10):
        budgets.earn(A)
    assert [budgets.spend(A) for _ in range(3)] == [True, True, False]
    budgets.earn(A)
    assert not budgets.spend(A)
    budgets.earn(A)
    assert [budgets.spend(A) for _ in range(2)] == [True, False]
    for _ in range(100):
        budgets.earn(A)
    assert [budgets.spend(A) for _ in range(3)] == [True, True, False]


def test_a_rejection_costs_nothing() -> None:
    """An organization with nothing left does not spend the client's."""
    budgets = RetryBudgets(RetryPolicy(budget=3, organization_budget=1))
    assert [budgets.spend(A) for _ in range(5)] == [True, False, False, False, False]
    assert [budgets.spend(B) for _ in range(2)] == [True, False]
    assert budgets.spend(Organization.advertiser(3))


def test_the_budgets_of_many_organizations_take_bounded_memory() -> None:
    """The budgets of 10,000 organizations are kept, and no more."""
    budgets = RetryBudgets(RetryPolicy(budget=10**9))
    for number in range(1, 10_102):
        budgets.spend(number)
    assert len(budgets._organizations) == 10_000


async def test_a_spent_budget_stops_the_retries() -> None:
    """The third failure of an organization is final at once; a success refills the budget."""
    it = rig(500, retry=RetryPolicy(organization_budget=3, budget_refill=1.0, max_attempts=3))
    errors = [await it.fail() for _ in range(3)]
    assert [len(error.attempts) for error in errors] == [3, 2, 1]
    assert str(errors[-1]) == "HTTP 500 (the retry budget is spent)"
    it.transport.add(200, 500)
    assert await it.go() == 200
    _, attempts = await it.deliver(FIND, ACME, None)
    assert len(attempts) == 2


async def test_a_rejection_earns_nothing_back() -> None:
    """The lowest, 400: no retry is left for the next failure."""
    it = rig(500, 400, 500, 200, retry=RetryPolicy(initial=0, organization_budget=1, budget_refill=1.0))
    assert [await it.go(), await it.go()] == [400, 500]
    assert len(it.transport.sent) == 3


# The loop around it.


async def test_waits_are_what_was_decided() -> None:
    """Full jitter through the injected randomness, noted in the attempts; then the last response."""
    numbers = iter([0.5, 1.0, 0.1, 0.0])
    it = rig(500, 502, 503, 504, randomness=lambda: next(numbers), retry=RetryPolicy(max_attempts=4))
    response, attempts = await it.deliver(FIND, ACME, None)
    assert response.status == 504
    assert it.slept == [0.125, 0.5, 0.1]
    assert it.transport.times == [0.0, 0.125, 0.625, 0.725]
    assert [(a.status, round(a.backoff, 6)) for a in attempts] == [
        (500, 0.125),
        (502, 0.5),
        (503, 0.1),
        (504, 0),
    ]


async def test_a_success_takes_one_attempt() -> None:
    """One attempt."""
    it = rig(200)
    assert (await it.go(), it.slept, len(it.transport.sent)) == (200, [], 1)


async def test_retry_after_is_waited_for_on_statuses_and_capped() -> None:
    """Retry-After counts in seconds and as a date; a wait beyond the cap raises at once."""
    after = [
        status(503, retry_after="3"),
        status(503, headers={"Retry-After": http_date(7), "Date": DATE}),
        200,
    ]
    it = rig(*after, randomness=lambda: 0.0)
    assert (await it.go(), it.transport.times) == (200, [0.0, 3.0, 10.0])
    it = rig(status(429, retry_after="31"), 200)
    error = await it.fail()
    assert (len(error.attempts), it.slept) == (1, [])
    assert "longer than max_retry_after" in str(error)


@pytest.mark.parametrize(("asked", "paused"), [("7", 7.0), ("30", 30.0), ("1000", 30.0), ("315360000", 30.0)])
async def test_a_pause_of_everybody_is_capped_by_the_same_setting(asked: str, paused: float) -> None:
    """A call with a longer Retry-After raises at once; other calls wait max_retry_after, at most."""
    it = rig(status(429, retry_after=asked), 200, retry=RetryPolicy(max_attempts=1))
    assert [await it.go(), await it.go()] == [429, 200]
    assert it.transport.times == [0.0, paused]


async def test_a_deadline_covers_attempts_and_waits() -> None:
    """An attempt after the deadline is not waited for; an attempt across the deadline is cancelled."""
    it = rig(status(500, seconds=1.0), retry=RetryPolicy(max_attempts=100, initial=1.0, multiplier=1.0))
    error = await it.fail(timeout=5.5)
    assert it.transport.times == [0.0, 2.0, 4.0]
    assert str(error) == "HTTP 500 (3 attempts; the next attempt would be after the deadline)"
    it = rig(status(200, seconds=10.0))
    error = await it.go(timeout=4.0)
    assert type(error) is sdk.DeadlineExceededError
    assert [(a.status, a.error, round(a.network, 3)) for a in error.attempts] == [(None, "DeadlineExceededError", 4.0)]


async def test_each_attempt_has_the_whole_attempt_timeout() -> None:
    """A timed-out attempt is retried with the whole timeout again."""
    it = rig(status(200, seconds=10.0), status(200, seconds=4.9), attempt_timeout=5.0, retry=RetryPolicy(initial=0))
    assert (await it.go(), it.transport.times) == (200, [0.0, 5.0])
    it = rig(status(200, seconds=10.0), attempt_timeout=5.0, retry=RetryPolicy(max_attempts=2, initial=0))
    error = await it.go()
    assert type(error) is sdk.RequestTimeoutError
    assert str(error) == "No response within attempt_timeout (5 s). (2 attempts)"
    it = rig(status(200, seconds=10.0**6), attempt_timeout=None)
    assert await it.go() == 200


async def test_a_deadline_covers_the_wait_for_the_limiter() -> None:
    """A request in the queue ends at its deadline, and returns its place."""
    it = rig(200, rate_limit=RateLimit(rate=0.1, burst=1))
    assert await it.go() == 200
    error = await it.go(timeout=4.0)
    assert type(error) is sdk.DeadlineExceededError
    assert [(round(a.rate_limit_wait, 3), a.pool_wait, a.network) for a in error.attempts] == [(4.0, 0, 0)]
    assert await it.go() == 200
    assert it.transport.times == [0.0, 10.0]


async def test_a_deadline_covers_the_wait_for_a_connection() -> None:
    """The wait is no network time."""
    it = rig(status(200, seconds=10.0), max_connections=1, attempt_timeout=None)
    first = asyncio.create_task(it.go())
    await asyncio.sleep(0)
    error = await it.go(timeout=4.0)
    assert type(error) is sdk.DeadlineExceededError
    assert [a.network for a in error.attempts] == [0]
    assert (await first, it.transport.most, len(it.transport.sent)) == (200, 1, 1)


async def test_a_timeout_does_not_count_our_own_queues() -> None:
    """An attempt's timeout begins when it has its connection slot."""
    it = rig(status(200, seconds=4.0), max_connections=1, attempt_timeout=5.0)
    assert await asyncio.gather(*(it.go() for _ in range(5))) == [200] * 5
    assert it.transport.times == [0.0, 4.0, 8.0, 12.0, 16.0]
    it = rig(status(200, seconds=4.0), attempt_timeout=5.0, rate_limit=RateLimit(rate=0.1, burst=1))
    results = await asyncio.gather(*(it.deliver(FIND, ACME, None) for _ in range(3)))
    assert [round(attempts[0].rate_limit_wait, 3) for _, attempts in results] == [0.0, 10.0, 20.0]
    assert [round(attempts[0].network, 3) for _, attempts in results] == [4.0] * 3


async def test_waiting_does_not_shorten_the_attempt_timeout() -> None:
    """A wait in a queue does not count towards attempt_timeout."""
    it = rig(status(200, seconds=4.0), status(200, seconds=60.0), max_connections=1, attempt_timeout=5.0,
             retry=RetryPolicy(max_attempts=1))  # fmt: skip
    first, second = await asyncio.gather(it.go(), it.go())
    assert first == 200
    assert type(second) is sdk.RequestTimeoutError
    assert round(second.attempts[0].network, 3) == 5.0


async def test_every_attempt_takes_a_token_of_the_limit() -> None:
    """Retries are not free of it."""
    it = rig(500, 500, 200, rate_limit=RateLimit(rate=1, burst=1), retry=RetryPolicy(initial=0))
    assert (await it.go(), it.transport.times) == (200, [0.0, 1.0, 2.0])


async def test_a_cancelled_wait_for_a_connection_gives_the_token_back() -> None:
    """The next request has it."""
    it = rig(status(200, seconds=5.0), max_connections=1, rate_limit=RateLimit(rate=0.001, burst=2))
    first = asyncio.create_task(it.go())
    second = asyncio.create_task(it.go())
    await asyncio.sleep(1)
    second.cancel()
    assert await first == 200
    assert await it.go() == 200
    assert it.transport.times == [0.0, 5.0]


async def test_a_429_slows_everybody_down() -> None:
    """Other requests with the same token wait as long as it says, and its own retry too."""
    it = rig(status(429, retry_after="5"), 200, randomness=lambda: 0.0)
    first = asyncio.create_task(it.go())
    await asyncio.sleep(1)
    assert await it.go() == 200
    assert await first == 200
    assert it.transport.times == [0.0, 5.0, 5.0]


@pytest.mark.parametrize("after", range(12))
@pytest.mark.parametrize("request_", [FIND, write()], ids=["find", "update"])
async def test_a_cancelled_call_leaves_nothing_behind(request_: Any, after: int) -> None:
    """At every step: the slot, the place in the order of writes and the place in the limiter are free again."""
    it = rig(status(500, seconds=0.5), max_connections=1, rate_limit=RateLimit(rate=2, burst=1))
    others = [asyncio.create_task(it.go(request_)) for _ in range(2)]
    task = asyncio.create_task(it.go(request_))
    await asyncio.sleep(after * 0.2)
    task.cancel()
    await asyncio.gather(task, *others, return_exceptions=True)
    it.transport.add(200)
    assert await asyncio.wait_for(it.go(request_), 100) == 200
    assert (it.transport.running, it.transport.most) == (0, 1)
    assert not it.pipeline.in_use()["write queues"]
    assert not any(it.pipeline.in_use().values())
    await asyncio.wait_for(it.pipeline.close(None), 1)


@pytest.mark.parametrize("limit", [None, RateLimit(rate=1000, burst=100)])
async def test_a_pause_holds_back_granted_attempts_without_a_connection(limit: RateLimit | None) -> None:
    """Attempts granted before the 429 and waiting for a slot go out after the pause, not into it."""
    responses = [status(429, retry_after="30", seconds=1.0), status(200, seconds=1.0)]
    it = rig(*responses, max_connections=1, rate_limit=limit, retry=RetryPolicy(max_attempts=1))
    results = await asyncio.gather(*(it.go() for _ in range(4)))
    assert sorted(results) == [200, 200, 200, 429]
    assert it.transport.times[:2] == [0.0, 31.0]
    (bucket,) = it.limiter.snapshot().shared.values()
    assert (bucket.granted, len(it.transport.times)) == (4, 4)


async def test_a_slow_token_callable_is_not_reported_as_a_slow_server() -> None:
    """Asking takes of the deadline only: attempt_timeout begins when there is a token to send, and so do the times."""

    async def token(_: Organization) -> str:
        await asyncio.sleep(5)
        return "late"

    it = rig(status(200, seconds=0.5), token=token, attempt_timeout=1.0)
    _, attempts = await it.deliver(FIND, ACME, None)
    assert (it.transport.times, attempts) == ([5.0], [sdk.Attempt(200, None, network=0.5, queued=5.0)])
    it = rig(200, token=token, attempt_timeout=1.0)
    error = await it.go(timeout=3.0)
    assert type(error) is sdk.DeadlineExceededError
    assert error.attempts == (sdk.Attempt(None, "DeadlineExceededError", queued=3.0),)
    it = rig(status(200, seconds=1.5), token=token, attempt_timeout=1.0, retry=RetryPolicy(max_attempts=1))
    assert type(await it.go()) is sdk.RequestTimeoutError


async def test_grants_do_not_pile_up_while_every_connection_is_taken() -> None:
    """After a stall the limit holds in every window, and waiters keep their order."""
    it = rig(status(200, seconds=9.0), 200, max_connections=1, rate_limit=RateLimit(rate=10, burst=2))
    await asyncio.gather(*(it.go() for _ in range(20)))
    times = it.transport.times
    assert times[:4] == [0, 9, 9, 9.1]
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= 2 + 10 * (times[last] - times[first]) + 0.01


def test_asking_for_another_token_is_the_wait_after_the_401() -> None:
    """However it ends: with another token, with the same, or with the deadline."""

    async def main(tokens: list[str], deadline: float, wait: float, statuses: list[int]) -> None:
        async def token(_: Organization) -> str:
            if len(tokens) < 2:
                await asyncio.sleep(2)
            return tokens.pop()

        it = rig(401, 200, token=token)
        try:
            _, attempts = await it.deliver(FIND, ACME, deadline)
        except sdk.DeadlineExceededError as error:
            attempts = list(error.attempts)
        assert [(attempt.status, attempt.backoff) for attempt in attempts] == list(
            zip(statuses, [wait, 0], strict=False)
        )
        assert all(attempt.queued == 0 for attempt in attempts)

    virtual_clock.run(partial(main, ["new", "old"], 5.0, 2.0, [401, 200]))
    virtual_clock.run(partial(main, ["old", "old"], 5.0, 2.0, [401]))
    virtual_clock.run(partial(main, ["new", "old"], 1.0, 1.0, [401]))


def test_a_failing_token_callable_tells_of_an_update_that_may_have_been_applied() -> None:
    """The callable's error passes through, with a note if an earlier attempt may have been carried out."""

    async def main(first: int) -> None:
        results = iter(["old", LookupError("vault")])

        def token(_: Organization) -> str:
            result = next(results)
            if isinstance(result, Exception):
                raise result
            return result

        it = rig(first, 401, token=token)
        error = await it.go(write())
        assert (type(error), str(error)) == (LookupError, "vault")
        notes = ["An earlier attempt of this update may have been applied."]
        assert getattr(error, "__notes__", []) == (notes if first == 500 else [])

    for first in (500, 429):
        virtual_clock.run(lambda first=first: main(first))


def test_a_timeout_error_of_a_token_callable_passes_through() -> None:
    """The callable's own TimeoutError is not taken for the client's."""

    async def token(_: Organization) -> str:
        raise TimeoutError("vault")

    async def main() -> None:
        it = rig(200, token=token)
        error = await it.go()
        assert (type(error), str(error), it.transport.sent) == (TimeoutError, "vault", [])
        it = rig(401, token=iter_tokens("old", TimeoutError("vault")))
        assert str(await it.go()) == "vault"

    def iter_tokens(*results: Any) -> Any:
        left = list(results)

        def ask(_: Organization) -> str:
            result = left.pop(0)
            if isinstance(result, Exception):
                raise result
            return str(result)

        return ask

    virtual_clock.run(main)


# Retries on a real socket.

CARRIED_OUT = [None, reply(500), reply(502), reply(503), reply(504), reply(503, Retry_After="soon")]
NOT_CARRIED_OUT = [reply(408, Retry_After="0"), reply(425), reply(429, Retry_After="0"), reply(503, Retry_After="0")]


async def send(client: Any, method: str) -> Any:
    if method == "GET":
        return await client.find(ACME)
    return await client.update(ACME, transaction_id="T", custom_data={"a": "b"}, method=method)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("response", NOT_CARRIED_OUT)
async def test_a_request_not_applied_is_retried(method: str, response: bytes) -> None:
    """A request surely not applied is retried with any method."""
    async with RawServer([response, response, NO_CALLS]) as server, server.client() as client:
        result = await send(client, method)
        assert (len(server.seen), len(result.attempts)) == (3, 3)
        assert [seen.body for seen in server.seen] == [server.seen[0].body] * 3


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("response", CARRIED_OUT)
async def test_a_request_maybe_applied_is_retried_unless_it_is_a_post(method: str, response: bytes) -> None:
    """Each attempt is at most one request on the wire: aiohttp does not repeat by itself."""
    async with RawServer([response, response, NO_CALLS]) as server, server.client() as client:
        if method != "POST":
            assert len((await send(client, method)).attempts) == 3
            assert len(server.seen) == 3
            return
        with pytest.raises(
            sdk.CallsInProgressError, match="not repeated, since it may have been carried out"
        ) as raised:
            await send(client, method)
        assert (len(server.seen), len(raised.value.attempts), raised.value.may_have_been_applied) == (1, 1, True)


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_a_lost_connection_costs_one_attempt(method: str, attempts: int) -> None:
    """A kept connection is no exception, although aiohttp would send an idempotent request twice."""
    async with RawServer([NO_CALLS, None]) as server:  # noqa: SIM117
        async with server.client(retry=RetryPolicy(max_attempts=attempts, initial=0)) as client:
            await client.find(ACME)
            with pytest.raises(sdk.ConnectionLostError) as raised:
                await send(client, method)
            assert (len(server.seen), len(raised.value.attempts)) == (1 + attempts, attempts)


async def test_retry_post_lets_a_post_be_repeated() -> None:
    """RetryPolicy(retry_post=True) retries a POST after a lost connection."""
    async with RawServer([None, reply(500), DONE]) as server:
        async with server.client(retry=RetryPolicy(retry_post=True, initial=0)) as client:
            done = await send(client, "POST")
        assert (done.accepted_only, len(server.seen)) == (True, 3)


@pytest.mark.parametrize("status", LASTING)
async def test_a_rejection_is_not_repeated(status: int) -> None:
    """One request on the wire."""
    async with RawServer([reply(status)]) as server, server.client() as client:
        for method in ("GET", "PUT"):
            with pytest.raises(sdk.ResponseError) as raised:
                await send(client, method)
            assert "attempts" not in str(raised.value)
        assert len(server.seen) == 2


def slowly(response: bytes) -> Act:
    async def act(exchange: Exchange) -> None:
        await asyncio.sleep(0.5)
        await exchange.send(response)

    return act


async def test_a_result_lists_its_attempts() -> None:
    """The results of finds and updates list attempts with their times, oldest first."""
    script = [reply(500), slowly(NO_CALLS), reply(503), slowly(DONE)]
    async with RawServer(script) as server, server.client() as client:
        for method in ("GET", "PUT"):
            first, second = (await send(client, method)).attempts
            assert (first.status, second.status, first.error, second.error) == (
                500 if method == "GET" else 503,
                second.status,
                None,
                None,
            )
            assert min(*first[2:], *second[2:]) >= 0
            assert second.network == pytest.approx(0.5)


async def test_the_timeout_of_a_call_wins_over_the_clients() -> None:
    """A call's timeout may be shorter than the client's, or None."""
    async with RawServer([hang]) as server, server.client(retry=RetryPolicy(initial=0), attempt_timeout=5) as client:
        with pytest.raises(sdk.DeadlineExceededError) as raised:
            await client.find(ACME, timeout=0.01)
        assert len(raised.value.attempts) == 1
        with pytest.raises(sdk.DeadlineExceededError):
            await client.update(ACME, transaction_id="T", custom_data={"a": "b"}, timeout=0.01)
    async with RawServer([hang, NO_CALLS]) as server, server.client(timeout=0.01) as client:
        with pytest.raises(sdk.DeadlineExceededError):
            await client.find(ACME)
        assert list(await client.find(ACME, timeout=None)) == []


async def test_a_401_after_a_retry_is_still_a_401() -> None:
    """Without another token the error is the 401 of the last response."""
    it = rig(500, 401, token=lambda _: "same", retry=RetryPolicy(initial=0))
    response, attempts = await it.deliver(FIND, ACME, None)
    assert ([a.status for a in attempts], response.status) == ([500, 401], 401)


async def test_a_failure_after_a_token_refresh_is_retried_for_its_own_reason() -> None:
    """A later failure for another reason is retried for that reason, with the new token."""
    tokens = ["old", "new"]
    it = rig(401, 500, 200, token=lambda _: tokens.pop(0), retry=RetryPolicy(initial=0))
    assert await it.go() == 200
    assert [token for _, token in it.transport.sent] == ["old", "new", "new"]


async def test_a_timeout_shortly_before_the_deadline_is_no_deadline() -> None:
    """There is time for another attempt; the deadline cancels that one."""
    it = rig(status(200, seconds=99.0), attempt_timeout=1.0, retry=RetryPolicy(initial=0))
    error = await it.go(timeout=1.5)
    assert [each.error for each in error.attempts] == ["RequestTimeoutError", "DeadlineExceededError"]


async def test_a_401_is_final_with_a_static_token() -> None:
    """There is nobody to ask for another token, so nothing is waited for, not even for no time."""
    it = rig(401)
    assert (await it.go(), it.slept, len(it.transport.sent)) == (401, [], 1)


async def test_a_400_is_retried_if_the_policy_lists_it() -> None:
    """400 is the lowest failure. Retry-After counts as well."""
    it = rig(status(400, retry_after="2"), 200, retry=RetryPolicy(initial=0, statuses={400}))
    assert (await it.go(), it.transport.times) == (200, [0.0, 2.0])


async def test_a_timeout_in_the_pool_counts_as_pool_wait() -> None:
    """The time is counted neither for the limiter nor for the network."""
    it = rig(status(200, seconds=10.0), max_connections=1, attempt_timeout=None)
    first = asyncio.create_task(it.go())
    await asyncio.sleep(0)
    error = await it.go(timeout=4.0)
    assert [(a.rate_limit_wait, round(a.pool_wait, 3), a.network) for a in error.attempts] == [(0, 4.0, 0)]
    await first


@pytest.mark.parametrize("multiplier", [1e300, 65_536.0])
def test_a_steep_backoff_is_the_maximum(multiplier: float) -> None:
    """An overflow exceeds any maximum."""
    policy = RetryPolicy(multiplier=multiplier, max_attempts=100)
    assert [policy.backoff(n, 1.0) for n in (3, 70)] == [20.0, 20.0]


async def test_setbacks_are_told_as_errors_of_their_own() -> None:
    """Each attempt that another follows is told, with the attempts so far; none if its response reads as a result."""
    told: list[Any] = []
    it = rig(503, sdk.ConnectionFailedError("refused"), 200, retry=RetryPolicy(initial=0))
    await it.pipeline.execute(FIND, ACME, None, lambda response, _: response.status, told.append)
    assert [type(error) for error in told] == [type(None), sdk.ConnectionFailedError]
    assert len(told[1].attempts) == 2
