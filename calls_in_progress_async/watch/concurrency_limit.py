"""The number of polls in flight at once: halved by rate-limit errors of the server, raised by good responses. Pure."""

from __future__ import annotations

_ROUND = 1.0
"""Seconds in which rejections count as one: requests in flight together are rejected together."""


class AIMDLimit:
    """Additive increase, multiplicative decrease, as in TCP (RFC 5681, section 3.1).

    The client's limiter spaces requests out and pauses after a 429. This limit keeps few enough polls waiting for the
    end of such a pause that the server then accepts them.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._limit = float(maximum)
        self._cut_at = float("-inf")

    @property
    def limit(self) -> int:
        """The number of polls allowed in flight."""
        return int(self._limit)

    def on_response(self) -> None:
        """Raise the limit by one for each round of good responses."""
        self._limit = min(self._maximum, self._limit + 1 / self._limit)

    def on_rejection(self, now: float) -> None:
        """Halve the limit, once a round."""
        if now - self._cut_at >= _ROUND:
            self._limit = max(1.0, self._limit / 2)
            self._cut_at = now
