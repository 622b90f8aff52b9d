"""The retry loop: the one door to tenacity.

It is entered only when a first attempt has failed, so that one that succeeds does not pay for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, stop_never

from .retry import Outcome, Retry, Stop


async def repeat(
    first: Outcome,
    attempt: Callable[[], Awaitable[Outcome]],
    decide: Callable[[Outcome, int], Retry | Stop],
    sleep: Callable[[float], Awaitable[None]],
) -> Outcome:
    """Try again until ``decide`` says to stop.

    Args:
        first: What the first attempt came to.
        attempt: Makes one more.
        decide: Says what follows an outcome and the number of its attempt.
        sleep: Waits for some seconds.

    Returns:
        The last outcome.
    """
    outcomes = [first]
    delay = 0.0

    async def next_outcome() -> Outcome:
        return outcomes.pop() if outcomes else await attempt()

    def again(state: RetryCallState) -> bool:
        nonlocal delay
        if state.outcome is None or state.outcome.failed:
            return False
        verdict = decide(state.outcome.result(), state.attempt_number)
        delay = verdict.delay if isinstance(verdict, Retry) else 0.0
        return isinstance(verdict, Retry)

    retrying = AsyncRetrying(retry=again, wait=lambda _: delay, stop=stop_never, sleep=sleep)
    return await retrying(next_outcome)
