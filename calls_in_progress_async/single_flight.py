"""Single-flight: callers with the same key share one task. The last caller to leave cancels it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context, copy_context
from copy import copy
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import define, field

from .errors import DeadlineExceededError

Result = TypeVar("Result")


@define(eq=False, repr=False)
class Flight(Generic[Result]):
    """One shared task and its number of waiters."""

    task: asyncio.Task[Result] = field(init=False)
    began: bool = False
    waiters: int = 0
    joined: list[Context] = field(factory=list)
    """The contexts of the callers who have joined the first."""
    setback: Exception | None = None
    """The reason why the task is not done yet, if it knows one: the error of a waiter whose timeout passes."""


Work: TypeAlias = Callable[[Flight[Result]], Awaitable[Result]]
"""Makes a result, in the task of the given flight."""


class SingleFlight(Generic[Result]):
    """The shared tasks under way, by key.

    Args:
        keep: Called with each key and result as a task ends, if somebody still waits.
    """

    def __init__(self, keep: Callable[[Any, Result], object]) -> None:
        self._keep = keep
        self._flights: dict[Hashable, Flight[Result]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    async def run(self, key: Hashable, work: Work[Result], timeout: float | None = None) -> Result:
        """Return the result of the task under way for ``key``, or of a new one. Cancelling one waiter cancels no other.

        Args:
            key: Equal for callers with a common result.
            work: Makes the result if no task is under way.
            timeout: Seconds for this caller to wait; None for no limit.

        Raises:
            DeadlineExceededError: ``timeout`` has passed, and the work knows no better reason.
            Exception: Raised by ``work``, or its last setback if ``timeout`` has passed. Each waiter gets a copy,
                because a change of one, such as a note, is not for another.
        """
        if (flight := self._flights.get(key)) is None:
            flight = self._start(key, work)
        else:
            flight.joined.append(copy_context())
        flight.waiters += 1
        try:
            await asyncio.wait([flight.task], timeout=timeout)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                flight.task.cancel()
                self._forget(key, flight)
        if not flight.task.done():
            raise _copy_for_waiter(flight.setback or DeadlineExceededError("The call took longer than its deadline."))
        if flight.task.cancelled() and not flight.began:
            return await self.run(key, work, timeout)  # cancelled by a stranger
        if isinstance(shared := flight.task.exception(), Exception):  # `result` would replace its traceback
            raise _copy_for_waiter(shared)
        return flight.task.result()

    def _start(self, key: Hashable, work: Work[Result]) -> Flight[Result]:
        flight = self._flights[key] = Flight()  # known before the task begins, because an eager task begins at once
        flight.task = asyncio.create_task(self._fly(key, work, flight))
        flight.task.add_done_callback(partial(self._on_done, key, flight))
        return flight

    async def _fly(self, key: Hashable, work: Work[Result], flight: Flight[Result]) -> Result:
        flight.began = True
        try:
            result = await work(flight)
            if self._flights.get(key) is flight:  # an abandoned result may be older than the one after it
                self._keep(key, result)
            return result
        finally:
            self._forget(key, flight)

    def _on_done(self, key: Hashable, flight: Flight[Result], task: asyncio.Task[Result]) -> None:
        self._forget(key, flight)  # a task cancelled before its first step has not done so itself
        retrieve_exception(task)

    def _forget(self, key: Hashable, flight: Flight[Result]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _copy_for_waiter(error: Exception) -> Exception:
    try:
        own = copy(error).with_traceback(error.__traceback__)
    except Exception:
        return error  # its class does not copy
    own.__cause__ = error.__cause__
    vars(own).update((name, copy(value)) for name, value in vars(own).items() if isinstance(value, dict | list))
    return own


def retrieve_exception(done: asyncio.Future[Any]) -> None:
    """Keep asyncio from reporting an exception that nobody retrieves."""
    if not done.cancelled():
        done.exception()
