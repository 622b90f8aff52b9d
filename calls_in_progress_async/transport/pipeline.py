"""Pipeline: from one request to its final response. Order of writes, attempts, recovery, and one deadline over all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar, cast

from attrs import field, frozen

from .. import clock, validation
from ..attempt import Attempt
from ..cancellation import finish
from ..errors import CallsInProgressError, DeadlineExceededError
from ..instrumentation import ClientLevels, Hooks
from ..limits.limiter import RateLimiter
from ..limits.settings import RateLimit
from ..organization import Organization
from ..slow_reading import SlowReadingError
from .admission import Admission
from .attempt_result import AttemptResult
from .attempts import Attempts
from .lifetime import Lifetime
from .operation import Operation
from .protocol import Transport
from .reader_threads import ReaderThreads
from .recovery import Recovery
from .reports import Reports
from .retry import RetryBudgets, RetryPolicy
from .tokens import Tokens
from .wire import WireRequest, WireResponse
from .write_order import WriteOrder

T = TypeVar("T")

_CLOSING_GRACE = 1.0
"""Seconds for connections to close after a cancellation."""


@frozen(kw_only=True, eq=False, repr=False)
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
        self._settings = settings
        self._reports = Reports(hooks, base_url)
        self._budgets = RetryBudgets(settings.retry)
        self._admission = Admission(limiter, settings.max_connections)
        self._order = WriteOrder()
        self._lifetime = Lifetime()
        self._attempts = Attempts(
            transport,
            tokens,
            limiter,
            admission=self._admission,
            lifetime=self._lifetime,
            reports=self._reports,
            base_url=base_url,
            timeout=settings.attempt_timeout,
            max_pause=settings.retry.max_retry_after,
        )
        self._readers = ReaderThreads()
        self._recovery = Recovery(
            self._attempts, tokens, settings.retry, self._budgets, lifetime=self._lifetime, reports=self._reports
        )
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

    def levels(self) -> ClientLevels | None:
        """Return the numbers for a gauge, from any thread; None after the end."""
        return None if self._transport_closed else ClientLevels(retry_budget=self._budgets.left)

    def execute(
        self,
        request: WireRequest,
        organization: Organization,
        timeout: float | None,
        read: Callable[[WireResponse, tuple[Attempt, ...]], T],
        note_setback: Callable[[CallsInProgressError | None], None] | None = None,
    ) -> Awaitable[T]:
        """Send a request, again if need be, and read its response.

        Args:
            request: The request.
            organization: Takes its token and its share of the rate limit.
            timeout: Seconds for everything, reading included; None for no deadline.
            read: Turns the response and the attempts into a result, or raises a `ResponseError`.
            note_setback: Called with the error of each attempt that another is to follow.

        Returns:
            The result of ``read``.

        Raises:
            CallsInProgressError: The call failed.
        """
        now = clock.reader()
        began = now()
        operation = Operation(request, organization, now, began, None if timeout is None else began + timeout)
        if note_setback is not None:
            operation.on_setback = lambda result: note_setback(_setback(operation, result, read))
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
            return await self._read(operation, result, read)
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

    async def _read(
        self, operation: Operation, result: AttemptResult, read: Callable[[WireResponse, tuple[Attempt, ...]], T]
    ) -> T:
        if result.error is not None:
            raise result.error
        assert result.response is not None  # noqa: S101 - for the type checker: there is an error or a response
        work = partial(read, result.response, tuple(operation.attempts))
        error = slow_reading = None
        try:
            try:
                value = work()
            except SlowReadingError:  # the event loop would be held
                slow_reading = self._lifetime.run(operation.deadline, partial(self._readers.run, work))
            if slow_reading is not None:
                value = cast(T, await slow_reading)
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
        result = await self._attempts.make(operation)
        if not result.succeeded:
            result = await self._recovery.recover(operation, result)
            if not result.succeeded:
                return result
        self._budgets.earn(operation.organization)
        return result

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
            self._readers.close()
            if not self._transport_closed:
                self._transport_closed = True
                await self._transport.close()


def _setback(
    operation: Operation, result: AttemptResult, read: Callable[[WireResponse, tuple[Attempt, ...]], object]
) -> CallsInProgressError | None:
    """Make the error of an attempt as if no other would follow; None if there is none to read from its response."""
    error = result.error
    if result.response is not None:
        try:
            read(result.response, tuple(operation.attempts))
        except CallsInProgressError as raised:
            error = raised
    if error is not None:
        operation.annotate(error)
    return error
