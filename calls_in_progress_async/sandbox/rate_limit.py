"""A token bucket for each API token."""

from collections.abc import Callable


class TokenBuckets:
    """Buckets of at most `burst` requests, full to begin with, that refill at `rate` requests per second.

    The rate and burst are passed in at each use, so that their owner can change them at any time; `settle` credits
    what was earned at the old rate first.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._settled_at = clock()
        # What one never-full bucket would have earned so far. All buckets earn alike, so each only has to note
        # the sum at its last use, and a change of the rate costs nothing per bucket.
        self._earned = 0.0
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str, rate: float, burst: float) -> float:
        """Takes one request from the bucket `key`.

        Returns:
            `0.0` if the bucket held one, else the seconds until it will.
        """
        self.settle(rate)
        level, earned = self._levels.get(key, (burst, self._earned))
        level = min(burst, level + self._earned - earned)
        # Sums of many small credits come out a hair short of the whole request they make.
        allowed = level >= 1 - 1e-9
        self._levels[key] = (level - allowed, self._earned)
        return 0.0 if allowed else (1 - level) / rate

    def settle(self, rate: float) -> None:
        """Credits every bucket with what it earned at `rate` since the last call."""
        now = self._clock()
        self._earned += (now - self._settled_at) * rate
        self._settled_at = now
