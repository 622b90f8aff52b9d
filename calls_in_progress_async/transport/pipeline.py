"""From one request to its final answer: rate limit, connections, attempts, waits between them, one deadline over all.

Every attempt and every wait runs in a scope (see `scopes`), which the deadline, ``attempt_timeout``, `Pipeline.close`
and a newer write end.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from attrs import define, field, frozen

from .. import validation
from ..attempt import Attempt
from ..errors import (
    CallsInProgressError,
    ClientClosedError,
    DeadlineExceededError,
    RequestTimeoutError,
    SupersededError,
)
from ..limits.limiter import RateLimiter
from ..limits.settings import RateLimit
from ..organization import Organization
from .cancel_scopes import CancelScope, CancelScopes
from .operation import Operation
from .protocol import SendState, Transport
from .retry import Outcome, Retry, RetryBudgets, RetryPolicy, Stop, decide
from .tokens import Tokens
from .wire import WireRequest, WireResponse
from .write_order import WriteOrder, WriteTicket

T = TypeVar("T")

_TIMER_ACCURACY = 0.005
"""Seconds by which a timer of asyncio or uvloop may be early, amply."""


@frozen(kw_only=True)
class PipelineSettings:
    """How long and how many at once."""

    timeout: float | None = field(default=30.0, validator=validation.number("seconds", above=True, optional=True))
    """Seconds for a whole call: three attempts and their waits."""
    attempt_timeout: float | None = field(
        default=10.0, validator=validation.number("seconds", above=True, optional=True)
    )
    """Seconds from the moment an attempt has a connection slot until its answer is read."""
    max_connections: int = field(default=100, validator=validation.count())
    """Requests on the network at once: aiohttp's own default."""
    retry: RetryPolicy = field(factory=RetryPolicy, validator=validation.instance(RetryPolicy, "a RetryPolicy"))
    """When to try again."""
    rate_limit: RateLimit | None = field(
        default=None, validator=validation.instance(RateLimit, "a RateLimit or None", optional=True)
    )
    """How many requests to send; None for as many as there are."""


@define(eq=False)
class Pipeline:
    """The way of all requests of a client to its transport."""

    _transport: Transport
    _tokens: Tokens
    _limiter: RateLimiter
    _settings: PipelineSettings
    _host: str = field(kw_only=True)
    """The host whose limits are meant."""
    _clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    """Seconds, monotonic."""
    _sleep: Callable[[float, bool], Awaitable[bool]] = field(default=asyncio.sleep, kw_only=True)
    _randomness: Callable[[], float] = field(default=random.random, kw_only=True)
    """Numbers from 0 to 1, for the jitter."""
    _budgets: RetryBudgets = field(init=False)
    _slots: asyncio.Semaphore = field(init=False)
    _turns: WriteOrder = field(factory=WriteOrder, init=False)
    _scopes: CancelScopes = field(factory=CancelScopes, init=False)
    _running: int = field(default=0, init=False)
    _idle: asyncio.Future[None] | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._budgets = RetryBudgets(self._settings.retry)
        self._slots = asyncio.Semaphore(self._settings.max_connections)

    async def execute(
        self,
        request: WireRequest,
        organization: Organization,
        timeout: float | None,
        read: Callable[[WireResponse, tuple[Attempt, ...]], T],
    ) -> T:
        """Send a request until it has an answer that will not get better.

        Args:
            request: What to send.
            organization: Whose token and whose share of the rate limit it takes.
            timeout: Seconds for all of it; None for no deadline.
            read: Turns the response and the attempts that it took into a result, or raises a `ResponseError`.

        Returns:
            The result of ``read``.

        Raises:
            CallsInProgressError: There was no answer.
        """
        now = self._clock()
        job = Operation(
            request, organization, now, None if timeout is None else now + timeout, self._tokens.static is None
        )
        self._running += 1
        try:
            outcome = await (self._in_turn(job) if request.ordering_keys else self._deliver(job))
        except CallsInProgressError as error:
            job.annotate(error)
            raise
        except Exception as error:  # of a token callable
            if job.applied:
                error.add_note("An earlier attempt of this update may have been applied.")
            raise
        finally:
            self._running -= 1
            if self._idle is not None and not self._running:
                self._idle.set_result(None)
                self._idle = None
        if outcome.error is not None:
            raise job.annotate(outcome.error)
        assert outcome.response is not None  # noqa: S101 - for the type checker: it has one or the other
        try:
            return read(outcome.response, tuple(job.attempts))
        except CallsInProgressError as error:
            job.annotate(error)
            raise

    async def _in_turn(self, job: Operation) -> Outcome:
        job.turn = self._turns.take(job.request.ordering_keys)
        try:
            return await self._deliver(job)
        finally:
            job.turn.leave()

    async def _deliver(self, job: Operation) -> Outcome:
        outcome = await self._attempt(job)
        if outcome.response is None or outcome.response.status >= 400:
            from .retry_loop import repeat  # noqa: PLC0415 - tenacity takes milliseconds to import

            outcome = await repeat(
                outcome, partial(self._attempt_again, job), partial(self._decide, job), partial(self._pause, job)
            )
        if outcome.response is not None and outcome.response.status < 400:
            self._budgets.earn(job.organization)
        return outcome

    def _decide(self, job: Operation, outcome: Outcome, number: int) -> Retry | Stop:
        """Decide what follows an attempt, refreshed tokens and budgets included."""
        refused = outcome.response is not None and outcome.response.status == 401
        if refused:
            self._tokens.forget(job.organization, job.token)
        policy, left, random = self._settings.retry, self._remaining(job.ends), self._randomness
        if refused and job.refreshable and number < policy.max_attempts:
            job.refused, job.refreshable = outcome, False
            return Retry(0.0)
        repeatable = policy.may_repeat(job.request, applied=job.applied)
        verdict = decide(policy, outcome, attempt=number, repeatable=repeatable, remaining=left, random=random)
        if isinstance(verdict, Retry) and not self._budgets.spend(job.organization):
            verdict = Stop("the retry budget is spent")
        if isinstance(verdict, Stop):
            job.stopped = verdict.reason
        return verdict

    async def _pause(self, job: Operation, delay: float) -> None:
        """Wait before the next attempt, unless a newer write of the same thing makes it needless and harmful."""
        began, left, turn = self._clock(), delay, job.turn if job.applied else None
        try:
            self._refuse_superseded(job)
            while not await self._until(job.ends, partial(self._sleep, left, True), turn):
                self._refuse_superseded(job)  # unless the newer one was cancelled meanwhile
                left = began + delay - self._clock()
            if job.refused is not None:
                job.renewed = await self._until(job.ends, partial(self._tokens.get, job.organization))
        finally:
            job.attempts[-1] = job.attempts[-1]._replace(backoff=self._clock() - began)

    def _refuse_superseded(self, job: Operation) -> None:
        if job.superseded:
            raise SupersededError("A newer update of the same call is waiting; this one may have been applied.")

    async def _attempt_again(self, job: Operation) -> Outcome:
        if (refused := job.refused) is not None:
            job.refused = None
            if job.renewed == job.token:
                return refused  # there is no other
        job.began = self._clock()
        return await self._attempt(job)

    async def _attempt(self, job: Operation) -> Outcome:
        """Put one request on the wire, at most, and note what came of it and where the time went."""
        outcome = Outcome(began=job.began)
        scope = self._open_scope(job.ends)
        try:
            with scope:
                await self._send(job, outcome, scope)
        except CallsInProgressError as error:
            outcome.error = error
        except TimeoutError:
            if not scope.ended:
                raise  # of a token callable
            outcome.error = self._interruption(job.ends) or RequestTimeoutError(
                f"No answer within attempt_timeout ({self._settings.attempt_timeout:g} s)."
            )
        finally:
            self._scopes.discard(scope)
        outcome.ended = self._clock()
        self._take_note(job, outcome)
        return outcome

    async def _send(self, job: Operation, outcome: Outcome, scope: CancelScope) -> None:
        """Wait for a turn in the limiter, then for a connection slot, and send: then ``attempt_timeout`` begins."""
        token = self._tokens.static
        if token is None or job.turn is not None:
            outcome.ready = math.inf
            if job.turn is not None:
                await job.turn.come()
            token = token or await self._tokens.get(job.organization)
            outcome.ready = self._clock()
        job.token = token
        await self._admit(job, outcome, (self._host, token))
        try:
            outcome.started = self._clock()
            self._scopes.move(scope, self._allowance(job, outcome.started))
            outcome.state = SendState()
            outcome.response = await self._transport.send(job.request, token, outcome.state)
        finally:
            self._slots.release()

    async def _admit(self, job: Operation, outcome: Outcome, limit: tuple[str, str]) -> None:
        """Wait for a turn in the limiter, then for a connection slot; again if the server wanted a pause meanwhile."""
        while True:
            if not self._limiter.try_acquire(limit, job.organization):
                await self._limiter.acquire(limit, job.organization)
                outcome.admitted = self._clock()
            queued = self._slots.locked()
            slot: Awaitable[object] = self._slots.acquire()
            if queued:
                outcome.admitted = outcome.admitted or self._clock()
                slot = self._limiter.reserve(limit, job.organization, slot)
            try:
                await slot
            except BaseException:
                self._limiter.give_back(limit, job.organization)
                raise
            if not (job.superseded or (queued and self._limiter.is_paused(limit, job.organization))):
                return
            self._slots.release()
            self._limiter.give_back(limit, job.organization)
            self._refuse_superseded(job)

    def _take_note(self, job: Operation, outcome: Outcome) -> None:
        status = None
        if outcome.response is not None:
            status = outcome.response.status
            limit, sent = (self._host, job.token), outcome.admitted or outcome.started
            wanted, longest = outcome.response.retry_after, self._settings.retry.max_retry_after
            self._limiter.on_response(
                limit,
                job.organization,
                throttled=outcome.throttled,
                retry_after=None if wanted is None else min(wanted, longest),
                sent_at=sent,
            )
        if job.request.method != "GET":
            job.applied = job.applied or outcome.may_have_been_applied
        job.attempts.append(outcome.attempt(status))

    def _open_scope(self, ends: float | None) -> CancelScope:
        if self._ended:
            raise ClientClosedError("The client was closed.")
        scope = CancelScope()
        self._scopes.move(scope, self._remaining(ends))
        return scope

    async def prepare(self, work: Callable[[], Awaitable[object]], timeout: float | None) -> float | None:
        """Wait for what comes before a request, or between two; closing ends it as it ends requests.

        Args:
            work: What to wait for.
            timeout: Seconds for all of it; None for no deadline.

        Returns:
            What is left of the deadline.
        """
        ends = None if timeout is None else self._clock() + timeout
        await self._until(ends, work)
        return self._remaining(ends)

    async def _until(
        self, ends: float | None, work: Callable[[], Awaitable[T]], turn: WriteTicket | None = None
    ) -> T | None:
        """Wait for something other than an attempt; a newer ``turn`` ends the wait, and None is the answer."""
        scope = self._open_scope(ends)
        if turn is not None:
            turn.on_newer = scope.end
        try:
            with scope:
                return await work()
        except TimeoutError:
            if not scope.ended:
                raise
            if (interruption := self._interruption(ends)) is None:
                return None
        finally:
            self._scopes.discard(scope)
        raise interruption

    def _remaining(self, ends: float | None) -> float | None:
        return None if ends is None else ends - self._clock()

    def _allowance(self, job: Operation, now: float) -> float | None:
        """What an attempt may take: its own timeout or what remains, whichever is less."""
        own, ends = self._settings.attempt_timeout, job.ends
        if ends is None:
            return own
        return ends - now if own is None or ends - now < own else own

    def _interruption(self, ends: float | None) -> CallsInProgressError | None:
        """Why a scope ended, if not for a reason of its own."""
        remaining = self._remaining(ends)
        if self._ended:
            return ClientClosedError("The client was closed while the call was running.")
        if remaining is not None and remaining < _TIMER_ACCURACY:
            return DeadlineExceededError("The call took longer than its deadline.")
        return None

    async def close(self, drain: float | None) -> None:
        """End what is running, at once or after it had ``drain`` seconds to end by itself. Idempotent."""
        if drain is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(drain):
                    await self._until_idle()
        self._ended = True
        self._limiter.close(lambda: ClientClosedError("The client was closed while the call was running."))
        self._scopes.end_all()
        await self._until_idle()
        self._scopes.end_all()  # the timer, if one that was ending set it once more
        await self._transport.close()

    async def _until_idle(self) -> None:
        if self._running:
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)
