"""Attempts: each waits for a token, the rate limit and a slot, then puts one request on the wire."""

from __future__ import annotations

import asyncio

from attrs import evolve

from ..cancellation import is_own_cancellation
from ..errors import CallsInProgressError, ConnectionLostError, RequestTimeoutError
from ..instrumentation import OperationInfo
from ..limits.limiter import RateLimiter
from .admission import Admission
from .attempt_result import AttemptResult, AttemptTimeline
from .cancel_scopes import CancelScope
from .lifetime import Lifetime
from .operation import Operation
from .protocol import SendState, Transport
from .reports import Reports
from .tokens import Tokens
from .wire import WireResponse


class Attempts:
    """Makes the attempts of one client.

    Args:
        transport: Sends one request.
        tokens: The token of each organization.
        limiter: The rate limits; learns from each response.
        admission: Lets attempts through.
        lifetime: Gives each attempt a cancel scope.
        reports: Tells logs and hooks.
        base_url: The host, part of the key of a rate limit.
        timeout: Seconds from the connection slot until the response is read; None for no timeout.
        max_pause: Maximum seconds of a pause after a throttled response.
    """

    def __init__(
        self,
        transport: Transport,
        tokens: Tokens,
        limiter: RateLimiter,
        *,
        admission: Admission,
        lifetime: Lifetime,
        reports: Reports,
        base_url: str,
        timeout: float | None,
        max_pause: float,
    ) -> None:
        self._transport = transport
        self._tokens = tokens
        self._limiter = limiter
        self._admission = admission
        self._lifetime = lifetime
        self._reports = reports
        self._base_url = base_url
        self._timeout = timeout
        self._max_pause = max_pause

    async def make(self, operation: Operation) -> AttemptResult:
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
        timeline.ready = operation.now()

    def _start_attempt_timeout(self, operation: Operation, now: float, scope: CancelScope) -> None:
        seconds, deadline = self._timeout, operation.deadline
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
            f"No response within attempt_timeout ({self._timeout:g} s)."
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
                retry_after=None if wait is None else min(wait, self._max_pause),
                sent_at=result.timeline.admitted or 0.0,
            )
            if throttled:
                self._reports.throttled(operation, result)
        if operation.request.method != "GET" and result.may_have_been_applied:
            operation.may_have_been_applied = True
        operation.attempts.append(result.attempt())
