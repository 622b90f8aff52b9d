"""Recovery: from a failed first attempt to the last one. A fresh token after a 401, retries, and waits before them."""

from __future__ import annotations

import asyncio
from functools import partial

from .. import clock
from .attempt_result import AttemptResult
from .attempts import Attempts
from .lifetime import Lifetime
from .operation import Operation
from .reports import Reports
from .retry import Retry, RetryBudgets, RetryPolicy, Stop, decide
from .tokens import Tokens


class Recovery:
    """Makes the further attempts of one client.

    Args:
        attempts: Makes one attempt.
        tokens: The token of each organization.
        policy: The number, times and causes of retries.
        budgets: The retries that each organization may still make.
        lifetime: Ends each wait at the deadline, or when the client closes.
        reports: Tells logs and hooks.
    """

    def __init__(
        self,
        attempts: Attempts,
        tokens: Tokens,
        policy: RetryPolicy,
        budgets: RetryBudgets,
        *,
        lifetime: Lifetime,
        reports: Reports,
    ) -> None:
        self._attempts = attempts
        self._tokens = tokens
        self._policy = policy
        self._budgets = budgets
        self._lifetime = lifetime
        self._reports = reports

    async def recover(self, operation: Operation, result: AttemptResult) -> AttemptResult:
        """Follow a failed first attempt by others, if they may help. Return the result of the last one."""
        result = await self._refresh_token(operation, result)
        decision = self._decide(operation, result)
        if isinstance(decision, Stop):
            return result
        from .retry_loop import repeat  # noqa: PLC0415 - tenacity is imported for the first retry

        return await repeat(
            decision,
            partial(self._attempt_again, operation),
            partial(self._decide, operation),
            partial(self._pause, operation),
        )

    async def _attempt_again(self, operation: Operation) -> AttemptResult:
        operation.began = clock.now()
        return await self._refresh_token(operation, await self._attempts.make(operation))

    async def _refresh_token(self, operation: Operation, result: AttemptResult) -> AttemptResult:
        """Ask the token callable again after a 401, and follow the attempt by one with another token.

        That attempt is no retry: the same request with the same token would be rejected again. So one follows the last
        of ``max_attempts`` too.
        """
        if result.status != 401:
            return result
        self._tokens.forget(operation.organization, operation.token)
        if operation.token_refreshed or self._tokens.static is not None:
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
        decision = decide(
            self._policy,
            result,
            attempt=len(operation.attempts),
            repeatable=self._policy.may_repeat(operation.request, applied=operation.may_have_been_applied),
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
            if operation.on_setback is not None:
                operation.on_setback(result)
        return decision

    async def _pause(self, operation: Operation, delay: float) -> None:
        """Wait before the next attempt, unless newer writes supersede this one."""
        began, left = clock.now(), delay
        ticket = operation.ticket if operation.may_have_been_applied else None
        try:
            while True:
                operation.raise_if_superseded()
                if await self._lifetime.run(operation.deadline, partial(_sleep, left), ticket):
                    return
                left = began + delay - clock.now()  # the newer write may have been cancelled meanwhile
        finally:
            operation.add_backoff(clock.now() - began)


async def _sleep(seconds: float) -> bool:
    """Sleep to the end, and return True; a sleep that newer writes have ended returns nothing."""
    await asyncio.sleep(seconds)
    return True
