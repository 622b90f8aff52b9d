"""Decide if and when to try again: a pure function of the last attempt, and the budgets that retries spend."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable
from typing import NamedTuple

from attrs import field, frozen

from .. import validation
from ..errors import ConnectionFailedError, ConnectionLostError, DeadlineExceededError, RequestTimeoutError
from .attempt_result import AttemptResult
from .wire import WireRequest

_TRANSIENT = (ConnectionFailedError, ConnectionLostError, RequestTimeoutError)
_MAX_BUDGETS = 10_000


def _statuses(value: Collection[int]) -> frozenset[int]:
    try:
        statuses = frozenset(value)
    except TypeError:
        statuses = frozenset({-1})
    if not all(validation.is_integer(status) and 400 <= status <= 599 for status in statuses):
        raise validation.unexpected("statuses", "a set of 4xx and 5xx statuses", value)
    if gone := statuses & {401, 404}:
        raise validation.invalid("statuses", f"must not hold {min(gone)}: the response would be the same")
    return statuses


@frozen(kw_only=True)
class RetryPolicy:
    """The number, times and causes of retries. All times are in seconds."""

    max_attempts: int = field(default=3, validator=validation.count())
    """Attempts of one call, the first included. 3, as in AWS SDKs' standard mode. A 401 that makes a callable or a file
    give another token allows one more."""
    initial: float = field(default=0.25, validator=validation.number("seconds"))
    """The longest wait after the first attempt. A wait is random between 0 and its longest ("full jitter": AWS
    Architecture Blog, Exponential Backoff And Jitter)."""
    maximum: float = field(default=20.0, validator=validation.number("seconds"))
    """The longest wait after any attempt: AWS SDKs' 20."""
    multiplier: float = field(default=2.0, validator=validation.number("times", minimum=1))
    """Factor of growth of the longest wait, from attempt to attempt."""
    statuses: frozenset[int] = field(default=frozenset({408, 425, 429, 500, 502, 503, 504}), converter=_statuses)
    """The statuses to retry."""
    max_retry_after: float = field(default=30.0, validator=validation.number("seconds"))
    """The longest Retry-After to wait for. A call with a longer one raises at once; a pause of all requests, and of a
    watch, is capped at this many seconds."""
    budget: int = field(default=100, validator=validation.count(minimum=0))
    """Retries of the whole client without a success in between: AWS SDKs' 500 tokens, 5 a retry."""
    organization_budget: int = field(default=10, validator=validation.count(minimum=0))
    """Retries of each organization, in the same way, so a failing one cannot spend the client's whole budget."""
    budget_refill: float = field(default=0.2, validator=validation.number("retries"))
    """Retries that a success returns to the budgets: AWS SDKs' 1 token of 5."""
    retry_post: bool = field(default=False, validator=validation.flag)
    """True to send a POST again even if an attempt may have been carried out."""

    def may_repeat(self, request: WireRequest, *, applied: bool) -> bool:
        """Return True if a request may be sent again. ``applied`` is True if an attempt may have been carried out."""
        return not applied or (request.repeatable and (request.method != "POST" or self.retry_post))

    def backoff(self, attempt: int, jitter: float) -> float:
        """Return the wait after the ``attempt``-th attempt: ``jitter``, from 0 to 1, times the longest wait."""
        try:
            longest = min(self.maximum, self.initial * self.multiplier ** (attempt - 1))
        except OverflowError:
            longest = self.maximum if self.initial else 0.0
        return jitter * longest


class Retry(NamedTuple):
    """Try again after ``delay`` seconds."""

    delay: float


class Stop(NamedTuple):
    """Do not try again."""

    reason: str = ""
    """The reason, if the attempt does not speak for itself."""


def decide(
    policy: RetryPolicy,
    result: AttemptResult,
    *,
    attempt: int,
    repeatable: bool,
    remaining: float | None,
    jitter: float,
) -> Retry | Stop:
    """Decide if and when to make another attempt.

    Args:
        policy: The caller's settings.
        result: The last attempt.
        attempt: Its number, from 1.
        repeatable: True if the request may be sent again; see `RetryPolicy.may_repeat`.
        remaining: Seconds until the deadline; None for no deadline.
        jitter: A random number from 0 to 1.
    """
    if not _is_transient(policy, result):
        return Stop()
    if not repeatable:
        return Stop("not repeated, since it may have been carried out")
    if attempt >= policy.max_attempts:
        return Stop()
    wait = (result.response and result.response.retry_after) or 0.0
    if wait > policy.max_retry_after:
        return Stop(f"the server asks to wait {wait:.6g} s, longer than max_retry_after")
    # Jitter only adds to the server's own wait, because all rejected clients would come back at once.
    delay = wait + policy.backoff(attempt, jitter)
    if remaining is not None and delay >= remaining:
        return Stop("the next attempt would be after the deadline")
    return Retry(delay)


def _is_transient(policy: RetryPolicy, result: AttemptResult) -> bool:
    if result.response is not None:
        return result.response.status in policy.statuses
    return isinstance(result.error, _TRANSIENT) and not isinstance(result.error, DeadlineExceededError)


class RetryBudgets:
    """The retries left to the client, and to each organization with a retry behind it."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.left: float = float(policy.budget)
        """Number of retries left to the client."""
        self._organizations: OrderedDict[Hashable, float] = OrderedDict()

    def spend(self, key: Hashable) -> bool:
        """Take one retry from both budgets; return False if either has none."""
        own = self._organizations.pop(key, float(self._policy.organization_budget))
        enough = own >= 1 and self.left >= 1
        if enough:
            self.left -= 1
            own -= 1
        self._organizations[key] = own
        if len(self._organizations) > _MAX_BUDGETS:
            self._organizations.popitem(last=False)
        return enough

    def earn(self, key: Hashable) -> None:
        """Return a part of a retry to both budgets after a success."""
        policy = self._policy
        if self.left < policy.budget:
            self.left = min(policy.budget, self.left + policy.budget_refill)
        if self._organizations and (own := self._organizations.pop(key, None)) is not None:
            own += policy.budget_refill
            if own < policy.organization_budget:
                self._organizations[key] = own
