"""A token bucket for each API token."""

from __future__ import annotations

from .. import clock


class TokenBuckets:
    """Buckets of at most `burst` requests, full at first, with a refill of `rate` requests per second.

    Rate and burst are arguments of each use, so that their owner can change them at any time. The owner calls `accrue`
    with the old rate before a change.
    """

    def __init__(self) -> None:
        self._accrued_at: float | None = None
        # The refill of one never-full bucket so far. All buckets refill alike, so each remembers only this sum at its
        # last use, and a change of the rate costs nothing per bucket.
        self._earned = 0.0
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str, rate: float, burst: float) -> float:
        """Take one request from the bucket `key`.

        Returns:
            `0.0` if the bucket held one, else the seconds until it will.
        """
        self.accrue(rate)
        level, earned = self._levels.get(key, (burst, self._earned))
        level = min(burst, level + self._earned - earned)
        # A credit comes out a hair short, by the rounding of a clock that may stand at days: forgive it each time.
        allowed = level >= 1 - 1e-6
        self._levels[key] = (max(level - allowed, 0.0), self._earned)
        return 0.0 if allowed else (1 - level) / rate

    def accrue(self, rate: float) -> None:
        """Credit every bucket with its refill at `rate` since the last call."""
        now = clock.now()
        self._earned += (now - (now if self._accrued_at is None else self._accrued_at)) * rate
        self._accrued_at = now
