"""Retries seen from outside: budgets, Retry-After, refreshed tokens, and one deadline over everything."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from attrs import evolve
from faults.leaks import nothing_left
from raw_server import ACME, NO_CALLS, RawServer, reply, say
from transport.pipelines import FIND, rig, write

import calls_in_progress_async as sdk
from calls_in_progress_async import Organization, RateLimit, RetryPolicy
from calls_in_progress_async.testing import lost_after_write, status, virtual_clock

pytestmark = pytest.mark.usefixtures("way")

# Budgets.


def test_in_an_outage_retries_stop_adding_load() -> None:
    """A thousand requests of a hundred organizations add no more than the client's budget, and each error says so."""

    async def main() -> None:
        it = rig(500, retry=RetryPolicy(initial=0, budget=20, organization_budget=5))
        calls = [it.fail(organization=Organization.advertiser(1 + n % 100)) for n in range(1000)]
        errors = await asyncio.gather(*calls)
        assert len(it.transport.sent) == 1020
        assert all("the retry budget is spent" in str(error) for error in errors if len(error.attempts) < 3)

    virtual_clock.run(main)


async def test_the_error_says_that_the_budget_was_spent() -> None:
    """The text names the spent budget after the status."""
    async with RawServer([say(reply(500))]) as server:
        async with nothing_left(server, retry=RetryPolicy(initial=0, budget=0)) as client:
            with pytest.raises(sdk.ServerError, match=r"^HTTP 500 \(the retry budget is spent\)$"):
                await client.find(ACME)
        assert len(server.seen) == 1


async def test_a_failing_organization_spends_only_its_budget() -> None:
    """Its budget is spent after two retries; another organization still has its retries."""

    async def act(exchange: Any) -> None:
        await (say(reply(500)) if b"id=25&" in exchange.request.head or len(server.seen) % 2 else say(NO_CALLS))(
            exchange
        )

    policy = RetryPolicy(initial=0, organization_budget=2)
    async with RawServer([act]) as server, nothing_left(server, retry=policy) as client:
        for _ in range(5):
            with pytest.raises(sdk.ServerError):
                await client.find(ACME)
        assert len(server.seen) == 5 + 2
        server.seen.clear()
        assert len((await client.find(Organization.advertiser(26))).attempts) == 2


# Retry-After.

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def date(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


FORMS: list[tuple[str, float | None]] = [
    ("0", 0.0), ("7", 7.0), ("0.5", 0.5), (date(7), 7.0), (date(0), 0.0), (date(-99), 0.0),
    ("-1", None), ("nan", None), ("inf", None), ("-inf", None), ("1e400", None), ("soon", None), ("", None),
    ("9" * 400, None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "wait"), FORMS)
@pytest.mark.parametrize("code", [429, 503, 500])
def test_a_wait_is_never_shorter_than_retry_after(code: int, value: str, wait: float | None) -> None:
    """Seconds, or a date relative to Date: jitter only adds; a malformed value counts as absent."""

    async def main() -> None:
        for jitter in (0.0, 0.5, 1.0):
            it = rig(
                status(code, headers={"Retry-After": value, "Date": date(0)}),
                200,
                randomness=lambda jitter=jitter: jitter,
            )
            assert await it.go() == 200
            assert it.slept == [round((wait or 0.0) + 0.25 * jitter, 6)]
            assert it.transport.times[1] - it.transport.times[0] >= (wait or 0.0)

    virtual_clock.run(main)


LONG = [str(10 * 365 * 86400), date(10 * 365 * 86400), "31", date(31)]


@pytest.mark.parametrize("value", LONG)
@pytest.mark.parametrize(("status", "kind"), [(429, sdk.RateLimitedError), (503, sdk.ServerError)])
async def test_a_wait_beyond_the_cap_raises_at_once(status: int, kind: Any, value: str) -> None:
    """One request raises with `.retry_after`, and the text says why."""
    rejection = reply(status, b"", f"Retry-After: {value}", f"Date: {date(0)}")
    async with RawServer([say(rejection)]) as server, nothing_left(server) as client:
        with pytest.raises(kind, match="longer than max_retry_after") as raised:
            await client.find(ACME)
        assert raised.value.retry_after in (315360000.0, 31.0)
        assert len(server.seen) == 1


@pytest.mark.parametrize(("status", "kind"), [(429, sdk.RateLimitedError), (503, sdk.ServerError)])
async def test_a_wait_beyond_the_deadline_raises_at_once(status: int, kind: Any) -> None:
    """Long before the deadline, with `.retry_after`."""
    async with RawServer([say(reply(status, b"", "Retry-After: 20"))]) as server, nothing_left(server) as client:
        with pytest.raises(kind, match="after the deadline") as raised:
            await client.find(ACME, timeout=15)
        assert (raised.value.retry_after, len(server.seen)) == (20.0, 1)
        assert sum(sum(each[2:]) for each in raised.value.attempts) < 5


# Tokens.


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_many_401s_refresh_the_token_once(method: Any) -> None:
    """Fifty calls at once with an expired token: the callable is asked twice in all, and every call succeeds."""
    asked: list[Organization] = []

    async def ask(organization: Organization) -> str:
        asked.append(organization)
        for _ in range(5):
            await asyncio.sleep(0)
        return f"token-{len(asked)}"

    async def act(exchange: Any) -> None:
        good = b"Authorization: token-2\r\n" in exchange.request.head
        await say(NO_CALLS if good else reply(401))(exchange)

    async with RawServer([act]) as server, nothing_left(server, token=ask) as client:
        if method == "GET":
            calls: Any = [client.find(ACME) for _ in range(50)]
        else:
            calls = [
                client.update(ACME, transaction_id=f"T{n}", custom_data={"a": "b"}, method=method) for n in range(50)
            ]
        done = await asyncio.gather(*calls)
        assert len(asked) == 2
        assert all(each.attempts[-1].status == 200 for each in done)
        assert all(len(each.attempts) <= 2 for each in done)


async def test_401_and_404_are_final() -> None:
    """With a static token no policy retries them: `statuses` may not include them."""
    for code in (401, 404):
        async with RawServer([say(reply(code))]) as server, nothing_left(server) as client:
            with pytest.raises(sdk.ResponseError):
                await client.find(ACME)
            assert len(server.seen) == 1
        with pytest.raises(sdk.InvalidRequestError, match="statuses must not hold"):
            RetryPolicy(statuses=frozenset({500, code}))


def test_the_same_token_is_not_sent_again() -> None:
    """If the callable has no other token, the 401 is final, whatever came before."""

    async def main() -> None:
        for script in ([401], [500, 401]):
            it = rig(*script, token=lambda _: "the-same", retry=RetryPolicy(initial=0))
            assert await it.go() == 401
            assert len(it.transport.sent) == len(script)

    virtual_clock.run(main)


def test_a_token_callable_is_cancelled_with_its_last_waiter() -> None:
    """The callable goes on while one still waits, and is cancelled with the last: no task outlives its request."""

    async def main() -> None:
        ended: list[str] = []

        async def ask(_: Organization) -> str:
            try:
                await asyncio.sleep(100)
            finally:
                ended.append("ended")
            return "token"

        it = rig(200, token=ask, attempt_timeout=None)
        tasks = [asyncio.create_task(it.go()) for _ in range(3)]
        await asyncio.sleep(1)
        for task in tasks:
            assert ended == []
            task.cancel()
            await asyncio.sleep(1)
        assert ended == ["ended"]
        assert await it.go() == 200
        assert len(ended) == 2

    virtual_clock.run(main)


# Time.


def test_the_times_of_the_attempts_add_up() -> None:
    """Limiter, pool, network and waits of all attempts add up to the call's time, in results and in errors."""

    async def main() -> None:
        for last in (200, 500):
            script = [
                status(500, seconds=2.0),
                status(503, retry_after="3", seconds=1.0),
                status(last, seconds=4.0),
            ]
            it = rig(*script, rate_limit=RateLimit(rate=0.2, burst=1), max_connections=1, attempt_timeout=None)
            loop = asyncio.get_running_loop()
            began = loop.time()
            _, attempts = await it.deliver(FIND, ACME, None)
            took = loop.time() - began
            total = sum(a.rate_limit_wait + a.pool_wait + a.network + a.backoff for a in attempts)
            assert total == pytest.approx(took, abs=1e-3)
            assert [round(a.network) for a in attempts] == [2, 1, 4]
            assert [a.status for a in attempts] == [500, 503, last]
            assert attempts[1].backoff == pytest.approx(3.5, abs=1e-3)
            assert attempts[-1].backoff == 0

    virtual_clock.run(main)


@pytest.mark.parametrize("place", ["limiter", "gate", "network", "backoff", "turn", "token"])
def test_one_deadline_covers_every_wait(place: str) -> None:
    """The call ends at its deadline, and its attempts have the time in the right field."""

    async def main() -> None:
        settings: dict[str, Any] = {"attempt_timeout": None}
        script: list[Any] = [status(200, seconds=100.0)]
        request, beside = FIND, None
        if place == "limiter":
            settings["rate_limit"] = RateLimit(rate=0.001, burst=1)
            beside = FIND
        elif place == "gate":
            settings["max_connections"] = 1
            beside = FIND
        elif place == "backoff":
            # The wait ends before the deadline; the response after it takes too long.
            script = [status(503, retry_after="4"), status(200, seconds=100.0)]
        elif place == "turn":
            request = beside = write()
        elif place == "token":

            async def never(_: Organization) -> str:
                await asyncio.get_running_loop().create_future()
                return ""

            settings["token"] = never
        it = rig(*script, **settings)
        other = None if beside is None else asyncio.create_task(it.go(beside))
        await asyncio.sleep(0.5)
        loop = asyncio.get_running_loop()
        began = loop.time()
        error = await it.go(request, timeout=6.0)
        assert type(error) is sdk.DeadlineExceededError
        assert loop.time() - began == pytest.approx(6.0, abs=0.01)
        spent = tuple(round(sum(each)) for each in list(zip(*error.attempts, strict=True))[2:])
        if place != "backoff":
            where = {"limiter": 0, "gate": 1, "network": 2, "turn": 4, "token": 4}[place]
            assert spent == tuple(6 * (index == where) for index in range(5))
        assert sum(spent) == 6
        if other is not None:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)

    virtual_clock.run(main)


def test_each_attempt_gets_attempt_timeout_or_the_remaining_time() -> None:
    """attempt_timeout=4 and timeout=10, no response: 4 s, 4 s, and the remaining 2 s."""

    async def main() -> None:
        it = rig(status(200, seconds=99.0), attempt_timeout=4.0, retry=RetryPolicy(initial=0))
        error = await it.go(timeout=10.0)
        assert type(error) is sdk.DeadlineExceededError
        assert [round(a.network, 2) for a in error.attempts] == [4.0, 4.0, 2.0]
        assert [a.error for a in error.attempts] == ["RequestTimeoutError"] * 2 + ["DeadlineExceededError"]

    virtual_clock.run(main)


def test_no_call_outlives_its_deadline() -> None:
    """Five hundred calls with random responses, waits and limits: each is over by its deadline."""

    async def main() -> None:
        chance = random.Random(11)
        kinds: list[Any] = [200, 500, status(429, retry_after="1"), status(503, retry_after="2")]
        script = [
            evolve(
                chance.choice([status(200), status(200), status(500), lost_after_write()]), seconds=chance.random() * 3
            )
            for _ in range(900)
        ]
        script += kinds
        chance.shuffle(script)
        it = rig(*script, rate_limit=RateLimit(rate=40, burst=5), max_connections=30, randomness=chance.random)
        loop = asyncio.get_running_loop()

        async def one(deadline: float) -> float:
            began = loop.time()
            await it.go(FIND, timeout=deadline)
            return loop.time() - began - deadline

        late = await asyncio.gather(*(one(chance.choice([0.5, 2.0, 8.0])) for _ in range(500)))
        assert max(late) < 0.01
        assert not any(it.pipeline.in_use().values())

    virtual_clock.run(main)
