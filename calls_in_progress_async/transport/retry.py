"""Whether and when to try again: a pure function of what happened, and the budgets that it may spend."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable

from attrs import define, field, frozen

from .. import validation
from ..attempt import Attempt
from ..errors import (
    CallsInProgressError,
    ConnectionFailedError,
    ConnectionLostError,
    DeadlineExceededError,
    RequestTimeoutError,
)
from .protocol import SendState
from .wire import WireRequest, WireResponse

# Surely not carried out: RFC 9110 (408), RFC 8470 (425), RFC 6585 (429).
_NOT_CARRIED_OUT = frozenset({408, 425, 429})
_PASSING = (ConnectionFailedError, ConnectionLostError, RequestTimeoutError)
_MAX_BUDGETS = 10_000


def _statuses(value: Collection[int]) -> frozenset[int]:
    try:
        statuses = frozenset(value)
    except TypeError:
        statuses = frozenset({-1})
    if not all(isinstance(status, int) and 400 <= status <= 599 for status in statuses):
        raise validation.invalid(
            "statuses", f"{validation.describe(value)} will not do, pass a set of 4xx and 5xx statuses"
        )
    if gone := statuses & {401, 404}:
        raise validation.invalid("statuses", f"{min(gone)} is never retried: the answer would be the same")
    return statuses


@frozen(kw_only=True)
class RetryPolicy:
    """How often, when and on what to try again. All times are in seconds."""

    max_attempts: int = field(default=3, validator=validation.count())
    """The first included. 3, as in AWS SDKs' standard mode."""
    initial: float = field(default=0.25, validator=validation.number("seconds"))
    """The longest wait after the first attempt. A wait is random between 0 and its longest ("full jitter": AWS
    Architecture Blog, Exponential Backoff And Jitter)."""
    maximum: float = field(default=20.0, validator=validation.number("seconds"))
    """The longest wait after any attempt: AWS SDKs' 20."""
    multiplier: float = field(default=2.0, validator=validation.number("times", minimum=1))
    """How much longer the longest wait gets from attempt to attempt."""
    statuses: frozenset[int] = field(default=frozenset({408, 425, 429, 500, 502, 503, 504}), converter=_statuses)
    """The statuses that may pass."""
    max_retry_after: float = field(default=30.0, validator=validation.number("seconds"))
    """The longest Retry-After that is waited for; a longer one raises at once."""
    budget: int = field(default=100, validator=validation.count(minimum=0))
    """Retries that may be spent by the whole client without successes between: AWS SDKs' 500 tokens, 5 a retry."""
    organization_budget: int = field(default=10, validator=validation.count(minimum=0))
    """The same for each organization, so that a failing one cannot spend everybody's."""
    budget_refill: float = field(default=0.2, validator=validation.number("retries"))
    """What a success returns to the budgets: AWS SDKs' 1 token of 5."""

    retry_post: bool = field(default=False, validator=validation.flag)
    """Whether a POST is sent again even if an attempt may have been carried out."""

    def may_repeat(self, request: WireRequest, *, applied: bool) -> bool:
        """Whether a request may be sent again, given whether an attempt may have been carried out."""
        return not applied or (request.repeatable and (request.method != "POST" or self.retry_post))

    def backoff(self, attempt: int, random: Callable[[], float]) -> float:
        """The wait after the ``attempt``-th attempt, with full jitter."""
        try:
            longest = min(self.maximum, self.initial * self.multiplier ** (attempt - 1))
        except OverflowError:
            longest = self.maximum if self.initial else 0.0
        return random() * longest


@define(eq=False)
class Outcome:
    """What one attempt came to: an answer, of whatever status, or an error; and when it passed its stations."""

    response: WireResponse | None = None
    error: CallsInProgressError | None = None
    state: SendState | None = None
    """Set when the transport begins to send."""
    began: float = 0.0
    ready: float = 0.0
    """When its turn had come and a token callable had answered, if it needs them; infinity until then."""
    admitted: float = 0.0
    """When the rate limit let it go, if it had to wait for that."""
    started: float = 0.0
    """When it had a connection slot, if it had one."""
    ended: float = 0.0

    def attempt(self, status: int | None) -> Attempt:
        """The outcome as its caller sees it."""
        ready = self.ended if self.ready > self.ended else self.ready or self.began
        started = self.started or self.ended
        admitted = self.admitted or (ready if self.started else started)
        error = None if self.error is None else type(self.error).__name__
        before, ended = ready - self.began, self.ended
        return Attempt(status, error, admitted - ready, started - admitted, ended - started, 0.0, before)

    @property
    def may_have_been_applied(self) -> bool:
        """Whether the server may have carried the request out."""
        if self.response is None:
            sent = self.state is not None and self.state.may_have_been_sent
            return sent and not isinstance(self.error, ConnectionFailedError)
        if self.response.status in _NOT_CARRIED_OUT or self.response.throttled:
            return False
        return not 400 <= self.response.status < 500

    @property
    def throttled(self) -> bool:
        """Whether the server asks everybody to slow down."""
        return self.response is not None and self.response.throttled


@frozen
class Retry:
    """Try again after ``delay`` seconds."""

    delay: float


@frozen
class Stop:
    """Do not try again."""

    reason: str = ""
    """Worth telling the caller; empty where the outcome speaks for itself."""


def decide(
    policy: RetryPolicy,
    outcome: Outcome,
    *,
    attempt: int,
    repeatable: bool,
    remaining: float | None,
    random: Callable[[], float],
) -> Retry | Stop:
    """Decide what follows an attempt.

    Args:
        policy: The caller's settings.
        outcome: What the attempt came to.
        attempt: Its number, from 1.
        repeatable: Whether the request may be sent again; see `RetryPolicy.may_repeat`.
        remaining: Seconds until the deadline; None for no deadline.
        random: Numbers from 0 to 1.
    """
    passing = (
        isinstance(outcome.error, _PASSING) and not isinstance(outcome.error, DeadlineExceededError)
        if outcome.response is None
        else outcome.response.status in policy.statuses
    )
    if not passing:
        return Stop()
    if not repeatable:
        return Stop("not repeated, since it may have been carried out")
    if attempt >= policy.max_attempts:
        return Stop()
    wait = (outcome.response and outcome.response.retry_after) or 0.0
    if wait > policy.max_retry_after:
        return Stop(f"the server asks to wait {wait:.6g} s, longer than max_retry_after")
    # Jitter only lengthens what the server asks for: all who were refused would come back at once.
    delay = wait + policy.backoff(attempt, random)
    if remaining is not None and delay >= remaining:
        return Stop("the next attempt would be after the deadline")
    return Retry(delay)


class RetryBudgets:
    """What is left to spend on retries, of the client and of each organization (of those that spent any)."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._client = float(policy.budget)
        self._organizations: OrderedDict[Hashable, float] = OrderedDict()

    def spend(self, key: Hashable) -> bool:
        """Take one retry from both budgets, if both have one."""
        own = self._organizations.pop(key, float(self._policy.organization_budget))
        enough = own >= 1 and self._client >= 1
        if enough:
            self._client -= 1
            own -= 1
        self._organizations[key] = own
        if len(self._organizations) > _MAX_BUDGETS:
            self._organizations.popitem(last=False)
        return enough

    def earn(self, key: Hashable) -> None:
        """Note a success."""
        policy = self._policy
        if self._client < policy.budget:
            self._client = min(policy.budget, self._client + policy.budget_refill)
        if self._organizations and (own := self._organizations.pop(key, None)) is not None:
            own += policy.budget_refill
            if own < policy.organization_budget:
                self._organizations[key] = own
