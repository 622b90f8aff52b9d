"""CancelScopes: what a deadline, an attempt's timeout, closing and a newer write all end, in the same way.

One timer serves them all: a timer a request, made and cancelled, costs 5 to 10 % of a request, and `asyncio.timeout`
without one another 3 %.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any


class CancelScope:
    """A block that can be ended from outside: it then raises TimeoutError, as that of `asyncio.timeout` does."""

    __slots__ = ("_cancelling", "_open", "_task", "ended")

    def __init__(self) -> None:
        self.ended = self._open = False

    def __enter__(self) -> None:
        # Kept after the block, as `asyncio.timeout` keeps it: a client that nobody closes is then not freed, and its
        # connections closed by a task of their own, while the loop is cancelling its last tasks.
        task: Any = asyncio.current_task()
        self._task, self._cancelling, self._open = task, task.cancelling(), True

    def end(self) -> None:
        """End it: cancel what it waits for, in the next step of the loop."""
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        if self._open and not self.ended:
            self.ended = True
            self._task.cancel()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._open = False
        # A cancellation that is not ours goes on: see `asyncio.Task.uncancel`.
        if self.ended and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class CancelScopes:
    """The scopes that are open in one event loop."""

    def __init__(self) -> None:
        self._due: dict[CancelScope, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf

    def move(self, scope: CancelScope, seconds: float | None) -> None:
        """Have a scope end some seconds from now, and not when it was to; None for never."""
        if seconds is None:
            self._due[scope] = math.inf
            return
        loop = asyncio.get_running_loop()
        due = self._due[scope] = loop.time() + seconds
        if due < self._timer_due:
            self._arm(loop, due)

    def discard(self, scope: CancelScope) -> None:
        """Forget a scope that was left. The timer stays, for the next ones: it mostly finds nothing due."""
        self._due.pop(scope, None)

    def end_all(self) -> None:
        """End every scope now, and the timer."""
        for scope in tuple(self._due):
            scope.end()
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
                self._due[scope] = math.inf
                scope.end()
        if (earliest := min(self._due.values(), default=math.inf)) < math.inf:
            self._arm(loop, earliest)
