"""A token bucket for asyncio: fair over keys, one timer however many wait, no token lost to a cancellation."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import ceil, inf
from typing import Any, Protocol

import attrs

from ..errors import InvalidRequestError, RateLimitWaitError

# Seconds that timers are a multiple of. asyncio's wait for a whole number of milliseconds, rounded up; uvloop's are
# rounded to the nearest: early every other time, which costs a second one, and below half a millisecond it would spin.
TIMER_STEP = 0.001
# Seconds of the longest timer: one that is early just sets the next, and endless ones have no number of steps.
_LONGEST_TIMER = 86_400.0
# A timer may fire a rounding error early. What is granted ahead stays in the account, so it does not add up.
_ROUNDING = 1e-6
_LONG_AGO = -inf


class Timer(Protocol):
    """What ``call_at`` returns."""

    def cancel(self) -> object:
        """Never fire."""


@attrs.frozen(kw_only=True)
class BucketSnapshot:
    """The state of a bucket at one moment."""

    rate: float
    """Tokens added a second."""
    burst: float
    """Tokens that the bucket holds when full."""
    tokens: float
    """Tokens that it holds now."""
    waiting: int
    """Those who wait for a token."""
    paused_for: float
    """Seconds until the pause ends; 0 where there is none, infinite once closed."""
    granted: int
    """Grants so far, less those that were given back by a cancellation."""
    cancelled: int
    """Waits that ended in a cancellation."""


class _Waiter:
    """One who waits: a link in the circular list of its key, so that leaving takes the same time everywhere."""

    __slots__ = ("cost", "future", "key", "next", "number", "previous", "since")

    def __init__(self, cost: float, key: Hashable, future: asyncio.Future[None], since: float) -> None:
        self.cost = cost
        self.key = key
        self.future = future
        self.since = since
        self.number = 0
        self.next: Any = None  # a waiter while it is queued, None after
        self.previous: Any = None


class _Queue:
    """Those who wait, each key in its own order of arrival and the keys in turns, and the timer that wakes them."""

    __slots__ = ("cost", "due", "leaving", "length", "timer", "turns")

    def __init__(self) -> None:
        self.length = 0
        self.leaving = 0  # those whose turn has come, and who have not run since
        self.cost = 0.0
        self.timer: Timer | None = None
        self.due = inf
        self.turns: OrderedDict[Hashable, _Waiter] = OrderedDict()  # the first of each key, next turn first

    def first(self) -> _Waiter:
        return next(iter(self.turns.values()))

    def add(self, waiter: _Waiter) -> None:
        first = self.turns.setdefault(waiter.key, waiter)
        waiter.next = first
        waiter.previous = first.previous or first
        waiter.number = waiter.previous.number + 1
        waiter.previous.next = first.previous = waiter
        self.length += 1
        self.cost += waiter.cost

    def cost_ahead(self, key: Hashable) -> float:
        """Estimate the costs of those whose turn comes before that of one more of the key.

        They are those of the key, and of every other key as many and one more. Where others have fewer, or some of
        the key left out of their turn, it is less.
        """
        if not self.length:
            return 0.0
        first = self.turns.get(key)
        own = first.previous.number - first.number + 1 if first else 0
        others = (own + 1) * (len(self.turns) - (first is not None))
        return self.cost * min(1.0, (own + others) / self.length)

    def remove(self, waiter: _Waiter, *, served: bool = False) -> None:
        turns = self.turns
        following = waiter.next
        if following is waiter:
            del turns[waiter.key]
        else:
            waiter.previous.next = following
            following.previous = waiter.previous
            if turns[waiter.key] is waiter:
                turns[waiter.key] = following
            if served and len(turns) > 1:
                turns.move_to_end(waiter.key)
        waiter.next = waiter.previous = None
        self.length -= 1
        self.cost -= waiter.cost

    def disarm(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.due = inf


# Of every bucket for which nobody waits, so that it takes no memory.
_NOBODY = _Queue()


def check_positive(name: str, value: object) -> float:
    """Refuse what is no finite number above 0.

    Args:
        name: The parameter, as the caller spells it.
        value: What the caller gave.

    Raises:
        InvalidRequestError: It names the parameter.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise InvalidRequestError(f"{name} must be a finite number above 0, not {value!r}", parameter=name)
    return float(value)


class TokenBucket:
    """A token bucket: in any ``t`` seconds it grants at most ``burst + rate * t`` (the sum of the costs).

    Waiters with one key are served in strict order of arrival; different keys take turns. It may be made outside
    a loop, and is used from one loop at a time.

    Args:
        rate: Tokens a second.
        burst: Tokens in a full bucket. Below ``0.002 * rate`` the lateness of timers (1 to 2 ms) costs rate.
        catch_up: Seconds of timer lateness to make good: while somebody waits, up to ``rate * catch_up`` tokens
            accrue above ``burst``, and the bound grows by as much (2 ms at 1,000 a second: 2 tokens). A timer's step
            of 1 ms is part of it: what is left is for a loop that is late.
        clock: Seconds, monotonic.
        call_at: Calls back at a time of ``clock``; by default the waiters' loop does.
    """

    __slots__ = (
        "_at", "_burst", "_call_at", "_cancelled", "_catch_up", "_clock", "_granted", "_make_error", "_open_at",
        "_paused_until", "_queue", "_rate", "_room", "_tokens",
    )  # fmt: skip

    def __init__(
        self,
        *,
        rate: float,
        burst: float,
        catch_up: float = 0.0,
        clock: Callable[[], float] | None = None,
        call_at: Callable[[float, Callable[[], None]], Timer] | None = None,
    ) -> None:
        self._rate = check_positive("rate", rate)
        self._burst = self._tokens = check_positive("burst", burst)
        self._room = self._burst  # for tokens: less by those that are held
        self._catch_up = catch_up
        self._clock = clock or time.monotonic
        self._call_at = call_at
        self._at = self._clock()
        self._paused_until = _LONG_AGO
        self._open_at = _LONG_AGO  # when tokens may be had without waiting: the end of the pause, never while some wait
        self._granted = self._cancelled = 0
        self._queue = _NOBODY
        self._make_error: Callable[[], BaseException] | None = None

    @property
    def rate(self) -> float:
        """Tokens added a second."""
        return self._rate

    @property
    def waiting(self) -> int:
        """Those who wait for a token."""
        return self._queue.length

    @property
    def paused(self) -> bool:
        """Whether a pause lasts, or the bucket is closed."""
        return self._clock() < self._paused_until

    @property
    def idle(self) -> bool:
        """Whether a new bucket would behave the same: full, nobody waits, no pause."""
        now = self._refill()
        return now >= self._open_at and self._tokens >= self._burst

    def try_acquire(self, cost: float = 1.0, key: Hashable = None) -> bool:
        """Take tokens if they are there and nobody waits, without waiting.

        Args:
            cost: Tokens to take.
            key: As for ``acquire``; no turn is needed here.

        Returns:
            Whether they were taken.
        """
        now = self._clock()
        if now >= self._open_at:
            tokens = self._tokens + (now - self._at) * self._rate
            if tokens > self._room:  # noqa: PLR1730 - min() would cost a call
                tokens = self._room
            if 0.0 < cost <= tokens + _ROUNDING:
                self._at = now
                self._tokens = tokens - cost
                self._granted += 1
                return True
        return False

    # Keyword-only parameters and a call to try_acquire would make the uncontended path 1.3 times as slow.
    async def acquire(self, cost: float = 1.0, key: Hashable = None, max_wait: float | None = None) -> float:
        """Take tokens, waiting for one's turn.

        Args:
            cost: Tokens to take, above 0 and at most ``burst``.
            key: Whose turn it is: keys take turns, each in its own order of arrival.
            max_wait: Seconds; a longer estimated wait is refused at once.

        Returns:
            Seconds waited.

        Raises:
            InvalidRequestError: ``cost`` can never be had.
            RateLimitWaitError: The wait would be longer than ``max_wait``.
        """
        now = self._clock()
        if now >= self._open_at:
            tokens = self._tokens + (now - self._at) * self._rate
            if tokens > self._room:  # noqa: PLR1730 - min() would cost a call
                tokens = self._room
            if 0.0 < cost <= tokens:
                self._at = now
                self._tokens = tokens - cost
                self._granted += 1
                return 0.0
        waiter = self._enqueue(cost, key, max_wait)
        queue = self._queue
        try:
            await waiter.future
        except (asyncio.CancelledError, GeneratorExit):
            self._withdraw(waiter, queue)
            raise
        self._leave(queue)
        return self._clock() - waiter.since

    def give_back(self, cost: float = 1.0) -> None:
        """Return tokens that were granted and not used.

        Args:
            cost: Tokens; what goes beyond a full bucket is dropped.
        """
        self._granted -= 1
        self._refill(cost)
        self._serve()

    def hold(self) -> None:
        """Keep a token that was granted until it can be used: meanwhile it takes room, so that they do not pile up."""
        self._room -= 1

    def use(self) -> None:
        """Use a token that was held, or be about to give it back."""
        self._refill()
        self._room += 1
        self._serve()

    def pause(self, seconds: float) -> None:
        """Grant nothing for a while. Of two pauses the later end holds.

        Args:
            seconds: From now.
        """
        self._paused_until = max(self._paused_until, self._clock() + seconds)
        if self._queue is _NOBODY:
            self._open_at = self._paused_until

    def set_rate(self, rate: float) -> None:
        """Change the rate, for those who wait as well.

        Args:
            rate: Tokens a second from now on.
        """
        self._refill()
        self._rate = check_positive("rate", rate)
        self._serve()

    def close(self, make_error: Callable[[], BaseException]) -> None:
        """Wake every waiter with an error, and refuse every later ``acquire`` with one.

        Args:
            make_error: Called once for each, since a raised error belongs to one traceback.
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
        return BucketSnapshot(
            rate=self._rate,
            burst=self._burst,
            tokens=self._tokens,
            waiting=self._queue.length,
            paused_for=max(0.0, self._paused_until - now),
            granted=self._granted,
            cancelled=self._cancelled,
        )

    def _refill(self, returned: float = 0.0) -> float:
        """Add what has accrued since the last time, and return the time."""
        now = self._clock()
        self._tokens = min(self._depth, self._tokens + (now - self._at) * self._rate + returned)
        self._at = now
        return now

    @property
    def _depth(self) -> float:
        """The most tokens that there may be now."""
        late = 0.0 if self._queue is _NOBODY else self._catch_up * self._rate
        return max(0.0, self._room + late)

    def _enqueue(self, cost: float, key: Hashable, max_wait: float | None) -> _Waiter:
        if self._make_error is not None:
            raise self._make_error()
        if not 0.0 < cost <= self._burst:
            raise InvalidRequestError(f"cost must be above 0 and at most {self._burst}, not {cost}", parameter="cost")
        if max_wait is not None:
            self.refuse_long_wait(cost, key, max_wait)
        waiter = _Waiter(cost, key, asyncio.get_running_loop().create_future(), self._clock())
        if self._queue is not _NOBODY:  # the timer runs already, for somebody before this one
            self._queue.add(waiter)
            return waiter
        self._refill()
        self._queue = _Queue()
        self._queue.add(waiter)
        self._open_at = inf
        self._serve()
        return waiter

    def refuse_long_wait(self, cost: float, key: Hashable, max_wait: float) -> None:
        """Say now that a wait would be too long.

        Args:
            cost: Tokens to take.
            key: Whose turn it is.
            max_wait: Seconds that are not too long.

        Raises:
            RateLimitWaitError: It would be longer.
        """
        pause = max(0.0, self._paused_until - self._refill())
        tokens = min(self._burst, self._tokens + pause * self._rate)
        estimate = pause + max(0.0, self._queue.cost_ahead(key) + cost - tokens) / self._rate
        if estimate > max_wait:
            message = f"the rate limit would take about {estimate:.3g} s, more than the {max_wait:.3g} s allowed"
            raise RateLimitWaitError(message, estimated_wait=estimate)

    def _leave(self, queue: _Queue) -> None:
        """Note that one whose turn had come runs: only then can another have a token at once, and never before it."""
        queue.leaving -= 1
        if queue.timer is None:
            self._refill()
            self._serve()

    def _withdraw(self, waiter: _Waiter, queue: _Queue) -> None:
        """Let a cancelled waiter go: out of the queue, or with the token that it was granted and never used."""
        self._cancelled += 1
        if waiter.next is not None:
            self._queue.remove(waiter)
            self._refill()
            self._serve()
        elif not waiter.future.cancelled():
            queue.leaving -= waiter.future.exception() is None
            self.give_back(waiter.cost)

    def _serve(self) -> None:
        """Grant all that can be granted by what the last refill left, and set the timer for the next."""
        queue = self._queue
        while queue.length:
            waiter = queue.first()
            if waiter.future.done():  # cancelled in this step of the loop, and not yet told
                queue.remove(waiter)
                continue
            if self._at < self._paused_until or self._tokens + _ROUNDING < waiter.cost:
                self._arm(waiter)
                return
            self._tokens -= waiter.cost
            self._granted += 1
            queue.remove(waiter, served=True)
            queue.leaving += 1
            waiter.future.set_result(None)
        if queue.leaving:
            queue.disarm()
        else:
            self._settle()

    def _settle(self) -> None:
        """Nobody waits any more."""
        self._queue.disarm()
        self._queue = _NOBODY
        self._open_at = self._paused_until

    def _arm(self, waiter: _Waiter) -> None:
        """Have one timer that fires no later than the waiter's turn; one that is early just sets the next."""
        if self._depth + _ROUNDING < waiter.cost:
            return  # until a token that is held is used
        wait = max((waiter.cost - self._tokens) / self._rate, self._paused_until - self._at)
        wait = max(1, ceil(min(wait, _LONGEST_TIMER) / TIMER_STEP - _ROUNDING)) * TIMER_STEP
        queue = self._queue
        due = self._at + wait
        if due >= queue.due:
            return
        queue.disarm()
        queue.due = due
        if self._call_at is not None:
            queue.timer = self._call_at(due, self._on_timer)
        else:
            queue.timer = waiter.future.get_loop().call_later(wait, self._on_timer)

    def _on_timer(self) -> None:
        self._queue.timer = None
        self._queue.due = inf
        self._refill()
        self._serve()
