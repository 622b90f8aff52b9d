"""Find the rate a server allows: additive increase, multiplicative decrease, one cut per round of 429s."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import attrs

from .. import validation

# Seconds from a cut to the rate of the last 429, and again from there to the end of the climb beyond. The shape is
# CUBIC's (RFC 9438, section 4.2): steep, flat around the remembered rate, then steep again.
_PLATEAU = 18.0
# Responses in a plateau at least, so that a slow limit sees well below 1 % of 429s.
_PLATEAU_RESPONSES = 110.0
# Plateaus without a 429 after which the limit has surely moved. The search then begins anew.
_FORGOTTEN = 2.0
# The share of the rate of a 429 to settle at: just below, so that the next 429 is long in coming.
_BELOW_LIMIT = 0.98
# Seconds to double the rate without a known limit, and the largest factor for one window of responses.
_DOUBLING = 3.0
_STEP = 2.0
# The share of a cut left when the next 429 is a new event. With more of it left, the limit fell far.
_RECOVERED = 0.3
# The share of the rate in use before more is tried. Below 1, because a window counts few responses.
_IN_USE = 0.75
# The length of one window: seconds or responses, whichever is longer.
_WINDOW = 0.2
_WINDOW_RESPONSES = 8.0

_RATE = validation.number("requests per second", above=True)
_SHARE = validation.number("a rate", above=True)


@attrs.frozen(kw_only=True)
class Adaptation:
    """The bounds and the pace of an adaptive rate.

    Raises:
        InvalidRequestError: A setting is out of its range; ``parameter`` names it.
    """

    initial: float = attrs.field(default=10.0, converter=validation.plain_number, validator=_RATE)
    """Requests per second to begin with."""
    floor: float = attrs.field(default=0.5, converter=validation.plain_number, validator=_RATE)
    """Requests per second, the lowest rate after any cut."""
    ceiling: float = attrs.field(default=1000.0, converter=validation.plain_number, validator=_RATE)
    """Requests per second, the highest rate."""
    increase: float = attrs.field(default=0.2, converter=validation.plain_number, validator=_SHARE)
    """The share of the rate added in 18 s beyond the last known limit, with the cube of the time. After that the rate
    doubles every 3 s. Below 6 requests per second the 18 s are the time of 110 requests."""
    decrease: float = attrs.field(default=0.9, converter=validation.plain_number, validator=_SHARE)
    """The share of the rate left by a 429, between 0 and 1. Before the rate has recovered, the n-th round of 429s
    leaves the power of n squared: after a fall to a tenth the limit is found in four rounds. While every request is
    rejected, there is only one cut."""

    def __attrs_post_init__(self) -> None:
        if not self.floor <= self.initial <= self.ceiling:
            raise validation.unexpected("initial", "from floor to ceiling", self.initial)
        if self.decrease >= 1:
            raise validation.unexpected("decrease", "below 1", self.decrease)


class _BeforeCut(NamedTuple):
    rate: float
    limit: float | None
    base: float
    age: float
    cuts: int


class AdaptiveRate:
    """The rate of one token's limit. It reads no clock and starts no timer: every call gives the time.

    Attributes:
        rate: Requests per second that all processes together may send.
        limit: Requests per second at the last 429; None before the first.
        share: The share of ``rate`` used by this process, above 0 and at most 1.

    Args:
        settings: The bounds and the pace.
        rate: Requests per second to begin with, for example from an earlier run; ``settings.initial`` by default.
        limit: Requests per second at the last 429 of the earlier run, or None.
        share: The share of the rate used by this process.
    """

    __slots__ = (
        "_age", "_any_answered", "_base", "_before_cut", "_cut_at", "_cuts", "_responses", "_settings", "_since",
        "_until", "limit", "rate", "share",
    )  # fmt: skip

    def __init__(
        self, settings: Adaptation, *, rate: float | None = None, limit: float | None = None, share: float = 1.0
    ) -> None:
        self._settings = settings
        self.share: float = share
        self.rate: float = self._bounded(settings.initial if rate is None else rate)
        self.limit: float | None = None if limit is None else max(self._bounded(limit), self.rate)
        self._base = self.rate
        self._age = 0.0  # seconds of use since the last cut
        self._cuts = 0  # since the rate last came near the limit
        self._any_answered = True  # True after a success sent since the last round of 429s
        self._cut_at = -inf
        self._before_cut: _BeforeCut | None = None
        self._responses = 0
        self._since = self._until = -inf  # the window for counting responses

    def on_success(self, now: float, sent_at: float) -> None:
        """Count a response other than a 429. Once per window raise the rate, if the rate is the bottleneck.

        Args:
            now: The loop's time in seconds.
            sent_at: The loop's time when the request was sent.
        """
        self._responses += 1
        self._any_answered = self._any_answered or sent_at > self._cut_at
        if now < self._until:
            return
        elapsed = now - self._since
        if self._responses >= _IN_USE * self.rate * self.share * elapsed:
            self._grow(elapsed)
        self._begin_window(now)

    def on_throttled(self, now: float, sent_at: float, retry_after: float) -> None:
        """Cut the rate, once for all requests sent before the cut.

        If every request since the last cut was rejected, do not cut again: the server rejects everything, at any
        rate.

        Args:
            now: The loop's time in seconds.
            sent_at: The loop's time when the request was sent.
            retry_after: Seconds of the pause.
        """
        if sent_at <= self._cut_at:
            return
        self._cut_at = now
        self._begin_window(now + retry_after)
        if not self._any_answered:
            return
        self._before_cut = _BeforeCut(self.rate, self.limit, self._base, self._age, self._cuts)
        self._any_answered = False
        self._cuts += 1
        self.limit = self.rate * _BELOW_LIMIT
        self.rate = self._base = self._bounded(self.rate * self._settings.decrease ** (self._cuts**2))
        self._age = 0.0

    def undo_cut(self) -> None:
        """Take the last cut back, because its 429 turned out to be about one organization."""
        if (before := self._before_cut) is not None:
            self._before_cut = None
            self.rate, self.limit, self._base = max(self.rate, before.rate), before.limit, before.base
            self._age, self._cuts = before.age, before.cuts

    def _grow(self, elapsed: float) -> None:
        if self.limit is None:
            self.rate = self._bounded(self.rate * min(_STEP, 2 ** (elapsed / _DOUBLING)))
            return
        self._age += elapsed
        plateau = max(_PLATEAU, _PLATEAU_RESPONSES / (self.limit * self.share))
        beyond = (self._age / plateau - 1) ** 3
        if beyond > -_RECOVERED:
            self._cuts = 0
        step = self.limit * self._settings.increase if beyond > 0 else self.limit - self._base
        self.rate = self._bounded(self.limit + step * beyond)
        if self._age > _FORGOTTEN * plateau:
            self.limit = None

    def _begin_window(self, at: float) -> None:
        self._responses = 0
        self._since = at
        self._until = at + max(_WINDOW, _WINDOW_RESPONSES / (self.rate * self.share))

    def _bounded(self, rate: float) -> float:
        return min(self._settings.ceiling, max(self._settings.floor, rate))
