"""Find the rate that a server allows: additive increase, multiplicative decrease, one cut per round of 429s."""

from __future__ import annotations

from math import inf
from typing import Any

import attrs

from ..errors import InvalidRequestError
from .token_bucket import check_positive

# Seconds from a cut to the rate at which the 429 came, and as many of the climb beyond it. As CUBIC does (RFC 9438,
# section 4.2) the climb is steep, flat around the remembered rate, and steep again where nothing happens.
_PLATEAU = 18.0
# A slow limit takes longer: one 429 in this many answers is well below 1 %.
_PLATEAU_ANSWERS = 110.0
# After so many plateaus without a 429 the limit has moved, and is looked for as in the beginning.
_FORGOTTEN = 2.0
# Where to stay, as a share of the rate at which the 429 came: just below it, so that the next one is long in coming.
_BELOW_LIMIT = 0.98
# Seconds to double the rate while no limit is known, and the most that one window of answers may add.
_DOUBLING = 3.0
_STEP = 2.0
# The share of a cut that may be left when the next 429 counts as a new one, not as a sign that the limit fell far.
_RECOVERED = 0.3
# The share of the rate that must be used before more of it is tried. Below 1, since a window counts few answers.
_IN_USE = 0.75
# What one window of the measured rate holds: seconds and answers, whichever is longer.
_WINDOW = 0.2
_WINDOW_ANSWERS = 8.0


def _positive(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    check_positive(attribute.name, value)


@attrs.frozen(kw_only=True)
class Adaptation:
    """How a rate adapts itself to what the server allows.

    Raises:
        InvalidRequestError: A setting is out of its range; it names the setting.
    """

    initial: float = attrs.field(default=10.0, validator=_positive)
    """Requests per second to begin with."""
    floor: float = attrs.field(default=0.5, validator=_positive)
    """Requests per second that no cut goes below."""
    ceiling: float = attrs.field(default=1000.0, validator=_positive)
    """Requests per second that are never passed."""
    increase: float = attrs.field(default=0.2, validator=_positive)
    """How boldly to look for more: the share of the rate added in 18 s beyond the last known limit, with the cube of
    the time. After that the rate doubles every 3 s. Below 6 requests a second the 18 s are the time of 110 requests."""
    decrease: float = attrs.field(default=0.9, validator=_positive)
    """What a 429 leaves of the rate, between 0 and 1. Before the rate has recovered, the n-th round of 429s leaves
    the power of n squared, so that a limit which fell to a tenth is found in four rounds. While every request is
    refused, there is but one cut."""

    def __attrs_post_init__(self) -> None:
        if not self.floor <= self.initial <= self.ceiling:
            raise InvalidRequestError("initial must lie between floor and ceiling", parameter="initial")
        if self.decrease >= 1:
            raise InvalidRequestError("decrease must be below 1", parameter="decrease")


class AdaptiveRate:
    """The rate of one shared bucket. It reads no clock and starts no timer: every call says what time it is.

    Args:
        settings: The bounds and the pace.
        rate: Requests per second to begin with, such as an earlier run found; ``settings.initial`` by default.
        limit: Requests per second at which the last 429 came; None where there was none.
    """

    __slots__ = (
        "_age", "_answered", "_answers", "_base", "_cut_at", "_cuts", "_settings", "_since", "_until", "limit", "rate",
    )  # fmt: skip

    def __init__(self, settings: Adaptation, *, rate: float | None = None, limit: float | None = None) -> None:
        self._settings = settings
        self.rate = self._base = self._bounded(settings.initial if rate is None else rate)
        self.limit = None if limit is None else max(limit, self.rate)
        self._age = 0.0  # seconds of use since the last cut
        self._cuts = 0  # since the rate last came near the limit
        self._answered = True  # whether any request that was sent since the last round of 429s was no 429
        self._cut_at = -inf
        self._answers = 0
        self._since = self._until = -inf  # the window in which answers are counted

    def on_success(self, now: float, sent_at: float) -> None:
        """Count an answer that was no 429, and once a window raise the rate, if the rate is what holds us back.

        Args:
            now: Seconds, monotonic.
            sent_at: When the request was sent, by the same clock.
        """
        self._answers += 1
        self._answered = self._answered or sent_at > self._cut_at
        if now < self._until:
            return
        elapsed = now - self._since
        if self._answers >= _IN_USE * self.rate * elapsed:
            self._grow(elapsed)
        self._begin_window(now)

    def on_throttled(self, now: float, sent_at: float, retry_after: float) -> None:
        """Cut the rate, once for all the requests that were sent before the cut.

        Where every request since the last cut was refused there is no other: the server refuses everything, and at
        what rate it is asked makes no difference.

        Args:
            now: Seconds, monotonic.
            sent_at: When the request was sent, by the same clock.
            retry_after: Seconds for which nothing is sent.
        """
        if sent_at <= self._cut_at:
            return
        self._cut_at = now
        self._begin_window(now + retry_after)
        if not self._answered:
            return
        self._answered = False
        self._cuts += 1
        self.limit = self.rate * _BELOW_LIMIT
        self.rate = self._base = self._bounded(self.rate * self._settings.decrease ** (self._cuts**2))
        self._age = 0.0

    def _grow(self, elapsed: float) -> None:
        if self.limit is None:
            self.rate = self._bounded(self.rate * min(_STEP, 2 ** (elapsed / _DOUBLING)))
            return
        self._age += elapsed
        plateau = max(_PLATEAU, _PLATEAU_ANSWERS / self.limit)
        beyond = (self._age / plateau - 1) ** 3
        if beyond > -_RECOVERED:
            self._cuts = 0
        step = self.limit * self._settings.increase if beyond > 0 else self.limit - self._base
        self.rate = self._bounded(self.limit + step * beyond)
        if self._age > _FORGOTTEN * plateau:
            self.limit = None

    def _begin_window(self, at: float) -> None:
        self._answers = 0
        self._since = at
        self._until = at + max(_WINDOW, _WINDOW_ANSWERS / self.rate)

    def _bounded(self, rate: float) -> float:
        return min(self._settings.ceiling, max(self._settings.floor, rate))
