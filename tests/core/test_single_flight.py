"""Shared work: done once, cancelled with its last waiter, and an error of its own for each waiter."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
from collections.abc import Sequence
from contextvars import Context, ContextVar
from typing import Any

import pytest
from raw_server import ACME
from transport.pipelines import FIND, rig, write

from calls_in_progress_async import (
    DeadlineExceededError,
    InvalidRequestError,
    Organization,
    RateLimitedError,
    RequestRejectedError,
    RetryPolicy,
    ServerError,
)
from calls_in_progress_async.single_flight import Flight, SingleFlight
from calls_in_progress_async.testing import status, virtual_clock
from calls_in_progress_async.transport.tokens import Tokens

pytestmark = pytest.mark.usefixtures("on_virtual_clock")


class Work:
    """Work of 10 s with a count of its beginnings and cancellations; ends with the next of its results."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.begun = 0
        self.joined: Sequence[Context] = ()
        self.given_up = 0
        self.setback: Exception | None = None
        self.stubborn = False
        self.kept: list[tuple[Any, Any]] = []
        self.flights: SingleFlight[Any] = SingleFlight(lambda key, result: self.kept.append((key, result)))

    async def __call__(self, flight: Flight[Any] | None = None) -> Any:
        result = self.results[self.begun]
        self.begun += 1
        if flight is not None:
            self.joined, flight.setback = flight.joined, self.setback
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            self.given_up += 1
            if not self.stubborn:
                raise
            await asyncio.sleep(1)
        if isinstance(result, Exception):
            raise result
        return result

    def join(self, key: Any = "key", timeout: float | None = None) -> asyncio.Task[Any]:
        return asyncio.create_task(self.flights.run(key, self, timeout))


async def test_callers_with_one_key_share_one_result() -> None:
    """Callers join at any time before the end; a later caller or another key starts anew."""
    work = Work("first", "other", "second")
    early = work.join()
    await asyncio.sleep(1)
    assert ("key" in work.flights, len(work.flights), "other" in work.flights) == (True, 1, False)
    other, late = work.join("other"), work.join()
    await asyncio.sleep(1)
    assert len(work.flights) == 2
    assert await asyncio.gather(early, late, other) == ["first", "first", "other"]
    assert (len(work.flights), work.begun) == (0, 2)
    assert await work.join() == "second"
    assert work.kept == [("key", "first"), ("other", "other"), ("key", "second")]


async def test_a_cancelled_waiter_leaves_the_others_the_result() -> None:
    """The first waiter may be cancelled as any other."""
    work = Work("result")
    waiters = [work.join() for _ in range(3)]
    await asyncio.sleep(1)
    waiters[0].cancel()
    await asyncio.sleep(1)
    waiters[2].cancel()
    done = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(each) for each in done] == [asyncio.CancelledError, str, asyncio.CancelledError]
    assert (work.begun, work.given_up, work.kept) == (1, 0, [("key", "result")])


async def test_the_last_waiter_cancels_the_work() -> None:
    """The work is cancelled at once, and the next caller starts anew."""
    work = Work("never", "result")
    waiters = [work.join() for _ in range(2)]
    await asyncio.sleep(1)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    assert (len(work.flights), work.begun) == (0, 1)
    assert await work.join() == "result"
    assert (work.begun, work.given_up, work.kept) == (2, 1, [("key", "result")])


async def test_the_late_result_of_cancelled_work_is_not_kept() -> None:
    """The result may be older than its successor's, and does not end the successor."""
    work = Work("old", "new")
    work.stubborn = True
    first = work.join()
    await asyncio.sleep(1)
    first.cancel()
    await asyncio.wait([first])
    second = work.join()
    await asyncio.sleep(5)  # the old result has come by now
    assert (work.kept, "key" in work.flights) == ([], True)
    third = work.join()
    assert await asyncio.gather(second, third) == ["new", "new"]
    assert (work.kept, work.begun) == ([("key", "new")], 2)


@pytest.mark.parametrize("stubborn", [False, True])
def test_work_that_ends_when_nobody_waits_any_more_is_no_complaint(stubborn: bool) -> None:
    """Cancelled, or with an error: the loop does not log it as never retrieved."""

    async def main() -> list[Any]:
        work = Work(ValueError("too late"))
        work.stubborn = stubborn
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        waiter = work.join()
        await asyncio.sleep(1)
        waiter.cancel()
        await asyncio.wait([waiter])
        await asyncio.sleep(5)
        work.results.clear()  # the error, with all frames of its traceback
        del waiter  # its cancellation, with the work
        gc.collect()
        return complaints

    assert virtual_clock.run(main) == []


@pytest.mark.parametrize(("timeout", "seconds"), [(0, 0), (4.0, 4.0)])
async def test_each_waiter_has_a_separate_timeout(timeout: float, seconds: float) -> None:
    """The others wait longer; the last timeout cancels the work."""
    loop = asyncio.get_running_loop()
    work = Work("result", "never")
    patient = work.join()
    began = loop.time()
    with pytest.raises(DeadlineExceededError, match="longer than its deadline"):
        await work.join(timeout=timeout)
    assert loop.time() - began == seconds
    assert await patient == "result"
    with pytest.raises(DeadlineExceededError):
        await work.join(timeout=9)
    assert (len(work.flights), work.begun) == (0, 2)
    await asyncio.sleep(0)
    assert (work.given_up, work.kept) == (1, [("key", "result")])


async def test_the_work_knows_the_contexts_of_the_callers_who_join() -> None:
    """The first caller's context is the work's own; a caller after the end joins nothing."""
    name: ContextVar[str] = ContextVar("name")
    work, tasks = Work("first", "second"), []
    for each in ("first", "second", "third"):
        name.set(each)
        tasks.append(work.join())
    await asyncio.gather(*tasks)
    assert [each[name] for each in work.joined] == ["second", "third"]
    await work.join()
    assert work.joined == []


async def test_a_timeout_raises_the_last_setback_of_the_work() -> None:
    """At its timeout each waiter gets its own copy of the last error behind the delay."""
    work = Work("result")
    work.setback = RateLimitedError("HTTP 429", status=429)
    raised = await asyncio.gather(work.join(timeout=3), work.join(timeout=3), return_exceptions=True)
    assert [str(each) for each in raised] == ["HTTP 429"] * 2
    assert len({id(each) for each in (*raised, work.setback)}) == 3


async def test_a_result_within_the_timeout_is_returned() -> None:
    """A timeout longer than the work changes nothing."""
    assert await Work("result").join(timeout=11) == "result"


def caused() -> Exception:
    error = ServerError("no", status=500)
    error.__cause__ = LookupError("why")
    return error


async def test_each_waiter_raises_a_separate_copy_of_the_error() -> None:
    """Each copy has the original's traceback and cause; a note for one waiter is not for another."""
    work = Work(shared := caused())
    first, second = await asyncio.gather(work.join(), work.join(), return_exceptions=True)
    assert isinstance(first, ServerError)
    assert isinstance(second, ServerError)
    assert len({id(each) for each in (first, second, shared)}) == 3
    assert str(first) == str(second) == "no"
    assert first.status == second.status == 500
    for each in (first, second):
        assert each.__cause__ is shared.__cause__
        assert "in __call__" in "".join(traceback.format_tb(each.__traceback__))
    first.add_note("of the first")
    first.may_have_been_applied = True
    assert not second.may_have_been_applied
    assert not hasattr(second, "__notes__")
    assert work.kept == []
    assert len(work.flights) == 0


class Uncopied(Exception):
    """An exception with more arguments than its base class gets."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


async def test_an_error_without_a_copy_is_raised_unchanged() -> None:
    """Every waiter gets the same error if its class cannot be copied."""
    work = Work(shared := Uncopied("a", "b"))
    assert await asyncio.gather(work.join(), work.join(), return_exceptions=True) == [shared, shared]


# Tokens: two requests wait for one token.


async def test_a_late_rejection_does_not_forget_a_newer_token() -> None:
    """Only a rejected token is asked for again; a text needs no asking."""
    results = ["first", "second", "third"]
    tokens = Tokens(lambda _: results.pop(0))
    assert await tokens.get(ACME) == "first"
    tokens.forget(ACME, "first")
    assert await tokens.get(ACME) == "second"
    tokens.forget(ACME, "first")
    assert await tokens.get(ACME) == "second"
    tokens.forget(ACME, "second")
    assert await tokens.get(ACME) == "third"
    assert (tokens.static, Tokens("text").static) == (None, "text")


def refreshing(second: Any) -> Any:
    """Make a callable with one token, and with ``second`` 10 s later."""
    results = ["first-token"]

    async def ask(_: object) -> Any:
        if results:
            return results.pop()
        await asyncio.sleep(10)
        if isinstance(second, Exception):
            raise second
        return second

    return ask


async def update_and_find(second: Any) -> tuple[Any, Any]:
    """Reject an update, lost once, and a find; both wait for one token."""
    it = rig(502, status(401, seconds=2), 401, token=refreshing(second), retry=RetryPolicy(initial=0))
    updating = asyncio.create_task(it.go(write()))
    await asyncio.sleep(1)
    found = await it.go(FIND)
    assert len(it.transport.sent) == 3
    return await updating, found


async def test_a_bad_token_is_an_error_of_each_request() -> None:
    """Each error has the attempts of its request, and only the update may have been applied."""
    updated, found = await update_and_find("mal formed")
    assert type(updated) is type(found) is InvalidRequestError
    assert updated is not found
    assert (updated.may_have_been_applied, found.may_have_been_applied) == (True, False)
    assert [[each.status for each in error.attempts] for error in (updated, found)] == [[502, 401], [401]]


async def test_an_error_of_the_callable_is_raised_by_each_request() -> None:
    """Only the update's error has the note."""
    updated, found = await update_and_find(OSError("the vault is closed"))
    assert (str(updated), str(found)) == ("the vault is closed",) * 2
    assert updated.__notes__ == ["An earlier attempt of this update may have been applied."]
    assert not hasattr(found, "__notes__")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks here")
@pytest.mark.parametrize("waits", [False, True])
def test_an_eager_task_factory_makes_no_difference(waits: bool) -> None:
    """The work then begins, and may end, before there is a task of it to wait for."""

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        asked = 0

        async def token(_: Organization) -> str:
            nonlocal asked
            asked += 1
            if waits:
                await asyncio.sleep(1)
            return "late"

        it = rig(200, token=token)
        assert await asyncio.gather(it.go(), it.go()) == [200, 200]
        assert asked == 1

    virtual_clock.run(main)


# Cancelled by a stranger.


async def test_a_task_cancelled_before_it_began_does_not_poison_its_key() -> None:
    """The waiters of the cancelled task share a new one, and so do later callers."""
    work = Work("value", "another")
    before = asyncio.all_tasks()
    waiting = [work.join() for _ in range(2)]
    await asyncio.sleep(0)
    (task,) = asyncio.all_tasks() - before - {*waiting}
    task.cancel()
    assert await asyncio.gather(*waiting) == ["value", "value"]
    assert (work.begun, len(work.flights)) == (1, 0)
    assert await work.join() == "another"


async def test_a_task_cancelled_while_it_runs_is_a_cancellation_to_its_waiters() -> None:
    """The waiters are cancelled, and the next caller starts anew."""
    work = Work("value", "another")
    before = asyncio.all_tasks()
    waiting = work.join()
    await asyncio.sleep(1)
    (task,) = asyncio.all_tasks() - before - {waiting}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await work.join() == "another"


async def test_a_refresh_cancelled_before_it_began_leaves_a_client_that_has_tokens() -> None:
    """A program may cancel every task once, and go on."""

    async def ask(_: Organization) -> str:
        await asyncio.sleep(1)
        return "late"

    it = rig(200, token=ask)
    before = asyncio.all_tasks()
    first = asyncio.create_task(it.go())
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - before - {first}:
        task.cancel()
    assert await first == 200
    assert await it.go() == 200


async def test_what_an_error_has_already_is_copied_too() -> None:
    """A note for one waiter is not seen by another, nor is a change of a field's errors."""
    error = RequestRejectedError("no", status=400, field_errors={"name": ("is blank",)})
    error.add_note("of the server")
    work = Work(error)
    first, second = await asyncio.gather(work.join(), work.join(), return_exceptions=True)
    first.add_note("of the first")
    first.field_errors["city"] = ("is blank",)
    assert (first.__notes__, second.__notes__) == (["of the server", "of the first"], ["of the server"])
    assert second.field_errors == {"name": ("is blank",)}


# Tokens.


def test_tokens_of_so_many_organizations_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, and asked for again."""
    monkeypatch.setattr("calls_in_progress_async.transport.tokens._MAX_REMEMBERED", 3)
    asked: list[int] = []

    async def main() -> None:
        tokens = Tokens(lambda organization: asked.append(organization.id) or f"token-{organization.id}")
        for number in (1, 2, 3, 4, 4, 3, 2, 1):
            assert await tokens.get(Organization.advertiser(number)) == f"token-{number}"

    virtual_clock.run(main)
    assert asked == [1, 2, 3, 4, 1]
