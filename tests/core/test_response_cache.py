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

    async def __call__(self) -> str:
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
        return f"answer {number}"


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def answers() -> ResponseCache[str]:
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


def get(answers: ResponseCache[str], asked: Any, key: str = "key", age: float = 1.0, timeout: Any = None) -> Any:
    return asyncio.create_task(answers.get(key, asked, age, timeout))


async def test_identical_questions_share_a_request(answers: ResponseCache[str], asked: Asked) -> None:
    """Ten callers with one question share a request; another question has another one."""
    tasks = [get(answers, asked) for _ in range(10)] + [get(answers, asked, "other")]
    await settle()
    assert asked.gate is not None
    asked.gate.set()
    assert await asyncio.gather(*tasks) == ["answer 1"] * 10 + ["answer 2"]
    assert (asked.count, answers.hits) == (2, 9)


async def test_a_young_answer_is_given_again(answers: ResponseCache[str], asked: Asked, hand: Any) -> None:
    """An answer no older than max_age takes no request; an older one does."""
    asked.gate = None
    assert await get(answers, asked) == "answer 1"
    hand.now += 1.0
    assert await get(answers, asked) == "answer 1"
    assert await get(answers, asked, age=0.5) == "answer 2"
    hand.now += 1.5
    assert await get(answers, asked) == "answer 3"
    hand.now += 0.1
    assert await get(answers, asked, age=0.0) == "answer 4"


async def test_a_cancelled_waiter_cancels_nobody_else(answers: ResponseCache[str], asked: Asked) -> None:
    """The others get their response, even if the first caller leaves; with the last one the request ends."""
    tasks = [get(answers, asked) for _ in range(3)]
    await settle()
    for task in tasks[:2]:
        task.cancel()
    await settle()
    assert asked.cancelled == 0
    assert asked.gate is not None
    asked.gate.set()
    assert await tasks[2] == "answer 1"
    asked.gate.clear()
    last = get(answers, asked, age=0.0, key="another")
    await settle()
    last.cancel()
    await settle()
    assert asked.cancelled == 1
    asked.gate.set()
    assert await get(answers, asked, key="another") == "answer 3"


async def test_who_goes_before_the_request_has_begun(answers: ResponseCache[str], asked: Asked) -> None:
    """A request without a first step leaves nothing behind."""
    task = get(answers, asked)
    await asyncio.sleep(0)
    task.cancel()
    await settle()
    assert asked.count <= 1
    assert not answers._flights


@pytest.mark.parametrize("ends", ["before it", "after it"])
async def test_a_new_request_is_apart_from_one_that_is_being_cancelled(answers: ResponseCache[str], ends: str) -> None:
    """The end of the abandoned one, whenever it comes, neither ends the sharing of the new one nor gives its answer."""
    stubborn = asyncio.Event()

    async def ending_slowly() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await stubborn.wait()
        return "late"

    first = get(answers, ending_slowly)
    await settle()
    first.cancel()
    await settle()
    fresh = Asked()
    sharing = [get(answers, fresh)]
    await settle()
    if ends == "before it":
        stubborn.set()
        await settle()
        sharing.append(get(answers, fresh))
        await settle()
    assert fresh.gate is not None
    fresh.gate.set()
    assert set(await asyncio.gather(*sharing)) == {"answer 1"}
    stubborn.set()
    await settle()
    assert await get(answers, fresh) == "answer 1"


async def test_each_has_a_deadline_of_its_own(answers: ResponseCache[str], asked: Asked) -> None:
    """An impatient caller gives up alone."""
    patient, hasty = get(answers, asked), get(answers, asked, timeout=0.001)
    with pytest.raises(DeadlineExceededError):
        await hasty
    assert asked.gate is not None
    asked.gate.set()
    assert await patient == "answer 1"


async def test_errors_are_shared_while_in_flight_only(answers: ResponseCache[str], asked: Asked) -> None:
    """Each waiter gets an exception of its own; a later caller sends a new request."""
    asked.error = ServerError("HTTP 500", status=500)
    tasks = [get(answers, asked) for _ in range(2)]
    await settle()
    assert asked.gate is not None
    asked.gate.set()
    one, other = await asyncio.gather(*tasks, return_exceptions=True)
    assert (type(one), one.status) == (ServerError, 500)
    assert one is not other
    asked.error = None
    assert await get(answers, asked) == "answer 2"


async def test_errors_of_other_kinds_pass(answers: ResponseCache[str], asked: Asked) -> None:
    """An exception of a token callable is raised as it is."""
    asked.error, asked.gate = KeyError("token"), None
    with pytest.raises(KeyError):
        await get(answers, asked)


async def test_an_error_that_nobody_waits_for_is_not_complained_of(answers: ResponseCache[str]) -> None:
    """If a request fails as its last waiter leaves, asyncio logs nothing."""

    async def fails_when_cancelled() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ServerError("HTTP 500") from None
        raise AssertionError

    task = get(answers, fails_when_cancelled)
    await settle()
    task.cancel()
    await settle()


async def test_answers_do_not_pile_up(
    answers: ResponseCache[str], asked: Asked, hand: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Responses too old for every caller go, and the number of the rest is limited."""
    asked.gate = None
    for number in range(100):
        await get(answers, asked, str(number))
        hand.now += 0.1
    assert len(answers) <= 11
    monkeypatch.setattr(response_cache, "_MAX_KEPT", 5)
    for number in range(100):
        await get(answers, asked, str(number))
    assert len(answers) == 5
