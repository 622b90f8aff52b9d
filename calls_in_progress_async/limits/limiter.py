"""The limits kept by a client: one bucket for each host and token, and one for each organization beneath."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple

from .. import clock
from .adaptive import AdaptiveRate
from .idle_table import IdleTable
from .learnt_state import LearntLimit, LimitKey, digest, read_state, write_state
from .rate_limits import RateLimits
from .settings import RateLimit, default_burst
from .share import Share
from .snapshots import LimiterSnapshot
from .throttle_attribution import ThrottleAttribution, Verdict
from .token_account import UNLIMITED
from .token_bucket import TokenBucket

DEFAULT_PAUSE = 1.0
"""Seconds without requests after a 429 without Retry-After."""
_WOKEN_AT_ONCE = 64.0
"""Requests of an organization to wake at once after a pause of its own, then as many per millisecond."""
_UNLIMITED = RateLimit(rate=UNLIMITED, burst=UNLIMITED)


class _TokenLimit(NamedTuple):
    """The limit of one host and token."""

    bucket: TokenBucket
    attribution: ThrottleAttribution
    adaptive: AdaptiveRate | None


class RateLimiter:
    """The buckets of a client. A request needs a token of its organization's bucket, then of the shared one.

    A 429 pauses all requests of its host and token, unless `ThrottleAttribution` tells that it is about one
    organization: then it pauses this organization alone, and leaves an adaptive rate as it is.

    Args:
        settings: The limits; with None nothing but a 429 holds requests back.
    """

    def __init__(self, settings: RateLimit | None = None) -> None:
        self._settings = settings or _UNLIMITED
        self._learnt = read_state(self._settings.state) if self._settings.state is not None else {}
        most = self._settings.max_buckets
        self._shared: IdleTable[LimitKey, _TokenLimit] = IdleTable(most, lambda limit: limit.bucket.idle)
        self._own: IdleTable[tuple[LimitKey, Hashable], TokenBucket] = IdleTable(most, lambda bucket: bucket.idle)
        self._share = Share(most)
        self._make_error: Callable[[], BaseException] | None = None
        self.view: RateLimits = RateLimits(self)
        """The public, read-only side."""

    def try_acquire(self, limit_key: LimitKey, organization: Hashable) -> bool:
        """Take a grant if it needs no waiting.

        Args:
            limit_key: The host and token.
            organization: The organization of the request.

        Returns:
            True if it was taken.
        """
        shared = (self._shared.get(limit_key) or self._open(limit_key)).bucket
        own = self._own_bucket(limit_key, organization)
        if own is None:
            return shared.try_acquire()
        if not own.try_acquire():
            return False
        if shared.try_acquire():
            return True
        own.give_back()
        return False

    async def acquire(self, limit_key: LimitKey, organization: Hashable) -> float:
        """Wait for a grant: in the bucket of the organization first, then with the others of the host and token.

        Args:
            limit_key: The host and token.
            organization: The organization of the request.

        Returns:
            Seconds waited.

        Raises:
            RateLimitWaitError: The wait would be longer than the settings' ``max_wait``.
        """
        began, max_wait = clock.now(), self._settings.max_wait
        shared = (self._shared.get(limit_key) or self._open(limit_key)).bucket
        while True:
            left = None if max_wait is None else max(0.0, began + max_wait - clock.now())
            own = self._own_bucket(limit_key, organization)
            if own is None:
                await shared.acquire(organization, left)
            else:
                await self._acquire_both(own, shared, organization, left)
            if not self._is_paused_alone(limit_key, organization):
                return clock.now() - began
            self.give_back(limit_key, organization)  # a 429 of this organization came during the wait

    async def _acquire_both(
        self, own: TokenBucket, shared: TokenBucket, organization: Hashable, max_wait: float | None
    ) -> None:
        if max_wait is not None:
            shared.check_wait(organization, max_wait)
        waited = await own.acquire(None, max_wait)
        own.reserve()
        try:
            await shared.acquire(organization, None if max_wait is None else max(0.0, max_wait - waited))
        except BaseException:
            own.consume()
            own.give_back()
            raise
        own.consume()

    async def reserve(self, limit_key: LimitKey, organization: Hashable, wait: Awaitable[object]) -> None:
        """Wait for something else with a grant in hand. The grant takes room in its buckets meanwhile.

        So grants do not pile up in a stall, to be used all at once after it.

        Args:
            limit_key: The key given to ``acquire``.
            organization: The organization given to ``acquire``.
            wait: The awaitable to wait for, for example a connection slot.
        """
        buckets = self._buckets(limit_key, organization)
        for bucket in buckets:
            bucket.reserve()
        try:
            await wait
        finally:
            for bucket in buckets:
                bucket.consume()

    def give_back(self, limit_key: LimitKey, organization: Hashable) -> None:
        """Return the grant of a request that was not sent."""
        for bucket in self._buckets(limit_key, organization):
            bucket.give_back()

    def is_paused(self, limit_key: LimitKey, organization: Hashable) -> bool:
        """Return True if a pause after a 429 still lasts, for the token or for this organization."""
        limit = self._shared.get(limit_key)
        return (limit is not None and limit.bucket.paused) or self._is_paused_alone(limit_key, organization)

    def on_response(
        self,
        limit_key: LimitKey,
        organization: Hashable,
        *,
        throttled: bool,
        retry_after: float | None,
        sent_at: float,
    ) -> None:
        """Learn from a response: a throttled one pauses its token or its organization.

        Args:
            limit_key: The key given to ``acquire``.
            organization: The organization given to ``acquire``.
            throttled: True for a 429, or a 503 with Retry-After.
            retry_after: Seconds to pause, from the server's Retry-After and already capped; None without Retry-After.
            sent_at: The loop's time in seconds when the request was sent.
        """
        limit = self._shared.get(limit_key) or self._open(limit_key)
        if throttled:
            pause = DEFAULT_PAUSE if retry_after is None else retry_after
            self._on_throttled(limit_key, limit, organization, pause, sent_at)
        else:
            limit.attribution.on_answered(organization)
            if limit.adaptive is not None:
                limit.adaptive.on_success(clock.now(), sent_at)
        if limit.adaptive is not None:
            self._follow_adaptive(limit_key, limit)

    def _on_throttled(
        self, limit_key: LimitKey, limit: _TokenLimit, organization: Hashable, pause: float, sent_at: float
    ) -> None:
        now = clock.now()
        verdict = limit.attribution.on_throttled(organization, sent_at, now)
        if verdict is Verdict.SHARED:
            limit.bucket.pause(pause)
            if limit.adaptive is not None:
                limit.adaptive.on_throttled(now, sent_at, pause)
            return
        own = self._own_bucket(limit_key, organization)
        if own is None:
            own = self._own.add((limit_key, organization), self._new_bucket(UNLIMITED, _WOKEN_AT_ONCE, 0.0))
        own.pause(pause)
        if limit.adaptive is not None and verdict is Verdict.NEWLY_ALONE:
            limit.adaptive.undo_cut()

    def _follow_adaptive(self, limit_key: LimitKey, limit: _TokenLimit) -> None:
        rate, burst = self._shared_limit(limit_key, limit.adaptive)
        if rate != limit.bucket.rate:
            limit.bucket.set_limit(rate, burst)

    def begin_with(self, settings: RateLimit) -> bool:
        """Use these limits, before the first request and if there are none yet. Return False if it is too late."""
        if self._settings is not _UNLIMITED or self._shared:
            return False
        self._settings = settings
        return True

    def set_share(self, fraction: float, token: str | None) -> None:
        """Use a share of every rate and burst from now on: of one token, or of every token without its own share."""
        self._share.set(fraction, token)
        for limit_key, limit in self._shared.items():
            if limit.adaptive is not None:
                limit.adaptive.share = self._share.of(limit_key[1])
            limit.bucket.set_limit(*self._shared_limit(limit_key, limit.adaptive))
        if self._settings.per_organization_rate is not None:
            for (limit_key, _), bucket in self._own.items():
                bucket.set_limit(*self._organization_limit(limit_key, self._settings.per_organization_rate))

    def export_state(self) -> dict[str, Any]:
        """Return the learnt limits, ready for JSON and for ``RateLimit.adaptive(state=...)``."""
        in_use = {
            digest(limit_key): LearntLimit(limit.adaptive.rate, limit.adaptive.limit)
            for limit_key, limit in self._shared.items()
            if limit.adaptive is not None
        }
        return write_state(self._learnt | in_use, self._settings.max_buckets)

    def close(self, make_error: Callable[[], BaseException]) -> None:
        """Raise an error in every waiter, and in every later ``acquire``.

        Args:
            make_error: Called once for each.
        """
        self._make_error = make_error
        for bucket in (*self._own.values(), *(limit.bucket for limit in self._shared.values())):
            bucket.close(make_error)

    def __reduce__(self) -> Any:
        raise TypeError("A RateLimiter holds tokens and cannot be pickled; pickle the result of export_state().")

    def snapshot(self) -> LimiterSnapshot:
        """Return the state at this moment."""
        return LimiterSnapshot(
            shared={digest(limit_key): limit.bucket.snapshot() for limit_key, limit in self._shared.items()},
            organizations=len(self._own),
            organizations_waiting=sum(bucket.waiting for bucket in self._own.values()),
        )

    def _shared_limit(self, limit_key: LimitKey, adaptive: AdaptiveRate | None) -> tuple[float, float]:
        """Return this process's rate and burst of a host and token."""
        rate = self._settings.rate if adaptive is None else adaptive.rate
        return self._share.scale(limit_key[1], rate, self._settings.burst)

    def _organization_limit(self, limit_key: LimitKey, rate: float) -> tuple[float, float]:
        """Return this process's rate and burst of one organization."""
        return self._share.scale(limit_key[1], rate, self._settings.per_organization_burst or default_burst(rate))

    def _open(self, limit_key: LimitKey) -> _TokenLimit:
        settings, adaptive = self._settings, None
        if settings.adaptation is not None:
            learnt = self._learnt.pop(digest(limit_key), LearntLimit(settings.adaptation.initial, None))
            share = self._share.of(limit_key[1])
            adaptive = AdaptiveRate(settings.adaptation, rate=learnt.rate, limit=learnt.limit, share=share)
        bucket = self._new_bucket(*self._shared_limit(limit_key, adaptive), settings.catch_up)
        return self._shared.add(limit_key, _TokenLimit(bucket, ThrottleAttribution(settings.max_buckets), adaptive))

    def _own_bucket(self, limit_key: LimitKey, organization: Hashable) -> TokenBucket | None:
        """Return the bucket of an organization; None if neither the settings nor a pause gave it one."""
        rate = self._settings.per_organization_rate
        if rate is None and not self._own:
            return None
        own = self._own.get((limit_key, organization))
        if own is None and rate is not None:
            rate, burst = self._organization_limit(limit_key, rate)
            return self._own.add((limit_key, organization), self._new_bucket(rate, burst, self._settings.catch_up))
        return own

    def _is_paused_alone(self, limit_key: LimitKey, organization: Hashable) -> bool:
        own = self._own.get((limit_key, organization)) if self._own else None
        return own is not None and own.paused

    def _buckets(self, limit_key: LimitKey, organization: Hashable) -> list[TokenBucket]:
        """Return the buckets of a grant. A forgotten bucket was full, and needs nothing."""
        limit, own = self._shared.get(limit_key), self._own.get((limit_key, organization))
        buckets = (None if limit is None else limit.bucket, own)
        return [bucket for bucket in buckets if bucket is not None]

    def _new_bucket(self, rate: float, burst: float, catch_up: float) -> TokenBucket:
        bucket = TokenBucket(rate=rate, burst=burst, catch_up=catch_up)
        if self._make_error is not None:
            bucket.close(self._make_error)
        return bucket
