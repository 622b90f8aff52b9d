"""The outcome of a write: never over a newer one, never twice by accident, and never a lie about it."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import pytest
from attrs import evolve
from faults.leaks import nothing_left
from raw_server import ACME, NO_CALLS, RawServer, reply, say, say_and_close
from transport.pipelines import FIND, Rig, rig, write

import calls_in_progress_async as sdk
from calls_in_progress_async import RateLimit, RetryPolicy
from calls_in_progress_async.testing import lost_after_write, status, virtual_clock

pytestmark = pytest.mark.usefixtures("way")

LOST = sdk.ConnectionLostError
SLOW = sdk.RequestTimeoutError
NEVER = sdk.ConnectionFailedError


def fresh(what: Any) -> Any:
    """Make a new exception each time, because a raised one belongs to its request."""
    return what() if isinstance(what, type) else what


# Repetitions.

RENAME = {"external_unique_id": "a", "new_external_unique_id": "b"}

Rejected_AT_THE_DOOR: list[Any] = [
    NEVER, 408, 425, status(429, retry_after="0"), status(503, retry_after="0"),
]  # fmt: skip
LOST_LATE = evolve(lost_after_write(), seconds=1)
MAYBE_DONE: list[Any] = [LOST, SLOW, 500, 502, 503, 504, status(503, retry_after="soon")]


@pytest.mark.parametrize("first", Rejected_AT_THE_DOOR, ids=str)
@pytest.mark.parametrize("changes", [{}, {"method": "POST"}, RENAME])
def test_what_surely_was_not_carried_out_is_repeated(changes: Any, first: Any) -> None:
    """PUT, POST and a rename alike."""

    async def main() -> None:
        it = rig(fresh(first), 200)
        assert await it.go(write(**changes)) == 200
        assert len(it.transport.sent) == 2

    virtual_clock.run(main)


@pytest.mark.parametrize("first", MAYBE_DONE, ids=str)
def test_what_may_have_been_carried_out_is_repeated_only_if_that_does_no_harm(first: Any) -> None:
    """A PUT is; a rename never is, not even with retry_post; a POST only with retry_post."""

    async def main() -> None:
        for changes, retry_post, sent in [
            ({}, False, 2),
            ({"method": "POST"}, False, 1),
            ({"method": "POST"}, True, 2),
            (RENAME, False, 1),
            (RENAME, True, 1),
            ({**RENAME, "method": "POST"}, True, 1),
            ({"external_unique_id": "a", "new_external_unique_id": "a"}, False, 2),
        ]:
            it = rig(fresh(first), 200, retry=RetryPolicy(retry_post=retry_post))
            outcome = await it.go(write(**changes))
            assert len(it.transport.sent) == sent, changes
            if sent == 1 and not isinstance(outcome, int):
                assert outcome.may_have_been_applied
                assert "not repeated, since it may have been carried out" in str(outcome)

    virtual_clock.run(main)


async def test_a_rename_that_was_applied_is_no_false_404() -> None:
    """The server renames and drops the connection: the error is a lost connection, maybe applied, and no 404."""
    names = {"old"}

    async def rename(exchange: Any) -> None:
        if "old" not in names:
            await exchange.send(reply(404, '{"error": "RecordNotFound"}'))
            return
        names.remove("old")
        exchange.close()

    async with RawServer([rename]) as server, nothing_left(server) as client:
        with pytest.raises(sdk.ConnectionLostError) as raised:
            await client.update(ACME, external_unique_id="old", new_external_unique_id="new")
        assert raised.value.may_have_been_applied
        assert (len(server.seen), names) == (1, set())


# May it have been applied?

LATER: list[tuple[Any, type[Exception]]] = [
    (400, sdk.RequestRejectedError), (401, sdk.AuthenticationError), (403, sdk.PermissionDeniedError),
    (404, sdk.CallNotFoundError), (409, sdk.UnexpectedResponseError), (422, sdk.RequestRejectedError),
    (408, sdk.UnexpectedResponseError), (429, sdk.RateLimitedError), (503, sdk.ServerError),
    (302, sdk.RedirectRefusedError),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind"), LATER)
@pytest.mark.parametrize("first", [say_and_close(), say(reply(500))], ids=["lost", "500"])
async def test_what_may_have_been_applied_stays_so_whatever_a_later_attempt_says(
    first: Any, status: int, kind: Any
) -> None:
    """The second response is about the second attempt."""
    async with RawServer([first, say(reply(status, b"", "Retry-After: 0"))]) as server:
        async with nothing_left(server, retry=RetryPolicy(max_attempts=2, initial=0)) as client:
            with pytest.raises(kind) as raised:
                await client.update(ACME, transaction_id="T", custom_data={"a": "b"})
        assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (2, True)


def test_may_have_been_applied_stays_true_if_the_client_gives_up() -> None:
    """The client is closed, out of time, rejected by the limiter or without a token after the lost attempt."""

    async def main() -> None:
        closed = rig(LOST(), 200, retry=RetryPolicy(initial=50, maximum=50))
        task = asyncio.create_task(closed.go(write()))
        await asyncio.sleep(1)
        await closed.pipeline.close(None)
        late = rig(LOST_LATE, status(200, seconds=100), retry=RetryPolicy(initial=0))
        limited = rig(LOST(), 200, retry=RetryPolicy(initial=0), rate_limit=RateLimit(rate=0.1, burst=1, max_wait=1))
        tokens: list[Any] = ["token", ""]
        tokenless = rig(LOST(), 401, token=lambda _: tokens.pop(0), retry=RetryPolicy(initial=0))
        outcomes = [
            (await task, sdk.ClientClosedError),
            (await late.go(write(), timeout=5), sdk.DeadlineExceededError),
            (await limited.go(write()), sdk.RateLimitWaitError),
            (await tokenless.go(write()), sdk.InvalidRequestError),
        ]
        for error, kind in outcomes:
            assert type(error) is kind
            assert error.may_have_been_applied

    virtual_clock.run(main)


def test_may_have_been_applied_is_false_if_nothing_was_sent() -> None:
    """The request never connected, or waited for earlier writes, its token or the limiter; finds never apply."""

    async def main() -> None:
        outcomes = []
        for first in (NEVER(), status(429, retry_after="99"), 401, 403):
            it = rig(first)
            outcomes.append((await it.fail(write())).may_have_been_applied)
        waiting = rig(status(200, seconds=50), max_connections=1)
        tasks = [asyncio.create_task(waiting.go(write())) for _ in range(2)]
        tasks.append(asyncio.create_task(waiting.go(write(transaction_id="other"))))
        await asyncio.sleep(1)
        await waiting.pipeline.close(None)
        running, *queued = await asyncio.gather(*tasks)
        assert running.may_have_been_applied
        outcomes += [each.may_have_been_applied for each in queued]
        outcomes.append((await rig(LOST()).go(FIND)).may_have_been_applied)
        assert outcomes == [False] * 7

    virtual_clock.run(main)


# Order.


async def test_updates_of_one_call_reach_the_wire_in_order_one_at_a_time() -> None:
    """Three calls, ten updates each, faults among them: per call in the order asked for, never overlapping."""
    chance = random.Random(7)
    running: set[str] = set()

    async def act(exchange: Any) -> None:
        call = exchange.request.text.split("transaction_id=")[1].split(" ")[0]
        assert call not in running
        running.add(call)
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        running.discard(call)
        await (say(NO_CALLS) if chance.random() < 0.8 else say(reply(429, b"", "Retry-After: 0")))(exchange)

    async with RawServer([act]) as server:
        settings = {"retry": RetryPolicy(initial=0, max_attempts=50, budget=10**6, organization_budget=10**6)}
        async with nothing_left(server, **settings) as client:
            await asyncio.gather(
                *(
                    client.update(ACME, transaction_id=call, custom_data={"n": f"{n:02}"})
                    for n, call in itertools.product(range(10), "ABC")
                )
            )
        for call in "ABC":
            seen = [
                request.text.split('"value":"')[1][:2]
                for request in server.seen
                if f"transaction_id={call} " in request.text
            ]
            assert seen == sorted(seen)
            assert [key for key, _ in itertools.groupby(seen)] == [f"{n:02}" for n in range(10)]


def waiting_rig(place: str) -> Rig:
    """Make a rig for an update: its first attempt is lost after 1 s, and its second waits 100 s somewhere."""
    quick = RetryPolicy(initial=0)
    if place == "backoff":
        return rig(LOST_LATE, 200, retry=RetryPolicy(initial=100, maximum=100))
    if place == "limiter":
        return rig(LOST_LATE, 200, retry=quick, rate_limit=RateLimit(rate=0.01, burst=1))
    return rig(
        LOST_LATE,
        status(200, seconds=99),
        200,
        retry=quick,
        max_connections=1,
        attempt_timeout=None,
    )


@pytest.mark.parametrize("place", ["backoff", "limiter", "gate"])
def test_a_newer_update_ends_the_repetition_of_an_older_one_in_any_wait(place: str) -> None:
    """The older raises SupersededError, maybe applied; the newer goes out, and the older never again."""

    async def main() -> None:
        it = waiting_rig(place)
        older = asyncio.create_task(it.go(write(custom_data={"v": "old"})))
        await asyncio.sleep(0)
        beside = asyncio.create_task(it.go(FIND)) if place == "gate" else None  # takes the slot in between
        await asyncio.sleep(5)
        newer = asyncio.create_task(it.go(write(custom_data={"v": "new"})))
        error = await older
        assert type(error) is sdk.SupersededError
        assert error.may_have_been_applied
        assert await newer == 200
        if beside is not None:
            assert await beside == 200
        writes = [request.json for request in it.transport.requests if request.json]
        assert ["old" in str(each) for each in writes] == [True, False]

    virtual_clock.run(main)


def test_the_newest_update_is_repeated() -> None:
    """An update of another call supersedes nothing."""

    async def main() -> None:
        it = rig(LOST(), LOST(), 200, retry=RetryPolicy(initial=10))
        newest = asyncio.create_task(it.go(write()))
        await asyncio.sleep(1)
        other = asyncio.create_task(it.go(write(transaction_id="OTHER")))
        assert (await newest, await other) == (200, 200)

    virtual_clock.run(main)


def test_the_last_value_on_the_wire_is_the_newest() -> None:
    """In 200 updates of one call with random faults, the last one on the wire is the newest."""

    async def main() -> None:
        chance = random.Random(3)
        kinds = [status(200), status(500), lost_after_write(), lost_after_write()]
        script = [evolve(chance.choice(kinds), seconds=chance.random()) for _ in range(2000)]
        it = rig(*script, 200, retry=RetryPolicy(budget=10**6, organization_budget=10**6), randomness=chance.random)
        tasks = []
        for n in range(200):
            tasks.append(asyncio.create_task(it.go(write(custom_data={"n": f"{n:03}"}))))
            await asyncio.sleep(chance.random())
        outcomes = await asyncio.gather(*tasks)
        writes = [request.json["call_in_progress"] for request in it.transport.requests if request.json]
        sent = [each["custom_data"][0]["value"] for each in writes]
        assert sent == sorted(sent)
        assert sent[-1] == "199"
        kinds = {type(each) for each in outcomes}
        assert {int, sdk.SupersededError} <= kinds <= {int, sdk.SupersededError, LOST, sdk.DeadlineExceededError}

    virtual_clock.run(main)
