"""Answers that several callers share: one request for all that ask the same at once, and for a while after."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from copy import copy
from typing import Any, Generic, TypeVar

from attrs import define

from ..errors import CallsInProgressError, DeadlineExceededError

Answer = TypeVar("Answer")

_MOST_KEPT = 1024
"""Answers that are kept; the oldest go first."""


@define(eq=False)
class _Flight(Generic[Answer]):
    """A request that is on its way, and how many wait for it."""

    task: asyncio.Task[Answer]
    waiters: int = 0


class SharedAnswers(Generic[Answer]):
    """Requests in flight and answers that may still be young enough for somebody."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.saved = 0
        """Answers that took no request of their own."""
        self._clock = clock
        self._flights: dict[Hashable, _Flight[Answer]] = {}
        self._answers: OrderedDict[Hashable, tuple[float, Answer]] = OrderedDict()  # oldest first
        self._longest = 0.0

    async def get(
        self, key: Hashable, ask: Callable[[], Awaitable[Answer]], max_age: float, deadline: float | None
    ) -> Answer:
        """Get an answer: a young one, one that is on its way, or one of its own.

        Args:
            key: What is asked.
            ask: Asks it, without a deadline.
            max_age: Seconds since an answer came, at most.
            deadline: Seconds that this caller waits; None for any.

        Raises:
            DeadlineExceededError: It took longer.
            CallsInProgressError: What ``ask`` raised.
        """
        self._longest = max(self._longest, max_age)
        came, answer = self._answers.get(key, (0.0, None))
        if answer is not None and self._clock() - came <= max_age:
            self.saved += 1
            return answer
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(self._fly(key, ask)))
            flight.task.add_done_callback(_look_at)
        else:
            self.saved += 1
        return await self._join(key, flight, deadline)

    async def _join(self, key: Hashable, flight: _Flight[Answer], deadline: float | None) -> Answer:
        """Wait for a request. It is cancelled when nobody waits for it any more."""
        flight.waiters += 1
        try:
            await asyncio.wait([flight.task], timeout=deadline)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                flight.task.cancel()
                self._flights.pop(key)
        if not flight.task.done():
            raise DeadlineExceededError("The call took longer than its deadline.")
        try:
            return flight.task.result()
        except CallsInProgressError as shared:
            error = copy(shared)  # each caller raises one of its own: a traceback belongs to one
        raise error

    async def _fly(self, key: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        flight = self._flights[key]
        try:
            answer = await ask()
            if self._flights.get(key) is flight:  # one that was abandoned may be older than a later one's
                self._keep(key, answer)
            return answer
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]

    def _keep(self, key: Hashable, answer: Answer) -> None:
        now = self._clock()
        self._answers[key] = now, answer
        self._answers.move_to_end(key)
        while len(self._answers) > _MOST_KEPT or next(iter(self._answers.values()))[0] < now - self._longest:
            self._answers.popitem(last=False)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from complaining of an error that came when the last waiter had just gone."""
    if not task.cancelled():
        task.exception()
