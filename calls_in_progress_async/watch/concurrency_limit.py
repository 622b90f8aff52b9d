"""How many finds are in flight at once: fewer while the server refuses them for the sake of its rate limit. Pure."""

from __future__ import annotations

_ROUND = 1.0
"""Seconds in which refusals count as one: what was in flight together is refused together."""


class AIMDLimit:
    """A number of places: halved by a round of refusals, one more for each windowful of answers.

    That is TCP's way (RFC 5681, section 3.1). The client's limiter spaces requests out and pauses after a 429; this
    keeps those that wait for the end of a pause to a number that the server then takes.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._size = float(places)
        self._cut_at = float("-inf")

    @property
    def size(self) -> int:
        """How many may be in flight."""
        return int(self._size)

    def on_answer(self) -> None:
        """Open it a little."""
        self._size = min(self._places, self._size + 1 / self._size)

    def on_refusal(self, now: float) -> None:
        """Halve it, once a round."""
        if now - self._cut_at >= _ROUND:
            self._size = max(1.0, self._size / 2)
            self._cut_at = now
