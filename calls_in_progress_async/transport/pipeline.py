"""Pipeline: from one request to its final response. Admission, attempts, retries, and one deadline over all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from attrs import evolve, field, frozen

from .. import clock, validation
from ..attempt import Attempt
from ..cancellation import finish, is_own_cancellation
from ..errors import CallsInProgressError, ConnectionLostError, DeadlineExceededError, RequestTimeoutError
from ..instrumentation import Hooks, OperationInfo
from ..limits.limiter import RateLimiter
from ..limits.settings import RateLimit
from ..organization import Organization
from .admission import Admission, refuse_superseded
from .attempt_result import AttemptResult, AttemptTimeline
from .cancel_scopes import CancelScope
from .lifetime import Lifetime
from .operation import Operation
from .protocol import SendState, Transport
from .reports import Reports
from .retry import Retry, RetryBudgets, RetryPolicy, Stop, decide
from .retry_loop import repeat
from .tokens import Tokens
from .wire import WireRequest, WireResponse
from .write_order import WriteOrder

T = TypeVar("T")

_CLOSING_GRACE = 1.0
"""Seconds for connections to close after a cancellation."""


@frozen(kw_only=True)
class PipelineSettings:
    """Timeouts, retries and limits of a client."""

    timeout: float | None = field(default=30.0, validator=validation.number("seconds", above=True, optional=True))
    """Seconds for a whole call: three attempts and the waits between them."""
    attempt_timeout: float | None = field(
        default=10.0, validator=validation.number("seconds", above=True, optional=True)
    )
    """Seconds from the moment an attempt has a connection slot until its response is read."""
    max_connections: int = field(default=100, validator=validation.count())
    """Requests on the network at once: aiohttp's own default."""
    retry: RetryPolicy = field(factory=RetryPolicy, validator=validation.instance(RetryPolicy, "a RetryPolicy"))
    """The number, times and causes of retries."""
    rate_limit: RateLimit | None = field(
        default=None, validator=validation.instance(RateLimit, "a RateLimit or None", optional=True)
    )
    """Requests per second; None for no limit."""


class Pipeline:
    """Sends the requests of one client.

    Args:
        transport: Sends one attempt.
        tokens: The token of each organization.
        limiter: The rate limits.
        settings: Timeouts, retries and limits.
        base_url: The host, part of the key of a rate limit.
        hooks: The instrumentation; None if there is none.
    """

    def __init__(
        self,
        transport: Transport,
        tokens: Tokens,
        limiter: RateLimiter,
        settings: PipelineSettings,
        *,
        base_url: str,
        hooks: Hooks | None = None,
    ) -> None:
        self._transport = transport
        self._tokens = tokens
        self._limiter = limiter
        self._settings = settings
        self._base_url = base_url
        self._reports = Reports(hooks, base_url)
        self._budgets = RetryBudgets(settings.retry)
        self._admission = Admission(limiter, settings.max_connections)
        self._order = WriteOrder()
        self._lifetime = Lifetime()
        self._transport_closed = False

    @property
    def idle(self) -> bool:
        """True if no call is running."""
        return not self._lifetime.running

    def in_use(self) -> Mapping[str, int]:
        """Count the possessions of running calls, by name; all zero while the pipeline is idle."""
        return {
            "running": self._lifetime.running,
            "scopes": len(self._lifetime.scopes),
            **self._admission.in_use(),
            "write queues": len(self._order),
            "token questions": self._tokens.asking,
        }

    def execute(
        self,
        request: WireRequest,
        organization: Organization,
        timeout: float | None,
        read: Callable[[WireResponse, tuple[Attempt, ...]], T],
    ) -> Awaitable[T]:
        """Send a request, again if need be, and read its response.

        Args:
            request: The request.
            organization: Takes its token and its share of the rate limit.
            timeout: Seconds for everything, reading included; None for no deadline.
            read: Turns the response and the attempts into a result, or raises a `ResponseError`.

        Returns:
            The result of ``read``.

        Raises:
            CallsInProgressError: The call failed.
        """
        now = clock.reader()
        began = now()
        operation = Operation(request, organization, now, began, None if timeout is None else began + timeout)
        if self._reports.hooks is None:
            return self._run(operation, read)
        return self._run_observed(operation, read, self._reports.hooks)

    async def _run_observed(
        self, operation: Operation, read: Callable[[WireResponse, tuple[Attempt, ...]], T], hooks: Hooks
    ) -> T:
        info = operation.info = self._reports.operation_info(operation)
        with hooks.around("operation", info):
            try:
                return await self._run(operation, read)
            finally:
                info.attempts = tuple(operation.attempts)

    async def _run(self, operation: Operation, read: Callable[[WireResponse, tuple[Attempt, ...]], T]) -> T:
        self._lifetime.running += 1
        result: AttemptResult | None = None
        try:
            result = await (self._send_in_order if operation.request.ordering_keys else self._send)(operation)
            return self._read(operation, result, read)
        except CallsInProgressError as error:
            operation.annotate(error)
            result = None  # else a reference cycle: result, error, traceback, this frame
            raise
        except Exception as error:  # raised by a token callable
            if operation.may_have_been_applied:
                error.add_note("An earlier attempt of this update may have been applied.")
            raise
        finally:
            self._lifetime.leave()

    def _read(
        self, operation: Operation, result: AttemptResult, read: Callable[[WireResponse, tuple[Attempt, ...]], T]
    ) -> T:
        if result.error is not None:
            raise result.error
        assert result.response is not None  # noqa: S101 - for the type checker: there is an error or a response
        error = None
        try:
            value = read(result.response, tuple(operation.attempts))
        except CallsInProgressError as raised:
            error = raised
        # Raised out here, because the context of an exception is neither annotated nor redacted.
        if operation.is_late():
            raise DeadlineExceededError("Reading the response took longer than the call's deadline.")
        if error is not None:
            raise error
        return value

    async def _send_in_order(self, operation: Operation) -> AttemptResult:
        request = operation.request
        operation.ticket = self._order.take_ticket(request.ordering_keys, request.written_fields)
        try:
            return await self._send(operation)
        finally:
            operation.ticket.release()

    async def _send(self, operation: Operation) -> AttemptResult:
        result = await self._attempt(operation)
        if not result.succeeded:
            result = await self._recover(operation, result)
            if not result.succeeded:
                return result
        self._budgets.earn(operation.organization)
        return result

    async def _recover(self, operation: Operation, result: AttemptResult) -> AttemptResult:
        """Follow a failed first attempt by others, if they may help."""
        result = await self._refresh_token(operation, result)
        decision = self._decide(operation, result)
        if isinstance(decision, Stop):
            return result
        return await repeat(
            decision,
            partial(self._attempt_again, operation),
            partial(self._decide, operation),
            partial(self._pause, operation),
        )

    async def _attempt_again(self, operation: Operation) -> AttemptResult:
        operation.began = clock.now()
        return await self._refresh_token(operation, await self._attempt(operation))

    async def _refresh_token(self, operation: Operation, result: AttemptResult) -> AttemptResult:
        """Ask the token callable again after a 401, and follow the attempt by one with another token."""
        if result.status != 401:
            return result
        self._tokens.forget(operation.organization, operation.token)
        last = len(operation.attempts) >= self._settings.retry.max_attempts
        if last or operation.token_refreshed or self._tokens.static is not None:
            return result
        operation.token_refreshed = True
        if not await self._fetch_other_token(operation):
            return result
        self._reports.token_refresh(operation)
        return await self._attempt_again(operation)

    async def _fetch_other_token(self, operation: Operation) -> bool:
        began = clock.now()
        try:
            fetch = partial(self._tokens.get, operation.organization)
            return await self._lifetime.run(operation.deadline, fetch) != operation.token
        finally:
            operation.add_backoff(clock.now() - began)

    def _decide(self, operation: Operation, result: AttemptResult) -> Retry | Stop:
        policy = self._settings.retry
        decision = decide(
            policy,
            result,
            attempt=len(operation.attempts),
            repeatable=policy.may_repeat(operation.request, applied=operation.may_have_been_applied),
            remaining=None if operation.deadline is None else operation.deadline - clock.now(),
            jitter=clock.randomness.random(),
        )
        if isinstance(decision, Retry) and not self._budgets.spend(operation.organization):
            decision = Stop("the retry budget is spent")
            self._reports.retry_budget_spent(operation)
        if isinstance(decision, Stop):
            operation.stop_reason = decision.reason
        else:
            self._reports.retry(operation, decision.delay)
        return decision

    async def _pause(self, operation: Operation, delay: float) -> None:
        """Wait before the next attempt, unless newer writes supersede this one."""
        began, left = clock.now(), delay
        ticket = operation.ticket if operation.may_have_been_applied else None
        try:
            while True:
                refuse_superseded(operation)
                if await self._lifetime.run(operation.deadline, partial(_sleep, left), ticket):
                    return
                left = began + delay - clock.now()  # the newer write may have been cancelled meanwhile
        finally:
            operation.add_backoff(clock.now() - began)

    async def _attempt(self, operation: Operation) -> AttemptResult:
        """Put one request on the wire, at most, and note the result and where the time went."""
        timeline, state = AttemptTimeline(operation.began, operation.began), SendState()
        operation.has_attempt_timeout = False
        response: WireResponse | None = None
        error: CallsInProgressError | None = None
        scope = self._lifetime.open_scope(operation.deadline)
        try:
            with scope:
                response = await self._exchange(operation, timeline, state, scope)
        except CallsInProgressError as raised:
            error = raised.with_traceback(None)
        except TimeoutError:
            if not scope.cancelled_caught:
                raise  # of a token callable
            error = self._interruption(operation, scope)
        finally:
            self._lifetime.scopes.discard(scope)
        timeline.ended = operation.now()
        sent = timeline.started is not None and state.may_have_been_sent
        result = AttemptResult(timeline, response, error, sent)
        self._record(operation, result)
        return result

    async def _exchange(
        self, operation: Operation, timeline: AttemptTimeline, state: SendState, scope: CancelScope
    ) -> WireResponse:
        """Wait for token, rate limit and slot, then send. ``attempt_timeout`` begins with the sending."""
        if self._tokens.static is None or operation.ticket is not None:
            await self._get_ready(operation, timeline)
        else:
            operation.token = self._tokens.static
        limit_key = self._base_url, operation.token
        if operation.ticket is None and self._admission.try_acquire(limit_key, operation.organization):
            timeline.admitted = timeline.ready
        else:
            await self._admission.acquire(limit_key, operation, timeline)
        try:
            if timeline.admitted != timeline.ready:
                self._reports.rate_limit_wait(operation, (timeline.admitted or 0.0) - (timeline.ready or 0.0))
            timeline.started = operation.now()
            self._start_attempt_timeout(operation, timeline.started, scope)
            if operation.info is not None:
                return await self._send_observed(operation, operation.info, state, scope)
            return await self._transport.send(operation.request, operation.token, state)
        except (CallsInProgressError, asyncio.CancelledError) as error:
            if isinstance(error, CallsInProgressError) or is_own_cancellation():
                raise
            failure = "it was cancelled from within"
        except Exception as error:
            failure = type(error).__name__
        finally:
            self._admission.release()
        # Raised out here, because the frames of a stranger's exception hold the token.
        raise ConnectionLostError(f"The transport failed: {failure}.")

    async def _get_ready(self, operation: Operation, timeline: AttemptTimeline) -> None:
        """Wait for earlier writes of the same thing, and for the token callable."""
        timeline.ready = None
        if operation.ticket is not None:
            await operation.ticket.acquire()
        operation.token = await self._tokens.get(operation.organization)
        timeline.ready = clock.now()

    def _start_attempt_timeout(self, operation: Operation, now: float, scope: CancelScope) -> None:
        seconds, deadline = self._settings.attempt_timeout, operation.deadline
        operation.has_attempt_timeout = seconds is not None and (deadline is None or now + seconds < deadline)
        if operation.has_attempt_timeout and seconds is not None:
            self._lifetime.scopes.reschedule(scope, now + seconds)

    async def _send_observed(
        self, operation: Operation, info: OperationInfo, state: SendState, scope: CancelScope
    ) -> WireResponse:
        hooks = self._reports.hooks
        assert hooks is not None  # noqa: S101 - for the type checker: without hooks there is no info
        attempt = self._reports.attempt_info(operation, info)
        with hooks.around("attempt", attempt):
            request = evolve(operation.request, headers={**operation.request.headers, **attempt.headers})
            try:
                response = await self._transport.send(request, operation.token, state)
            except BaseException as error:
                attempt.error = self._error_name(operation, error, scope)
                failure: BaseException = error
            else:
                attempt.status = response.status
                return response
        raise failure

    def _error_name(self, operation: Operation, error: BaseException, scope: CancelScope) -> str | None:
        """Return the class name that `Attempt.error` will have; None if the caller was cancelled."""
        if scope.cancelled_caught:
            error = self._interruption(operation, scope)
        elif isinstance(error, asyncio.CancelledError):
            return None
        return type(error if isinstance(error, CallsInProgressError) else ConnectionLostError()).__name__

    def _interruption(self, operation: Operation, scope: CancelScope) -> CallsInProgressError:
        """Explain why the scope of an attempt was cancelled."""
        at_deadline = scope.expired and (not operation.has_attempt_timeout or operation.is_late())
        return self._lifetime.interruption(at_deadline) or RequestTimeoutError(
            f"No response within attempt_timeout ({self._settings.attempt_timeout:g} s)."
        )

    def _record(self, operation: Operation, result: AttemptResult) -> None:
        """Let the limiter and the operation learn from an attempt."""
        response = result.response
        if response is not None:
            throttled = response.throttled
            wait = response.retry_after if throttled else None
            self._limiter.on_response(
                (self._base_url, operation.token),
                operation.organization,
                throttled=throttled,
                retry_after=None if wait is None else min(wait, self._settings.retry.max_retry_after),
                sent_at=result.timeline.admitted or 0.0,
            )
            if throttled:
                self._reports.throttled(operation, result)
        if operation.request.method != "GET" and result.may_have_been_applied:
            operation.may_have_been_applied = True
        operation.attempts.append(result.attempt())

    async def run_until_closed(self, work: Callable[[], Awaitable[object]], timeout: float | None) -> float | None:
        """Run ``work`` under a deadline; cancel it if the client closes.

        Args:
            work: Anything that comes before a request, or between two.
            timeout: Seconds for all of it; None for no deadline.

        Returns:
            The seconds that are left; None for no deadline.
        """
        deadline = None if timeout is None else clock.now() + timeout
        await self._lifetime.run(deadline, work)
        return None if deadline is None else deadline - clock.now()

    def reset(self) -> None:
        """Forget the closed event loop, before another one. No call may be running."""
        self._lifetime.reset()
        self._admission.reset()

    async def close(self, drain: float | None) -> None:
        """End all running calls, at once or after ``drain`` seconds to end by themselves. Idempotent."""
        try:
            if drain is not None:
                await self._lifetime.drain(drain)
        finally:
            self._admission.close()
            self._lifetime.end()
            await finish(self._close_transport(), _CLOSING_GRACE)

    async def _close_transport(self) -> None:
        try:
            await self._lifetime.wait_until_idle()
            self._lifetime.end()  # once more, because an ending call may have set the timer
        finally:
            if not self._transport_closed:
                self._transport_closed = True
                await self._transport.close()


async def _sleep(seconds: float) -> bool:
    """Sleep to the end, and return True; a sleep that newer writes have ended returns nothing."""
    await asyncio.sleep(seconds)
    return True
