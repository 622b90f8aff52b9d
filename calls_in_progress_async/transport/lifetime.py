"""Lifetime: the running calls of a client, their deadlines, and how all of them end when the client closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from ..errors import CallsInProgressError, ClientClosedError, DeadlineExceededError
from .cancel_scopes import CancelScope, CancelScopes
from .write_order import WriteTicket

T = TypeVar("T")


class Lifetime:
    """Counts the running calls, and gives each attempt and each wait a cancel scope."""

    def __init__(self) -> None:
        self.running: int = 0
        """Number of running calls."""
        self.closed: bool = False
        """True once `end` was called."""
        self.scopes: CancelScopes = CancelScopes()
        self._idle: asyncio.Future[None] | None = None

    def leave(self) -> None:
        """Note that a running call has ended."""
        self.running -= 1
        if self._idle is not None and not self.running:
            self._idle.set_result(None)
            self._idle = None

    def open_scope(self, deadline: float | None) -> CancelScope:
        """Make a cancel scope that expires at the deadline. Discard it from `scopes` in the end.

        Raises:
            ClientClosedError: The client was closed.
        """
        if self.closed:
            raise ClientClosedError("The client was closed.")
        scope = CancelScope()
        self.scopes.reschedule(scope, deadline)
        return scope

    def interruption(self, at_deadline: bool) -> CallsInProgressError | None:
        """Explain why a scope was cancelled; None if neither closing nor the deadline is the reason."""
        if self.closed:
            return ClientClosedError("The client was closed while the call was running.")
        return DeadlineExceededError("The call took longer than its deadline.") if at_deadline else None

    async def run(
        self, deadline: float | None, work: Callable[[], Awaitable[T]], ticket: WriteTicket | None = None
    ) -> T | None:
        """Run ``work`` under a deadline; cancel it if the client closes.

        Args:
            deadline: The loop's time; None for no deadline.
            work: Does anything but an attempt.
            ticket: If given, newer writes that supersede its write end the work too.

        Returns:
            The result of ``work``; None if newer writes have ended it.
        """
        scope = self.open_scope(deadline)
        if ticket is not None:
            ticket.on_superseded = scope.cancel
        try:
            with scope:
                return await work()
        except TimeoutError:
            if not scope.cancelled_caught:
                raise
        finally:
            self.scopes.discard(scope)
        if (interruption := self.interruption(scope.expired)) is not None:
            raise interruption
        return None

    async def drain(self, seconds: float) -> None:
        """Wait until no call is running, ``seconds`` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wait_until_idle()

    def end(self) -> None:
        """Cancel all running calls, and reject later ones."""
        self.closed = True
        self.scopes.cancel_all()

    async def wait_until_idle(self) -> None:
        """Wait until no call is running."""
        if self.running:
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def reset(self) -> None:
        """Forget the event loop of the scopes; no call may be running."""
        self.scopes = CancelScopes()
        self._idle = None
