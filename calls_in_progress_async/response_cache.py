"""ResponseCache: callers with the same question share one request, and its response for a while after."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from . import clock
from .single_flight import SingleFlight, Work

Response = TypeVar("Response")

_MAX_KEPT = 1024
"""Responses to keep; the oldest are dropped first."""


class ResponseCache(Generic[Response]):
    """Requests in flight, and responses still young enough for a caller."""

    def __init__(self) -> None:
        self.hits: int = 0
        """Number of responses without a request of their own."""
        self._flights: SingleFlight[Response] = SingleFlight(self._keep)
        self._responses: OrderedDict[Hashable, tuple[float, Response]] = OrderedDict()  # oldest first
        self._longest = 0.0

    def __len__(self) -> int:
        return len(self._responses)

    async def get(self, key: Hashable, fetch: Work[Response], max_age: float, timeout: float | None) -> Response:
        """Return a response: a young one, the one in flight, or a new one.

        Args:
            key: Equal for requests with the same response.
            fetch: Sends the request, without a deadline.
            max_age: Seconds since the response came, at most.
            timeout: Seconds for this caller to wait; None for no limit.

        Raises:
            DeadlineExceededError: ``timeout`` has passed.
            CallsInProgressError: Raised by ``fetch``.
        """
        self._longest = max(self._longest, max_age)
        came, response = self._responses.get(key, (0.0, None))
        if response is not None and clock.now() - came <= max_age:
            self.hits += 1
            return response
        self.hits += key in self._flights
        return await self._flights.run(key, fetch, timeout)

    def _keep(self, key: Hashable, response: Response) -> None:
        now = clock.now()
        self._responses[key] = now, response
        self._responses.move_to_end(key)
        while len(self._responses) > _MAX_KEPT or next(iter(self._responses.values()))[0] < now - self._longest:
            self._responses.popitem(last=False)
