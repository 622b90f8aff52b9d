"""The retry loop, run by tenacity once a retry is decided on. Other calls never come here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, stop_never

from .attempt_result import AttemptResult
from .retry import Retry, Stop


async def repeat(
    first: Retry,
    attempt: Callable[[], Awaitable[AttemptResult]],
    decide: Callable[[AttemptResult], Retry | Stop],
    pause: Callable[[float], Awaitable[None]],
) -> AttemptResult:
    """Make further attempts until ``decide`` returns a Stop.

    Args:
        first: The decision after the first attempt.
        attempt: Makes one attempt.
        decide: Decides about another attempt.
        pause: Waits some seconds.

    Returns:
        The result of the last attempt.
    """
    decision: Retry | Stop = first

    def is_retried(state: RetryCallState) -> bool:
        nonlocal decision
        if state.outcome is None or state.outcome.failed:
            return False
        decision = decide(state.outcome.result())
        return isinstance(decision, Retry)

    def delay(_: RetryCallState) -> float:
        return decision.delay if isinstance(decision, Retry) else 0.0

    await pause(first.delay)
    return await AsyncRetrying(retry=is_retried, wait=delay, stop=stop_never, sleep=pause)(attempt)
