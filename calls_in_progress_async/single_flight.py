"""Work under way that several wait for: done once for all who ask the same, and given up with the last of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from copy import copy
from typing import Any, Generic, TypeVar

from attrs import define, field

from .errors import DeadlineExceededError

Answer = TypeVar("Answer")


@define(eq=False)
class _Flight(Generic[Answer]):
    """One piece of work, and how many wait for it."""

    task: asyncio.Task[Answer] = field(init=False)
    waiters: int = 0


class SingleFlight(Generic[Answer]):
    """The work under way, by what it is to answer.

    Args:
        keep: Is given each key and answer that somebody still waits for, as it comes.
    """

    def __init__(self, keep: Callable[[Any, Answer], object]) -> None:
        self._keep = keep
        self._flights: dict[Hashable, _Flight[Answer]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    async def join(self, key: Hashable, work: Callable[[], Awaitable[Answer]], timeout: float | None = None) -> Answer:
        """Wait for an answer; a waiter that is cancelled does not cancel it for the others.

        Args:
            key: What is asked.
            work: Finds the answer, if nobody is at it.
            timeout: Seconds that this waiter waits; None for any.

        Raises:
            DeadlineExceededError: It took longer.
            Exception: What ``work`` raised, a copy for each who waits: what is then told to one is not told to all.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()  # known before the task, which may be an eager one
            flight.task = asyncio.create_task(self._fly(key, work))
            flight.task.add_done_callback(retrieve_exception)
        flight.waiters += 1
        try:
            await asyncio.wait([flight.task], timeout=timeout)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                flight.task.cancel()
                self._flights.pop(key)
        if not flight.task.done():
            raise DeadlineExceededError("The call took longer than its deadline.")
        if isinstance(shared := flight.task.exception(), Exception):  # `result` takes its traceback away
            raise _copy_for_waiter(shared)
        return flight.task.result()

    async def _fly(self, key: Hashable, work: Callable[[], Awaitable[Answer]]) -> Answer:
        flight = self._flights[key]
        try:
            answer = await work()
            if self._flights.get(key) is flight:  # what was given up may be older than what came after it
                self._keep(key, answer)
            return answer
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]


def _copy_for_waiter(error: Exception) -> Exception:
    try:
        own = copy(error).with_traceback(error.__traceback__)
    except Exception:
        return error  # its class does not copy
    own.__cause__ = error.__cause__
    return own


def retrieve_exception(done: asyncio.Future[Any]) -> None:
    """Keep asyncio from complaining of an error that nobody waits for any more."""
    if not done.cancelled():
        done.exception()
