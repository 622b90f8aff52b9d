"""One find each for many organizations: results as they complete, in bounded memory, with nothing left behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from timing import settle
from watch.scripted_calls import check_usable

from calls_in_progress_async import (
    CallsInProgressError,
    ClientClosedError,
    ClientStateError,
    CurrentCalls,
    InvalidRequestError,
    Organization,
    OrganizationResult,
    ServerError,
)
from calls_in_progress_async.find_many import FindMany, FindManySettings, OrganizationCalls, OrganizationError


class Finder:
    """Finds no calls, slowly or not at all if told so."""

    def __init__(self) -> None:
        self.running = self.peak = self.finds = 0
        self.gate: asyncio.Event | None = None
        self.errors: dict[int, Exception] = {}

    async def find(self, organization: Organization) -> CurrentCalls:
        self.finds += 1
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(0)
            if error := self.errors.get(getattr(organization, "id", 0)):
                raise error
            return CurrentCalls()
        finally:
            self.running -= 1

    def many(self, organizations: Any, max_in_flight: int = 64) -> FindMany:
        return many_of(self.find, organizations, max_in_flight)


def many_of(find: Any, organizations: Any, max_in_flight: int = 64, check: Any = check_usable) -> FindMany:
    return FindMany(find, organizations, FindManySettings(max_in_flight=max_in_flight), check_usable=check)


@pytest.fixture
def finder() -> Finder:
    return Finder()


def some(count: int) -> list[Organization]:
    return [Organization.advertiser(number) for number in range(1, count + 1)]


async def asynchronously(organizations: list[Organization]) -> AsyncIterator[Organization]:
    for organization in organizations:
        await asyncio.sleep(0)
        yield organization


@pytest.mark.parametrize("count", [0, 1, 3, 200])
@pytest.mark.parametrize("how", [list, iter, asynchronously])
async def test_every_organization_has_one_result(finder: Finder, count: int, how: Any) -> None:
    """Lists, iterators and async iterators: one result each, and no more in flight than allowed."""
    results = [result async for result in finder.many(how(some(count)), 7)]
    assert sorted(result.organization.id for result in results) == list(range(1, count + 1))
    assert all(result.calls == CurrentCalls() and result.error is None for result in results)
    assert finder.peak <= min(count, 7)


async def test_a_failure_is_a_result(finder: Finder) -> None:
    """An organization that fails, with any kind of exception, does not end the loop."""
    finder.errors = {2: ServerError("HTTP 500"), 3: KeyError("a token callable")}
    results = {result.organization.id: result async for result in finder.many(some(4))}
    assert results[2] == OrganizationError(Organization.advertiser(2), finder.errors[2])
    assert isinstance(results[3].error, KeyError)
    assert results[1] == OrganizationCalls(Organization.advertiser(1), CurrentCalls())
    assert all(isinstance(result, OrganizationResult) for result in results.values())
    assert results[4].calls == CurrentCalls()


async def test_results_come_as_they_complete(finder: Finder) -> None:
    """A slow organization holds up nobody."""
    slow = asyncio.Event()

    async def find(organization: Organization) -> CurrentCalls:
        if organization.id == 1:
            await slow.wait()
        return CurrentCalls()

    results = many_of(find, some(5), 2)
    first = [(await anext(results)).organization.id for _ in range(4)]
    assert first == [2, 3, 4, 5]
    slow.set()
    assert (await anext(results)).organization.id == 1
    with pytest.raises(StopAsyncIteration):
        await anext(results)


async def test_only_finds_in_flight_are_held(finder: Finder) -> None:
    """An endless source is read only as finds end; a consumer that sleeps stops it."""
    read = 0

    def endless() -> Iterator[Organization]:
        nonlocal read
        while True:
            read += 1
            yield Organization.advertiser(read)

    results = finder.many(endless(), 5)
    await anext(results)
    for _ in range(20):
        await settle()
    assert read <= 10
    assert finder.running == 0
    await results.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(results)


async def test_leaving_the_loop_cancels_the_rest(finder: Finder) -> None:
    """A break is enough: nothing goes on running, and no task is left."""
    before = asyncio.all_tasks()
    async for _ in finder.many(some(1000), 8):
        finder.gate = asyncio.Event()
        if finder.finds > 50 or finder.running == 0:
            break
    gc.collect()
    await settle()
    assert finder.running == 0
    assert asyncio.all_tasks() == before


async def test_leaving_the_loop_over_an_async_source(finder: Finder) -> None:
    """The fetch of the next organization is cancelled too."""
    before = asyncio.all_tasks()
    never = asyncio.Event()

    async def source() -> AsyncIterator[Organization]:
        yield Organization.advertiser(1)
        await never.wait()

    async for _ in finder.many(source()):
        break
    gc.collect()
    await settle()
    assert asyncio.all_tasks() == before


async def test_closing_waits_for_the_end(finder: Finder) -> None:
    """After async with, or aclose, nothing is running any more."""
    finder.gate = asyncio.Event()
    async with finder.many(asynchronously(some(100)), 8) as results:
        waiting = asyncio.create_task(anext(results))
        while finder.running < 8:
            await asyncio.sleep(0)
        waiting.cancel()
    assert finder.running == 0
    await results.aclose()


async def test_a_cancelled_wait_loses_no_result(finder: Finder) -> None:
    """A cancelled __anext__ changes nothing, with an async source as well."""
    finder.gate = asyncio.Event()
    results = finder.many(asynchronously(some(20)), 4)
    for _ in range(10):
        waiting = asyncio.create_task(anext(results))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    finder.gate.set()
    assert sorted([result.organization.id async for result in results]) == list(range(1, 21))


async def test_a_client_that_cannot_be_used_is_no_result(finder: Finder) -> None:
    """If the client itself is closed, the loop ends with its error."""

    def closed() -> None:
        raise ClientClosedError("closed")

    finder.errors = {1: ClientClosedError("closed")}
    results = many_of(finder.find, some(100), 2, closed)
    with pytest.raises(ClientClosedError):
        [result async for result in results]
    await settle()
    assert finder.running == 0


async def test_a_client_state_error_of_a_token_callable_is_a_result(finder: Finder) -> None:
    """A token callable's own client may be closed: that is the failure of one organization."""
    finder.errors = {2: ClientStateError("the token callable's own client")}
    results = {result.organization.id: result.error async for result in finder.many(some(4), 2)}
    assert results == {1: None, 2: finder.errors[2], 3: None, 4: None}


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_a_source_that_fails(finder: Finder, how: str) -> None:
    """Organizations before the failure have their results; then the source's exception is raised, once."""

    def source() -> Iterator[Organization]:
        yield from some(3)
        raise ZeroDivisionError

    async def async_source() -> AsyncIterator[Organization]:
        for each in source():
            yield each

    results = finder.many(source() if how == "sync" else async_source())
    assert {(await anext(results)).organization for _ in range(3)} == set(some(3))
    with pytest.raises(ZeroDivisionError):
        await anext(results)
    with pytest.raises(StopAsyncIteration):
        await anext(results)
    assert finder.running == 0


async def test_a_source_that_is_interrupted(finder: Finder) -> None:
    """An interrupt in the source, such as Ctrl-C, is raised at once, and running finds are cancelled."""
    finder.gate = asyncio.Event()

    def source() -> Iterator[Organization]:
        yield from some(3)
        raise GeneratorExit

    with pytest.raises(GeneratorExit):
        await anext(finder.many(source()))
    await settle()
    assert finder.running == 0


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("wrong", [None, "advertiser:2", 2, ("advertiser", 2)])
async def test_a_wrong_entry_of_an_iterator_ends_the_loop(finder: Finder, how: str, wrong: Any) -> None:
    """Results of the organizations before it come first; then the mistake is raised by name, once."""
    entries: list[Any] = [*some(2), wrong, Organization.network(99)]

    async def async_source() -> AsyncIterator[Organization]:
        for each in entries:
            yield each

    results = finder.many(iter(entries) if how == "sync" else async_source())
    assert {(await anext(results)).organization for _ in range(2)} == set(some(2))
    with pytest.raises(InvalidRequestError, match="must be Organization objects") as caught:
        await anext(results)
    assert caught.value.parameter == "organizations"
    with pytest.raises(StopAsyncIteration):
        await anext(results)
    assert finder.finds == 2


@pytest.mark.parametrize(
    "organizations",
    [5, None, "advertiser:2", b"x", Organization.advertiser(2), ["advertiser:2"], {"advertiser:2"}, {"a": 1}, (None,)],
)
def test_wrong_organizations_are_rejected_at_once(finder: Finder, organizations: Any) -> None:
    """Text, a single organization and a collection with a wrong entry are rejected by name, at the call."""
    with pytest.raises(InvalidRequestError) as caught:
        finder.many(organizations)
    assert caught.value.parameter == "organizations"


@pytest.mark.parametrize("number", [0, 1.5, True])
def test_max_in_flight_is_checked(finder: Finder, number: Any) -> None:
    """A number out of its range is rejected at the call."""
    with pytest.raises(InvalidRequestError) as caught:
        finder.many([], number)
    assert caught.value.parameter == "max_in_flight"


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_loop_that_ended_first(finder: Finder, how: str) -> None:
    """An iterator freed after its event loop has closed raises no error."""

    async def source() -> AsyncIterator[Organization]:
        yield Organization.advertiser(1)
        await asyncio.Event().wait()

    async def start() -> FindMany:
        results = finder.many(some(3) if how == "sync" else source())
        await anext(results)
        await settle()
        return results

    loop = asyncio.new_event_loop()
    results = loop.run_until_complete(start())
    waiting = results._fetching
    if waiting is not None:
        waiting._log_destroy_pending = False  # nobody can cancel the task any more
    loop.close()
    del results
    gc.collect()


async def test_a_cancellation_from_within_is_a_result(finder: Finder) -> None:
    """If a token callable's own work is cancelled, one organization has failed."""

    async def find(organization: Organization) -> CurrentCalls:
        if organization.id == 2:
            raise asyncio.CancelledError
        return await finder.find(organization)

    many = many_of(find, some(3), 1)
    results = {result.organization.id: result.error async for result in many}
    assert results.keys() == {1, 2, 3}
    assert isinstance(results[2], CallsInProgressError)
    assert (results[1], results[3]) == (None, None)


@pytest.mark.parametrize("told", [False, True])
async def test_after_a_closed_client_what_is_running_still_ends(told: bool) -> None:
    """Running finds end with results while the client drains; then the error is raised once, and no find starts."""
    ready, asked = asyncio.Event(), []

    def check() -> None:
        raise ClientClosedError("closed")

    async def find(organization: Organization) -> CurrentCalls:
        asked.append(organization.id)
        if organization.id == 1:
            raise ClientClosedError("closed")
        await ready.wait()
        return CurrentCalls()

    many = many_of(find, some(100), 3, check)
    waiting = asyncio.create_task(anext(many))
    await settle()
    if told:
        many._end_with_client()
    ready.set()
    assert (await waiting).organization.id == 2
    assert (await anext(many)).organization.id == 3
    with pytest.raises(ClientClosedError):
        await anext(many)
    with pytest.raises(StopAsyncIteration):
        await anext(many)
    assert asked == [1, 2, 3]


async def test_closing_after_every_find_has_started_changes_nothing(finder: Finder) -> None:
    """If all finds have started, every result is told, and the iteration ends as usual."""
    many = finder.many(some(3), 5)
    results = [await anext(many)]
    await settle()
    many._end_with_client()
    results += [result async for result in many]
    assert sorted(result.organization.id for result in results) == [1, 2, 3]
    with pytest.raises(StopAsyncIteration):
        await anext(many)


async def test_a_source_that_waits_does_not_hold_up_a_closed_client() -> None:
    """The iteration raises at once, and the source is closed."""
    ended = []

    async def source() -> AsyncIterator[Organization]:
        try:
            yield Organization.advertiser(1)
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def find(_: Organization) -> CurrentCalls:
        return CurrentCalls()

    many = many_of(find, source())
    assert (await anext(many)).organization.id == 1
    waiting = asyncio.create_task(anext(many))
    await settle()
    many._end_with_client()
    with pytest.raises(ClientClosedError):
        await waiting
    await settle()
    assert ended == [True]


@pytest.mark.parametrize("how", [list, asynchronously])
async def test_a_loop_left_with_a_closed_client_is_no_complaint(how: Any) -> None:
    """The finds of a client that closes around an abandoned loop fail, and asyncio does not log it."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    gate = asyncio.Event()

    async def find(_: Organization) -> CurrentCalls:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            raise ClientClosedError("closed") from None
        raise ClientClosedError("closed")

    def check() -> None:
        raise ClientClosedError("closed")

    for ending in (gate.set, lambda: None):
        many = many_of(find, how(some(3)), 3, check)
        waiting = asyncio.create_task(anext(many))
        await settle()
        waiting.cancel()
        ending()
        await settle()
        del many, waiting
        gate.clear()
        await settle()
        gc.collect()
    assert complaints == []


async def test_results_that_nobody_takes_count_as_in_flight(finder: Finder) -> None:
    """A slow consumer has no more results waiting than may be in flight."""
    many = finder.many(some(100), 7)
    for taken in range(1, 30):
        await anext(many)
        await settle()
        assert finder.finds - taken <= 7
