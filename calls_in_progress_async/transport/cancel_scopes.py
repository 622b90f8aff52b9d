"""CancelScopes: one mechanism and one timer for deadlines, attempt timeouts, closing and newer writes.

A timer for each request, made and cancelled, costs 5 to 10 % of a request; `asyncio.timeout` adds another 3 %.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Iterator
from typing import Any

_TIMER_RESOLUTION = 0.001
"""Seconds: a timer may fire so early (uvloop rounds to milliseconds)."""
_WINDOW = 1.0
"""Seconds between two looks at all scopes. Scopes due within the window wait in a heap."""


class CancelScope:
    """A block to cancel from outside; it then raises TimeoutError, as `asyncio.timeout` does."""

    __slots__ = ("_cancelling", "_open", "_task", "cancelled_caught", "expired")

    def __init__(self) -> None:
        self.cancelled_caught: bool = False
        self.expired: bool = False
        self._open = False

    def __enter__(self) -> None:
        # The task is kept after the block, as `asyncio.timeout` does. An abandoned client is then not freed while
        # the loop cancels its last tasks, too late for a new task to close connections.
        task: Any = asyncio.current_task()
        self._task, self._cancelling, self._open = task, task.cancelling(), True

    def cancel(self) -> None:
        """Cancel the block in the next step of the loop."""
        asyncio.get_running_loop().call_soon(self._cancel)

    def expire(self) -> None:
        """Cancel the block now, because its time is over."""
        self.expired = True
        self._cancel()

    def _cancel(self) -> None:
        if self._open and not self.cancelled_caught:
            self.cancelled_caught = True
            self._task.cancel()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._open = False
        # Another's cancellation goes on: see `asyncio.Task.uncancel`.
        if self.cancelled_caught and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class CancelScopes:
    """The open scopes of one event loop.

    The timer is set to the earliest expiry, and left alone when its scope is discarded: it mostly fires for nothing,
    once in the length of a timeout. Firing looks at every scope at most once per window, so the cost of many expiries
    grows with their number and not with its square.
    """

    def __init__(self) -> None:
        self._expiry: dict[CancelScope, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf
        self._soon: list[tuple[float, int, CancelScope]] = []
        """A heap of the scopes that expire before the end of the window, stale entries among them."""
        self._window_end = -math.inf
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._expiry)

    @property
    def next_look(self) -> float | None:
        """The due time of the timer; None without a timer."""
        return None if self._timer is None else self._timer_due

    def __iter__(self) -> Iterator[CancelScope]:
        return iter(tuple(self._expiry))

    def reschedule(self, scope: CancelScope, when: float | None) -> None:
        """Let a scope expire at ``when``, by the loop's time, instead of before; None removes its expiry."""
        if when is None:
            self._expiry[scope] = math.inf
            return
        self._expiry[scope] = when
        if when <= self._window_end:
            heapq.heappush(self._soon, (when, next(self._numbers), scope))
        if when < self._timer_due:
            self._set_timer(asyncio.get_running_loop(), when)

    def discard(self, scope: CancelScope) -> None:
        """Forget a scope after its block."""
        self._expiry.pop(scope, None)

    def cancel_all(self) -> None:
        """Cancel every scope and the timer."""
        for scope in self:
            scope.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_due = None, math.inf
        self._soon.clear()

    def _set_timer(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_due = loop.call_at(due, self._on_timer, loop), due

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._timer_due = None, math.inf
        now = loop.time() + _TIMER_RESOLUTION
        following = self._window_end if self._expiry else math.inf
        if now > self._window_end:
            following = self._open_window(now)
        while self._soon and self._soon[0][0] <= now:
            self._expire(*heapq.heappop(self._soon))
        if self._soon:
            following = self._soon[0][0]
        if following < math.inf:
            self._set_timer(loop, following)

    def _expire(self, due: float, _: int, scope: CancelScope) -> None:
        if self._expiry.get(scope) == due:
            self._expiry[scope] = math.inf
            scope.expire()

    def _open_window(self, now: float) -> float:
        """Collect the scopes due within the window; return the earliest expiry after it."""
        end = self._window_end = now + _WINDOW
        self._soon = [(due, next(self._numbers), scope) for scope, due in self._expiry.items() if due <= end]
        heapq.heapify(self._soon)
        return min((due for due in self._expiry.values() if due > end), default=math.inf)
