"""Admission: an attempt waits for the rate limit first, then for one of ``max_connections`` slots."""

from __future__ import annotations

import asyncio

from .. import clock
from ..errors import ClientClosedError, SupersededError
from ..limits.limiter import RateLimiter
from .attempt_result import AttemptTimeline
from .operation import Operation


class Admission:
    """Lets attempts through, in the order in which they came."""

    def __init__(self, limiter: RateLimiter, max_connections: int) -> None:
        self._limiter = limiter
        self._max_connections = max_connections
        self._slots = asyncio.Semaphore(max_connections)

    async def acquire(self, limit_key: tuple[str, str], operation: Operation, timeline: AttemptTimeline) -> None:
        """Wait for the rate limit, then for a slot; again if the server has asked for a pause meanwhile.

        Args:
            limit_key: The host and the token.
            operation: The operation of the attempt.
            timeline: Gets the time at which the rate limit let the attempt pass.

        Raises:
            SupersededError: A newer write has come meanwhile. Neither a slot nor a grant is held.
        """
        organization, limiter = operation.organization, self._limiter
        while True:
            if limiter.try_acquire(limit_key, organization):
                timeline.admitted = timeline.admitted or timeline.ready
            else:
                timeline.admitted = None
                await limiter.acquire(limit_key, organization)
                timeline.admitted = clock.now()
            queued = self._slots.locked()
            try:
                slot = self._slots.acquire()
                await (limiter.reserve(limit_key, organization, slot) if queued else slot)
            except BaseException:
                limiter.give_back(limit_key, organization)
                raise
            if not (operation.superseded or (queued and limiter.is_paused(limit_key, organization))):
                return
            self.release()
            limiter.give_back(limit_key, organization)
            refuse_superseded(operation)

    def release(self) -> None:
        """Free the slot of an attempt."""
        self._slots.release()

    @property
    def free_slots(self) -> int:
        """Number of slots that no attempt holds."""
        return self._slots._value

    def reset(self) -> None:
        """Forget the event loop of the slots, all of which must be free."""
        self._slots = asyncio.Semaphore(self._max_connections)

    def close(self) -> None:
        """Fail every wait for the rate limit, and every later one."""
        self._limiter.close(lambda: ClientClosedError("The client was closed while the call was running."))


def refuse_superseded(operation: Operation) -> None:
    """Raise SupersededError if repeating a write would only overwrite newer ones."""
    if operation.superseded:
        raise SupersededError("A newer update of the same call is waiting; this one may have been applied.")
