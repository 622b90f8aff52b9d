"""Reports: tells logs and hooks about retries, waits, throttling and token refreshes."""

from __future__ import annotations

from ..instrumentation import AttemptInfo, Hooks, OperationInfo, logger, redact_url
from .attempt_result import AttemptResult
from .operation import Operation

_LOGGED_WAIT = 1.0
"""Seconds; shorter waits for the rate limit are not logged."""


class Reports:
    """Tells logs and hooks about operations. While all is well, nothing is logged.

    Args:
        hooks: The hooks of the client; None if it has none.
        base_url: The host of all requests.
    """

    def __init__(self, hooks: Hooks | None, base_url: str) -> None:
        self.hooks = hooks
        self._base_url = base_url

    def operation_info(self, operation: Operation) -> OperationInfo:
        """Make the view of an operation for hooks."""
        request, deadline = operation.request, operation.deadline
        timeout = None if deadline is None else deadline - operation.began
        return OperationInfo(
            name=_name(operation),
            method=request.method,
            organization=operation.organization,
            timeout=timeout,
            shared=request.shared,
            joined=request.joined,
        )

    def attempt_info(self, operation: Operation, info: OperationInfo) -> AttemptInfo:
        """Make the view of an operation's next attempt for hooks."""
        url = redact_url(self._base_url, operation.request.target)
        return AttemptInfo(operation=info, number=len(operation.attempts) + 1, url=url)

    def retry(self, operation: Operation, delay: float) -> None:
        """Report another attempt in ``delay`` seconds."""
        last, number = operation.attempts[-1], len(operation.attempts)
        cause = last.error or f"HTTP {last.status}"
        facts = {"attempt": number, "delay": delay, "status": last.status, "error": last.error}
        logger.info(
            "Retrying %s in %.3g s: attempt %d ended with %s",
            *(_name(operation), delay, number, cause),
            extra=_facts(operation, **facts),
        )
        self._notify("on_retry", operation, last, delay)

    def rate_limit_wait(self, operation: Operation, seconds: float) -> None:
        """Report a wait for the rate limit."""
        if seconds > _LOGGED_WAIT:
            facts = _facts(operation, delay=seconds)
            logger.info("Waited %.3g s for the rate limit before %s", seconds, _name(operation), extra=facts)
        self._notify("on_rate_limit_wait", operation, seconds)

    def throttled(self, operation: Operation, result: AttemptResult) -> None:
        """Report a request of the server to slow down."""
        retry_after = None if result.response is None else result.response.retry_after
        logger.warning(
            "Throttled: HTTP %s for %s, Retry-After %s",
            *(result.status, _name(operation), "absent" if retry_after is None else f"{retry_after:.6g} s"),
            extra=_facts(operation, status=result.status, retry_after=retry_after),
        )
        self._notify("on_throttled", operation, retry_after)

    def retry_budget_spent(self, operation: Operation) -> None:
        """Report a failed attempt without another one, because the retry budget is spent."""
        last = operation.attempts[-1]
        logger.warning(
            "No retry of %s: the retry budget is spent",
            _name(operation),
            extra=_facts(operation, attempt=len(operation.attempts), status=last.status, error=last.error),
        )
        self._notify("on_retry_budget_spent", operation)

    def token_refresh(self, operation: Operation) -> None:
        """Report another token of the token callable, after a 401."""
        logger.info("The token was rejected and has been refreshed", extra=_facts(operation, status=401))
        self._notify("on_token_refresh", operation)

    def _notify(self, method: str, operation: Operation, *arguments: object) -> None:
        if self.hooks is not None:
            self.hooks.notify(method, operation.info, *arguments)


def _name(operation: Operation) -> str:
    return operation.request.operation or "request"


def _facts(operation: Operation, **facts: object) -> dict[str, object]:
    return {"operation": _name(operation), "organization": str(operation.organization), **facts}
