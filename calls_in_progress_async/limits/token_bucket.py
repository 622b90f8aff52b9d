"""A token bucket for asyncio: fair over keys, one timer for all waiters, no token lost to a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from math import ceil, inf

from ..errors import RateLimitWaitError
from .fair_queue import FairQueue, Waiter
from .snapshots import BucketSnapshot
from .token_account import ONE, ROUNDING, UNLIMITED, TokenAccount

TIMER_STEP = 0.001
"""Seconds; every delay is a multiple. asyncio waits for whole milliseconds, rounded up. uvloop rounds to the nearest:
a timer would be early every other time and cost a second one, and spin below half a millisecond."""
_LONGEST_TIMER = 86_400.0
"""Seconds. An early timer sets the next one, and an endless wait has no number of steps."""


class TokenBucket(TokenAccount):
    """A token bucket: in any ``t`` seconds it grants at most ``burst + rate * t`` tokens.

    Waiters with one key are served in strict order of arrival; different keys take turns. Make a bucket inside or
    outside a loop, and use it from one loop at a time.

    Args:
        rate: Tokens per second.
        burst: Tokens in a full bucket. Below ``0.002 * rate`` the lateness of timers (1 to 2 ms) costs rate.
        catch_up: Seconds of timer lateness to make good: with waiters in the queue, up to ``rate * catch_up`` tokens
            accrue above ``burst``, and the bound grows by as much (2 ms at 1,000 per second: 2 tokens). One timer
            step of 1 ms is part of it; the rest is for a late loop.

    Raises:
        InvalidRequestError: A number is out of its range; ``parameter`` names it.
    """

    __slots__ = ("_cancelled", "_make_error", "_queue")

    def __init__(self, *, rate: float, burst: float, catch_up: float = 0.0) -> None:
        super().__init__(rate=rate, burst=burst, catch_up=catch_up)
        self._cancelled = 0
        self._queue = _NO_WAITERS
        self._make_error: Callable[[], BaseException] | None = None

    @property
    def waiting(self) -> int:
        """Requests waiting for a token."""
        return self._queue.length

    # Keyword-only parameters would slow the path without waiting down by a tenth, and a coroutine of its own for the
    # rest would cost each waiter 170 bytes.
    async def acquire(self, key: Hashable = None, max_wait: float | None = None) -> float:
        """Take a token, after waiting for it if necessary.

        Args:
            key: The owner of the request: keys take turns, each in its own order of arrival.
            max_wait: Seconds; a longer wait is rejected, at once if it can be foreseen.

        Returns:
            Seconds waited.

        Raises:
            RateLimitWaitError: The wait would be longer than ``max_wait``.
        """
        if self.try_acquire():
            return 0.0
        waiter = self._enqueue(key, max_wait)
        queue = self._queue
        try:
            await waiter.future
        except (asyncio.CancelledError, GeneratorExit):
            self._withdraw(waiter, queue)
            raise
        self._on_resume(queue)
        return self._now() - waiter.since

    def give_back(self) -> None:
        """Return a granted token that was not used. A full bucket drops it."""
        self._return()
        self._serve()

    def consume(self) -> None:
        """Use a reserved token, or prepare to give it back."""
        self._release()
        self._serve()

    def pause(self, seconds: float) -> None:
        """Grant nothing for some seconds from now. A pause never shortens an earlier one.

        A waiter whose ``max_wait`` ends before the pause is rejected at once.
        """
        self._hold_back(seconds)
        if self._contended:
            self._serve()

    def set_limit(self, rate: float, burst: float) -> None:
        """Change the rate and the burst, for queued requests too. Tokens are kept as far as the new burst has room.

        Args:
            rate: Tokens per second from now on.
            burst: Tokens in a full bucket from now on.

        Raises:
            InvalidRequestError: A number is out of its range; ``parameter`` names it.
        """
        self._set_rate(rate, burst)
        self._serve()

    def close(self, make_error: Callable[[], BaseException]) -> None:
        """Raise an error in every waiter, and in every later ``acquire``.

        Args:
            make_error: Called once for each waiter, because a raised error belongs to one traceback.
        """
        self._make_error = make_error
        queue = self._queue
        while queue.length:
            waiter = queue.first()
            queue.remove(waiter)
            if not waiter.future.done():
                waiter.future.set_exception(make_error())
        self._paused_until = inf
        self._settle()

    def snapshot(self) -> BucketSnapshot:
        """Return the state at this moment."""
        now = self._refill()
        limited = self._rate < UNLIMITED
        return BucketSnapshot(
            rate=self._rate if limited else None,
            burst=self._burst if limited else None,
            tokens=self._tokens if limited else None,
            waiting=self._queue.length,
            paused_for=max(0.0, self._paused_until - now),
            granted=self._granted,
            cancelled=self._cancelled,
        )

    def estimate(self, key: Hashable) -> float:
        """Estimate the seconds that one more request of a key would wait, from the queue, the tokens and the pause."""
        return self._estimate(self._queue.ahead(key))

    def check_wait(self, key: Hashable, max_wait: float) -> None:
        """Raise RateLimitWaitError if one more request of a key would wait longer than ``max_wait`` seconds."""
        if (estimate := self.estimate(key)) > max_wait:
            raise _too_long(estimate, max_wait)

    def _enqueue(self, key: Hashable, max_wait: float | None) -> Waiter:
        if self._make_error is not None:
            raise self._make_error()
        if not self._contended:
            self._follow_loop()
        if max_wait is not None:
            self.check_wait(key, max_wait)
        now = self._now()
        expires = inf if max_wait is None else now + max_wait
        waiter = Waiter(key, asyncio.get_running_loop().create_future(), now, expires)
        if self._contended:
            self._queue.add(waiter)
            if expires < self._queue.due:
                self._arm()
            return waiter
        self._refill()
        self._queue = FairQueue()
        self._queue.add(waiter)
        self._set_contended(True)
        self._serve()
        return waiter

    def _on_resume(self, queue: FairQueue) -> None:
        """Count a granted waiter as resumed. Until then newcomers must queue, so that nobody overtakes it."""
        queue.granted_not_resumed -= 1
        if queue.timer is None:
            self._refill()
            self._serve()

    def _withdraw(self, waiter: Waiter, queue: FairQueue) -> None:
        """Let a cancelled waiter go: out of the queue, or with a grant that was never used."""
        self._cancelled += 1
        if waiter.next is not None:
            self._queue.remove(waiter)
            self._refill()
            self._serve()
        elif not waiter.future.cancelled() and waiter.future.exception() is None:
            queue.granted_not_resumed -= 1
            self.give_back()

    def _serve(self) -> None:
        """Grant the tokens there are after the last refill, reject late waiters, and set the timer for the rest."""
        queue = self._queue
        while queue.length:
            waiter = queue.first()
            if waiter.future.done():  # cancelled in this step of the loop, and its task has not run
                queue.remove(waiter)
                continue
            if not self._has_token():
                break
            self._take()
            queue.remove(waiter, served=True)
            queue.granted_not_resumed += 1
            waiter.future.set_result(None)
        self._reject_late(queue)
        if queue.length:
            self._arm()
        elif queue.granted_not_resumed:
            queue.disarm()
        else:
            self._settle()

    def _reject_late(self, queue: FairQueue) -> None:
        """Raise RateLimitWaitError in every waiter with an expiry in the past or before the end of the pause."""
        until = max(self._paused_until, self._at + ROUNDING)
        while (waiter := queue.pop_expiring(until)) is not None:
            if not waiter.future.done():
                wait = self._at - waiter.since + max(0.0, self._seconds_to_token())
                waiter.future.set_exception(_too_long(wait, waiter.expires - waiter.since))

    def _settle(self) -> None:
        """Let the next request open the bucket again, once a pause is over."""
        self._queue.disarm()
        self._queue = _NO_WAITERS
        self._set_contended(False)

    def _arm(self) -> None:
        """Have one timer, no later than the next grant and the next expiry. An early timer just sets the next."""
        queue = self._queue
        wait = queue.earliest_expiry() - self._at
        if self._depth >= ONE:
            wait = min(wait, self._seconds_to_token())
        elif wait == inf:
            return  # reserved tokens take all the room, until one is consumed
        wait = max(1, ceil(min(wait, _LONGEST_TIMER) / TIMER_STEP - ROUNDING)) * TIMER_STEP
        due = self._at + wait
        if due < queue.due:
            queue.disarm()
            queue.due = due
            queue.timer = queue.first().future.get_loop().call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._queue.timer = None
        self._queue.due = inf
        self._refill()
        self._serve()


def _too_long(estimate: float, max_wait: float) -> RateLimitWaitError:
    message = f"the rate limit would take about {estimate:.3g} s, more than the {max_wait:.3g} s allowed"
    return RateLimitWaitError(message, estimated_wait=estimate)


_NO_WAITERS = FairQueue()
"""The shared empty queue of all idle buckets. It is never mutated."""
