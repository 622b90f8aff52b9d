"""Cancel scopes end at their time, in any number, and end their own block only."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from calls_in_progress_async import clock
from calls_in_progress_async.testing import virtual_clock
from calls_in_progress_async.transport.cancel_scopes import CancelScope, CancelScopes

pytestmark = pytest.mark.usefixtures("on_virtual_clock")


async def time_in(scopes: CancelScopes, after: float, seconds: float) -> float:
    """Open a scope of some seconds, some seconds from now; return the seconds until its end."""
    began = clock.now()
    await asyncio.sleep(after)
    scope = CancelScope()
    scopes.reschedule(scope, clock.now() + seconds)
    with pytest.raises(TimeoutError), scope:
        await asyncio.sleep(1000)
    scopes.discard(scope)
    return round(clock.now() - began, 3)


async def test_every_scope_ends_at_its_time() -> None:
    """Short ones among long ones, opened before and after others have ended, in any order."""
    scopes = CancelScopes()
    plan = [
        (0, 1.0),
        (0, 30.0),
        (1.1, 0.4),
        (1.1, 0.05),
        (1.2, 0.7),
        (1.2, 0.9),
        (1.2, 5.0),
        (1.3, 0.1),
        (2.5, 0.2),
    ]
    ends = await asyncio.gather(*(time_in(scopes, after, seconds) for after, seconds in plan))
    assert ends == pytest.approx([after + seconds for after, seconds in plan], abs=0.0011)
    assert (len(scopes), scopes.next_look) == (0, None)


def test_scopes_are_looked_through_once_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand end one after the other within 2 s, beside a thousand others."""
    looks: list[float] = []
    look = CancelScopes._open_window

    def counted(scopes: CancelScopes, now: float) -> float:
        looks.append(now)
        return look(scopes, now)

    monkeypatch.setattr(CancelScopes, "_open_window", counted)

    async def main() -> None:
        scopes = CancelScopes()
        others = [CancelScope() for _ in range(1000)]
        for scope in others:
            scopes.reschedule(scope, clock.now() + 500)
        await asyncio.gather(*(time_in(scopes, 0, 1 + number / 500) for number in range(1000)))
        assert len(scopes) == 1000

    virtual_clock.run(main)
    assert 2 <= len(looks) <= 3


async def test_a_scope_moved_or_discarded_while_others_end_is_not_cancelled_for_its_old_time() -> None:
    """Its old time is in the queue of the next second."""
    scopes, moved, discarded = CancelScopes(), CancelScope(), CancelScope()
    await time_in(scopes, 0, 1.0)
    for scope in (moved, discarded):
        scopes.reschedule(scope, clock.now() + 0.3)
    scopes.reschedule(moved, clock.now() + 0.6)
    scopes.discard(discarded)
    began = clock.now()
    with pytest.raises(TimeoutError):
        await wait_in(moved)
    assert clock.now() - began == pytest.approx(0.6, abs=0.0011)
    assert not discarded.expired
    scopes.discard(moved)
    assert len(scopes) == 0


async def test_a_scope_that_is_moved_ends_at_its_new_time_only() -> None:
    """Sooner or later, or never."""
    scopes, began = CancelScopes(), clock.now()
    moved = {10.0: CancelScope(), 2.0: CancelScope(), None: CancelScope()}
    for when, scope in moved.items():
        scopes.reschedule(scope, clock.now() + 5)
        scopes.reschedule(scope, None if when is None else clock.now() + when)
    waiting = {when: asyncio.create_task(wait_in(scope)) for when, scope in moved.items()}
    for passed, done in {1.9: [], 2.1: [2.0], 9.9: [2.0], 10.1: [2.0, 10.0], 1000.0: [2.0, 10.0]}.items():
        await asyncio.sleep(passed - (clock.now() - began))
        assert sorted(when for when, scope in moved.items() if scope.expired) == done
    scopes.cancel_all()
    for task in waiting.values():
        with pytest.raises(TimeoutError):
            await task


async def test_a_scope_that_has_ended_ends_once() -> None:
    """Closing, at the moment a deadline passes, finds it ended already."""
    scopes, scope, began = CancelScopes(), CancelScope(), clock.now()
    scopes.reschedule(scope, began + 1.0)
    with suppress(TimeoutError), scope:
        try:
            await asyncio.sleep(10)
        finally:
            scopes.cancel_all()
    assert scope.cancelled_caught
    scopes.cancel_all()
    scopes.discard(scope)
    scope.cancel()
    assert clock.now() == began + 1.0


@pytest.mark.parametrize("before", [0, 1])
async def test_a_scope_that_ends_is_a_timeout_and_no_cancellation(before: int) -> None:
    """However often it is told to: the task is cancelled no more than it was before."""
    task: Any = asyncio.current_task()
    for _ in range(before):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
    scope = CancelScope()

    async def ended_twice() -> None:
        with scope:
            scope.cancel()
            scope.cancel()
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await ended_twice()
    assert (scope.cancelled_caught, task.cancelling()) == (True, before)


async def test_the_result_of_a_cancelled_scope_counts() -> None:
    """A result or another error wins over the cancellation."""
    task: Any = asyncio.current_task()

    async def end_with(error: Exception | None) -> None:
        scope = CancelScope()
        with scope:
            scope.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(10)
            assert scope.cancelled_caught
            if error is not None:
                raise error

    await end_with(None)
    with pytest.raises(LookupError):
        await end_with(LookupError())
    assert task.cancelling() == 0


async def test_a_scope_that_was_left_ends_nothing_that_comes_after() -> None:
    """Though it was told to end while it was open."""
    scope = CancelScope()
    with scope:
        scope.cancel()
    await asyncio.sleep(1)
    assert not scope.cancelled_caught


async def wait_in(scope: CancelScope) -> None:
    with scope:
        try:
            await asyncio.sleep(10_000)
        finally:
            for _ in range(10):  # as a slowly closing connection
                await asyncio.sleep(0)


async def test_all_scopes_end_at_once_those_without_an_end_too() -> None:
    """Later scopes have their full time."""
    scopes, endless, timed, later = CancelScopes(), CancelScope(), CancelScope(), CancelScope()
    began = clock.now()
    scopes.reschedule(endless, None)
    scopes.reschedule(timed, clock.now() + 5.0)
    waiting = [asyncio.create_task(wait_in(scope)) for scope in (endless, timed)]
    await asyncio.sleep(1)
    scopes.cancel_all()
    for task in waiting:
        with pytest.raises(TimeoutError):
            await task
    assert clock.now() == began + 1.0
    scopes.discard(timed)
    scopes.reschedule(later, clock.now() + 5.0)
    with pytest.raises(TimeoutError):
        await wait_in(later)
    assert clock.now() == began + 6.0


async def test_an_expired_scope_is_cancelled_once() -> None:
    """However long the block runs on, the timer cancels it only once."""

    class Counted(CancelScope):
        told = 0

        def expire(self) -> None:
            self.told += 1
            super().expire()

    scopes, scope = CancelScopes(), Counted()
    scopes.reschedule(scope, clock.now() + 1.0)
    with pytest.raises(TimeoutError):
        await wait_in(scope)
    assert scope.told == 1
