"""Admission: an attempt waits for the rate limit first, then for one of ``max_connections`` slots."""

from __future__ import annotations

from .. import clock
from ..errors import ClientClosedError
from ..limits.limiter import RateLimiter
from ..organization import Organization
from .attempt_result import AttemptTimeline
from .connection_slots import ConnectionSlots
from .operation import Operation


class Admission:
    """Lets attempts through, first come first served."""

    def __init__(self, limiter: RateLimiter, max_connections: int) -> None:
        self._limiter = limiter
        self._max_connections = max_connections
        self._slots = ConnectionSlots(max_connections)

    def try_acquire(self, limit_key: tuple[str, str], organization: Organization) -> bool:
        """Take a grant of the rate limit and a slot if neither takes waiting; otherwise take nothing."""
        slots = self._slots
        if not slots.try_acquire():
            return False
        if self._limiter.try_acquire(limit_key, organization):
            return True
        slots.release()
        return False

    async def acquire(self, limit_key: tuple[str, str], operation: Operation, timeline: AttemptTimeline) -> None:
        """Wait for the rate limit, then for a slot; again if a 429 has begun a pause meanwhile.

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
            queued = not self._slots.try_acquire()
            try:
                if queued:
                    await limiter.reserve(limit_key, organization, self._slots.acquire())
            except BaseException:
                limiter.give_back(limit_key, organization)
                raise
            if not (operation.superseded or (queued and limiter.is_paused(limit_key, organization))):
                return
            self.release()
            limiter.give_back(limit_key, organization)
            operation.raise_if_superseded()

    def release(self) -> None:
        """Free the slot of an attempt."""
        self._slots.release()

    def in_use(self) -> dict[str, int]:
        """Count the slots in use and the waiting attempts."""
        return {"slots": self._slots.taken, "waiters for a slot": self._slots.waiting}

    def reset(self) -> None:
        """Forget the event loop of the slots; all of them must be free."""
        self._slots = ConnectionSlots(self._max_connections)

    def close(self) -> None:
        """Fail every wait for the rate limit, and every later one."""
        self._limiter.close(lambda: ClientClosedError("The client was closed while the call was running."))
