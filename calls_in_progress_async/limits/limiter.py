"""The limits a client keeps: one bucket for each host and token, and beneath it one for each organization."""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any

import attrs

from ..clock import now
from .adaptive import AdaptiveRate
from .settings import STATE_VERSION, RateLimit, default_burst, read_state
from .token_bucket import BucketSnapshot, Timer, TokenBucket

# Seconds without requests after a 429 that does not say how long.
DEFAULT_PAUSE = 1.0
# No limit is a limit that is never reached: pauses after a 429 then take no code of their own.
_UNLIMITED = RateLimit(rate=sys.float_info.max, burst=sys.float_info.max)


def _digest(scope: Hashable) -> str:
    """Name a scope without telling the token that is part of it."""
    return hashlib.blake2b(repr(scope).encode(), digest_size=8).hexdigest()


@attrs.frozen(kw_only=True)
class LimiterSnapshot:
    """The state of a limiter at one moment."""

    shared: Mapping[str, BucketSnapshot]
    """The bucket of each host and token, by a digest that does not tell the token."""
    organizations: int
    """The organizations whose bucket is kept."""
    organizations_waiting: int
    """Requests that wait for the bucket of their organization."""


class RateLimiter:
    """The buckets of a client.

    Args:
        settings: The limits; None for none, where only a 429 pauses requests.
        clock: Seconds, monotonic.
        call_at: As of ``TokenBucket``.
    """

    def __init__(
        self,
        settings: RateLimit | None = None,
        *,
        clock: Callable[[], float] | None = None,
        call_at: Callable[[float, Callable[[], None]], Timer] | None = None,
    ) -> None:
        self._settings = settings or _UNLIMITED
        self._clock = clock or now
        self._call_at = call_at
        self._state = read_state(self._settings.state) if self._settings.state else {}
        # Of both, the longest not looked at first.
        self._shared: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        self._own: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        self._adaptive: dict[Hashable, AdaptiveRate] = {}
        self._make_error: Callable[[], BaseException] | None = None

    def try_acquire(self, scope: Hashable, key: Hashable) -> bool:
        """Take a request's turn if that needs no waiting.

        Args:
            scope: The host and token, as a tuple of texts.
            key: The organization.

        Returns:
            Whether it was taken.
        """
        shared = self._shared.get(scope) or self._open(scope)
        if self._settings.per_organization_rate is None:
            return shared.try_acquire()
        own = self._organization(scope, key)
        if not own.try_acquire():
            return False
        if shared.try_acquire():
            return True
        own.give_back()
        return False

    async def acquire(self, scope: Hashable, key: Hashable, max_wait: float | None = None) -> float:
        """Wait for a request's turn: with its organization first, then with the others of its host and token.

        Args:
            scope: The host and token, as a tuple of texts.
            key: The organization.
            max_wait: Seconds; the settings' own by default.

        Returns:
            Seconds waited.

        Raises:
            RateLimitWaitError: The wait would be longer than ``max_wait``.
        """
        longest = self._settings.max_wait if max_wait is None else max_wait
        shared = self._shared.get(scope) or self._open(scope)
        if self._settings.per_organization_rate is None:
            return await shared.acquire(key=key, max_wait=longest)
        if longest is not None:
            shared.refuse_long_wait(1.0, key, longest)
        own = self._organization(scope, key)
        waited = await own.acquire(max_wait=longest)
        own.hold()
        try:
            left = None if longest is None else max(0.0, longest - waited)
            waited += await shared.acquire(key=key, max_wait=left)
        except BaseException:
            own.use()
            own.give_back()
            raise
        own.use()
        return waited

    async def reserve(self, scope: Hashable, key: Hashable, wait: Awaitable[object]) -> None:
        """Wait for something else with a turn in hand, which takes room in its buckets meanwhile.

        So turns do not pile up before whatever it is, to be used all at once when that is over.

        Args:
            scope: As given to ``acquire``.
            key: As given to ``acquire``.
            wait: What to wait for.
        """
        buckets = self._buckets(scope, key)
        for bucket in buckets:
            bucket.hold()
        try:
            await wait
        finally:
            for bucket in buckets:
                bucket.use()

    def give_back(self, scope: Hashable, key: Hashable) -> None:
        """Return the turn of a request that was not sent after all."""
        for bucket in self._buckets(scope, key):
            bucket.give_back()

    def _buckets(self, scope: Hashable, key: Hashable) -> list[TokenBucket]:
        """Those that a turn is of; one that was forgotten was full."""
        return [each for each in (self._shared.get(scope), self._own.get((scope, key))) if each is not None]

    def is_paused(self, scope: Hashable, key: Hashable) -> bool:
        """Whether nothing of a host and token may be sent for now, since the server said so."""
        bucket = self._shared.get(scope)
        return bucket is not None and bucket.paused

    def on_response(
        self, scope: Hashable, key: Hashable, *, throttled: bool, retry_after: float | None, sent_at: float
    ) -> None:
        """Learn from an answer: a throttled one pauses everything of its host and token.

        Args:
            scope: As given to ``acquire``.
            key: As given to ``acquire``.
            throttled: A 429, or a 503 with Retry-After.
            retry_after: Seconds that the server asks to wait; None where it does not say.
            sent_at: When the request was sent, by the limiter's clock.
        """
        shared = self._shared.get(scope) or self._open(scope)
        adaptive = self._adaptive.get(scope)
        if throttled:
            pause = DEFAULT_PAUSE if retry_after is None else min(retry_after, self._settings.max_pause)
            shared.pause(pause)
            if adaptive is not None:
                adaptive.on_throttled(self._clock(), sent_at, pause)
        elif adaptive is not None:
            adaptive.on_success(self._clock(), sent_at)
        if adaptive is not None and adaptive.rate != shared.rate:
            shared.set_rate(adaptive.rate)

    def export_state(self) -> dict[str, Any]:
        """Return what has been learnt, fit for JSON, as ``RateLimit.adaptive(state=...)`` takes it.

        What ``state`` says of hosts and tokens that were not asked yet is part of it.
        """
        learnt = self._state | {_digest(scope): (a.rate, a.limit) for scope, a in self._adaptive.items()}
        newest = list(learnt.items())[-self._settings.max_buckets :]
        return {
            "version": STATE_VERSION,
            "scopes": {name: {"rate": rate, "limit": limit} for name, (rate, limit) in newest},
        }

    def close(self, make_error: Callable[[], BaseException]) -> None:
        """Wake everybody who waits with an error, and refuse every later ``acquire``.

        Args:
            make_error: Called once for each.
        """
        self._make_error = make_error
        for bucket in (*self._own.values(), *self._shared.values()):
            bucket.close(make_error)

    def __reduce__(self) -> Any:
        raise TypeError("A RateLimiter holds tokens and cannot be pickled; pickle what export_state() returns.")

    def snapshot(self) -> LimiterSnapshot:
        """Return the state at this moment."""
        return LimiterSnapshot(
            shared={_digest(scope): bucket.snapshot() for scope, bucket in self._shared.items()},
            organizations=len(self._own),
            organizations_waiting=sum(bucket.waiting for bucket in self._own.values()),
        )

    def _open(self, scope: Hashable) -> TokenBucket:
        settings = self._settings
        rate = settings.rate
        if settings.adaptation is not None:
            learnt, limit = self._state.pop(_digest(scope), (None, None))
            adaptive = self._adaptive[scope] = AdaptiveRate(settings.adaptation, rate=learnt, limit=limit)
            rate = adaptive.rate
        bucket = self._shared[scope] = self._bucket(rate, settings.burst)
        for forgotten in self._forget_idle(self._shared):
            self._adaptive.pop(forgotten, None)
        return bucket

    def _organization(self, scope: Hashable, key: Hashable) -> TokenBucket:
        bucket = self._own.get((scope, key))
        if bucket is not None:
            return bucket
        rate = self._settings.per_organization_rate
        assert rate is not None  # noqa: S101 - for the type checker: the callers looked
        bucket = self._own[scope, key] = self._bucket(
            rate, self._settings.per_organization_burst or default_burst(rate)
        )
        self._forget_idle(self._own)
        return bucket

    def _forget_idle(self, buckets: OrderedDict[Hashable, TokenBucket]) -> list[Hashable]:
        """Look at two for each new one: so the table shrinks again, at a constant cost and with none to pay on use."""
        forgotten = []
        for _ in range(min(2, len(buckets) - self._settings.max_buckets)):
            oldest, bucket = next(iter(buckets.items()))
            if bucket.idle:
                del buckets[oldest]
                forgotten.append(oldest)
            else:
                buckets.move_to_end(oldest)
        return forgotten

    def _bucket(self, rate: float, burst: float) -> TokenBucket:
        bucket = TokenBucket(
            rate=rate, burst=burst, catch_up=self._settings.catch_up, clock=self._clock, call_at=self._call_at
        )
        if self._make_error is not None:
            bucket.close(self._make_error)
        return bucket
