"""Scopes: what a deadline, an attempt's timeout, closing and a newer write all end, in the same way.

Each is an `asyncio.Timeout` without a timer of its own. One timer serves them all: a timer a request, made and
cancelled, costs 5 to 10 % of a request.
"""

from __future__ import annotations

import asyncio
import math


class Scopes:
    """The scopes that are open in one event loop."""

    def __init__(self) -> None:
        self._due: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf

    def open(self, seconds: float | None) -> asyncio.Timeout:
        """Open a scope that ends after some seconds; None for never. Enter it with ``async with``."""
        scope = asyncio.timeout(None)
        self.move(scope, seconds)
        return scope

    def move(self, scope: asyncio.Timeout, seconds: float | None) -> None:
        """Have a scope end some seconds from now instead."""
        if seconds is None:
            self._due[scope] = math.inf
            return
        loop = asyncio.get_running_loop()
        due = self._due[scope] = loop.time() + seconds
        if due < self._timer_due:
            self._arm(loop, due)

    def discard(self, scope: asyncio.Timeout) -> None:
        """Forget a scope that was left. The timer stays, for the next ones: it mostly finds nothing due."""
        self._due.pop(scope, None)

    def end(self, scope: asyncio.Timeout) -> None:
        """End a scope now."""
        if scope in self._due and not scope.expired():
            self._due[scope] = math.inf
            scope.reschedule(asyncio.get_running_loop().time())

    def end_all(self) -> None:
        """End every scope now, and the timer."""
        for scope in self._due:
            self.end(scope)
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_due = None, math.inf

    def _arm(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_due = loop.call_at(due, self._on_timer, loop), due

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._timer_due = None, math.inf
        # A timer may be early by the resolution of the clock (uvloop: 1 ms).
        now = loop.time() + 0.001
        for scope, due in self._due.items():
            if due <= now:
                self.end(scope)
        if (earliest := min(self._due.values(), default=math.inf)) < math.inf:
            self._arm(loop, earliest)
