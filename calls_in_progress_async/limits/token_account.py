"""The account of a token bucket: tokens accrue with time, are taken, kept for later, or held back by a pause."""

from __future__ import annotations

import sys
from math import inf

from .. import clock, validation

UNLIMITED = sys.float_info.max
"""The rate and burst of a bucket without a limit: unreachable, so that a pause after a 429 needs no special case."""
ROUNDING = 1e-5
"""Tokens to grant ahead, and seconds to expire early: timers may fire a rounding error early. It does not add up,
because a token granted ahead stays in the account."""
ONE = 1.0 - ROUNDING
_LONG_AGO = -inf
_CLOSED = -inf
"""No room for a request without waiting: others wait, a pause lasts, or the bucket is closed for good."""


class TokenAccount:
    """Tokens and time. It knows that somebody waits, and leaves who and how long to `TokenBucket`.

    Args:
        rate: Tokens per second.
        burst: Tokens in a full account.
        catch_up: Seconds of timer lateness to make good while somebody waits.

    Raises:
        InvalidRequestError: A number is out of its range; ``parameter`` names it.
    """

    __slots__ = (
        "_at", "_burst", "_capacity", "_catch_up", "_contended", "_granted", "_now", "_paused_until", "_rate", "_room",
        "_tokens",
    )  # fmt: skip

    def __init__(self, *, rate: float, burst: float, catch_up: float = 0.0) -> None:
        validation.check_number("rate", rate, "tokens per second", above=True)
        validation.check_number("burst", burst, "tokens", above=True)
        self._rate = rate
        self._burst = self._tokens = burst
        self._capacity = burst  # the most tokens to keep: the burst, less the reserved tokens
        self._room = burst  # the capacity if tokens need no waiting, else _CLOSED
        self._catch_up = catch_up
        self._now = clock.reader()
        self._at = _LONG_AGO  # the moment of the last refill
        self._paused_until = _LONG_AGO
        self._granted = 0
        self._contended = False  # somebody waits, so that newcomers must wait too

    @property
    def rate(self) -> float:
        """Tokens added per second."""
        return self._rate

    @property
    def paused(self) -> bool:
        """True during a pause, and in a closed bucket."""
        return self._now() < self._paused_until

    @property
    def idle(self) -> bool:
        """True if a new bucket would behave the same: full, no waiters, no pause."""
        return self._is_open(self._refill()) and self._tokens >= self._burst

    def try_acquire(self) -> bool:
        """Take a token if one is there and nobody waits. Return True if it was taken."""
        now = self._now()
        tokens = self._tokens + (now - self._at) * self._rate
        if tokens > self._room:  # noqa: PLR1730 - min() would cost a call
            tokens = self._room
        if tokens >= ONE:
            self._at = now
            self._tokens = tokens - 1.0
            self._granted += 1
            return True
        if self._room == _CLOSED and self._is_open(now):  # the first request after the others, or after a pause
            self._room = self._capacity
            return self.try_acquire()
        return False

    def reserve(self) -> None:
        """Keep a granted token for later use. It takes room meanwhile, so that tokens do not pile up in a stall."""
        self._set_capacity(self._capacity - 1)

    def _take(self) -> None:
        """Take a token for a waiter."""
        self._tokens -= 1.0
        self._granted += 1

    def _return(self) -> None:
        """Put a granted token back; a full account drops it."""
        self._granted -= 1
        self._refill(returned=1.0)

    def _release(self) -> None:
        """End the reservation of a token."""
        self._refill()
        self._set_capacity(self._capacity + 1)

    def _set_rate(self, rate: float, burst: float) -> None:
        """Change the rate and the burst. Tokens are kept as far as the new burst has room."""
        validation.check_number("rate", rate, "tokens per second", above=True)
        validation.check_number("burst", burst, "tokens", above=True)
        self._refill()
        self._rate = rate
        self._set_capacity(self._capacity + burst - self._burst)
        self._burst = burst

    def _hold_back(self, seconds: float) -> None:
        """Give no tokens for some seconds from now. A pause never shortens an earlier one."""
        self._follow_loop()
        self._paused_until = max(self._paused_until, self._refill() + seconds)
        self._room = _CLOSED

    def _set_contended(self, contended: bool) -> None:
        """Set if somebody waits. The next request after the last waiter opens the account again."""
        self._contended = contended
        self._room = _CLOSED

    def _follow_loop(self) -> None:
        """Read the clock of the running loop from now on, with all moments moved to its time."""
        reader = clock.reader()
        if reader != self._now:
            shift = reader() - self._now()
            self._now = reader
            self._at += shift
            self._paused_until += shift

    def _refill(self, returned: float = 0.0) -> float:
        """Add the tokens accrued since the last refill, and return the time."""
        now = self._now()
        self._tokens = min(self._depth, self._tokens + (now - self._at) * self._rate + returned)
        self._at = now
        return now

    @property
    def _depth(self) -> float:
        """The most tokens to keep now."""
        late = self._catch_up * self._rate if self._contended else 0.0
        return max(0.0, self._capacity + late)

    def _set_capacity(self, capacity: float) -> None:
        self._capacity = capacity
        if self._room != _CLOSED:
            self._room = capacity

    def _is_open(self, now: float) -> bool:
        """Return True if a request need not wait for others, nor for the end of a pause."""
        return not self._contended and now >= self._paused_until

    def _has_token(self) -> bool:
        """Return True if the account had a token to give at its last refill."""
        return self._at >= self._paused_until and self._tokens >= ONE

    def _seconds_to_token(self) -> float:
        """Return the seconds from the last refill until a token is there and the pause is over."""
        return max((1.0 - self._tokens) / self._rate, self._paused_until - self._at)

    def _estimate(self, ahead: int) -> float:
        """Estimate the seconds until a token is there for a request with so many others ahead."""
        pause = max(0.0, self._paused_until - self._refill())
        tokens = min(self._burst, self._tokens + pause * self._rate)
        return pause + max(0.0, ahead + 1 - tokens) / self._rate
