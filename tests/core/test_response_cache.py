"""Callers with the same question share one request, and its response for a while."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from calls_in_progress_async import DeadlineExceededError, ServerError, clock, response_cache
from calls_in_progress_async.response_cache import ResponseCache


class Asked:
    """Counts its requests, and responds once its gate is open."""

    def __init__(self) -> None:
        self.count = self.cancelled = 0
        self.gate: asyncio.Event | None = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, _: object = ()) -> str:
        self.count += 1
        number = self.count
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return f"response {number}"


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def cache() -> ResponseCache[str]:
    return ResponseCache()


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock turned by hand: its ``now`` is the package's time."""
    hand = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(clock, "now", lambda: hand.now)
    return hand


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


def get(cache: ResponseCache[str], asked: Any, key: str = "key", age: float = 1.0, timeout: Any = None) -> Any:
    return asyncio.create_task(cache.get(key, asked, age, timeout))


async def test_identical_requests_are_sent_once(cache: ResponseCache[str], asked: Asked) -> None:
    """Ten callers with one question share a request; another question has another one."""
    tasks = [get(cache, asked) for _ in range(10)] + [get(cache, asked, "other")]
    await settle()
    assert asked.gate is not None
    asked.gate.set()
    assert await asyncio.gather(*tasks) == ["response 1"] * 10 + ["response 2"]
    assert (asked.count, cache.hits) == (2, 9)


async def test_a_young_response_is_shared(cache: ResponseCache[str], asked: Asked, hand: Any) -> None:
    """A response no older than max_age takes no request; an older one does."""
    asked.gate = None
    assert await get(cache, asked) == "response 1"
    hand.now += 1.0
    assert await get(cache, asked) == "response 1"
    assert await get(cache, asked, age=0.5) == "response 2"
    hand.now += 1.5
    assert await get(cache, asked) == "response 3"
    hand.now += 0.1
    assert await get(cache, asked, age=0.0) == "response 4"


async def test_a_cancelled_waiter_cancels_nobody_else(cache: ResponseCache[str], asked: Asked) -> None:
    """The others get their response, even if the first caller leaves; with the last one the request ends."""
    tasks = [get(cache, asked) for _ in range(3)]
    await settle()
    for task in tasks[:2]:
        task.cancel()
    await settle()
    assert asked.cancelled == 0
    assert asked.gate is not None
    asked.gate.set()
    assert await tasks[2] == "response 1"
    asked.gate.clear()
    last = get(cache, asked, age=0.0, key="another")
    await settle()
    last.cancel()
    await settle()
    assert asked.cancelled == 1
    asked.gate.set()
    assert await get(cache, asked, key="another") == "response 3"


async def test_who_goes_before_the_request_has_begun(cache: ResponseCache[str], asked: Asked) -> None:
    """A request without a first step leaves nothing behind."""
    task = get(cache, asked)
    await asyncio.sleep(0)
    task.cancel()
    await settle()
    assert asked.count <= 1
    assert not cache._flights


@pytest.mark.parametrize("ends", ["before it", "after it"])
async def test_a_new_request_does_not_share_with_a_cancelled_one(cache: ResponseCache[str], ends: str) -> None:
    """The end of the abandoned request, early or late, neither ends the new one nor gives its response."""
    stubborn = asyncio.Event()

    async def ending_slowly() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await stubborn.wait()
        return "late"

    first = get(cache, ending_slowly)
    await settle()
    first.cancel()
    await settle()
    fresh = Asked()
    sharing = [get(cache, fresh)]
    await settle()
    if ends == "before it":
        stubborn.set()
        await settle()
        sharing.append(get(cache, fresh))
        await settle()
    assert fresh.gate is not None
    fresh.gate.set()
    assert set(await asyncio.gather(*sharing)) == {"response 1"}
    stubborn.set()
    await settle()
    assert await get(cache, fresh) == "response 1"


async def test_each_caller_has_a_separate_deadline(cache: ResponseCache[str], asked: Asked) -> None:
    """An impatient caller raises DeadlineExceededError, and the others get the response."""
    patient, hasty = get(cache, asked), get(cache, asked, timeout=0.001)
    with pytest.raises(DeadlineExceededError):
        await hasty
    assert asked.gate is not None
    asked.gate.set()
    assert await patient == "response 1"


async def test_errors_are_shared_while_in_flight_only(cache: ResponseCache[str], asked: Asked) -> None:
    """Each waiter gets an exception of its own; a later caller sends a new request."""
    asked.error = ServerError("HTTP 500", status=500)
    tasks = [get(cache, asked) for _ in range(2)]
    await settle()
    assert asked.gate is not None
    asked.gate.set()
    one, other = await asyncio.gather(*tasks, return_exceptions=True)
    assert (type(one), one.status) == (ServerError, 500)
    assert one is not other
    asked.error = None
    assert await get(cache, asked) == "response 2"


async def test_errors_of_other_kinds_pass(cache: ResponseCache[str], asked: Asked) -> None:
    """An exception of a token callable is raised as it is."""
    asked.error, asked.gate = KeyError("token"), None
    with pytest.raises(KeyError):
        await get(cache, asked)


async def test_an_error_that_nobody_waits_for_is_not_complained_of(cache: ResponseCache[str]) -> None:
    """If a request fails as its last waiter leaves, asyncio logs nothing."""

    async def fails_when_cancelled() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ServerError("HTTP 500") from None
        raise AssertionError

    task = get(cache, fails_when_cancelled)
    await settle()
    task.cancel()
    await settle()


async def test_kept_responses_are_bounded(
    cache: ResponseCache[str], asked: Asked, hand: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Responses too old for every caller are dropped, and the number of the rest is limited."""
    asked.gate = None
    for number in range(100):
        await get(cache, asked, str(number))
        hand.now += 0.1
    assert len(cache) <= 11
    monkeypatch.setattr(response_cache, "_MAX_KEPT", 5)
    for number in range(100):
        await get(cache, asked, str(number))
    assert len(cache) == 5
