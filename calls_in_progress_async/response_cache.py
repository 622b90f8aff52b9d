"""Answers that several callers share: one request for all that ask the same at once, and for a while after."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from .single_flight import SingleFlight

Answer = TypeVar("Answer")

_MOST_KEPT = 1024
"""Answers that are kept; the oldest go first."""


class ResponseCache(Generic[Answer]):
    """Requests in flight and answers that may still be young enough for somebody."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.saved = 0
        """Answers that took no request of their own."""
        self._clock = clock
        self._flights: SingleFlight[Answer] = SingleFlight(self._keep)
        self._answers: OrderedDict[Hashable, tuple[float, Answer]] = OrderedDict()  # oldest first
        self._longest = 0.0

    async def get(
        self, key: Hashable, ask: Callable[[], Awaitable[Answer]], max_age: float, timeout: float | None
    ) -> Answer:
        """Get an answer: a young one, one that is on its way, or one of its own.

        Args:
            key: What is asked.
            ask: Asks it, without a deadline.
            max_age: Seconds since an answer came, at most.
            timeout: Seconds that this caller waits; None for any.

        Raises:
            DeadlineExceededError: It took longer.
            CallsInProgressError: What ``ask`` raised.
        """
        self._longest = max(self._longest, max_age)
        came, answer = self._answers.get(key, (0.0, None))
        if answer is not None and self._clock() - came <= max_age:
            self.saved += 1
            return answer
        self.saved += key in self._flights
        return await self._flights.join(key, ask, timeout)

    def _keep(self, key: Hashable, answer: Answer) -> None:
        now = self._clock()
        self._answers[key] = now, answer
        self._answers.move_to_end(key)
        while len(self._answers) > _MOST_KEPT or next(iter(self._answers.values()))[0] < now - self._longest:
            self._answers.popitem(last=False)
