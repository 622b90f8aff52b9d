"""Cancellation: the running task ends; if only an awaited one was cancelled, the running task fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from . import clock
from .errors import CallsInProgressError, ClientStateError
from .single_flight import retrieve_exception

T = TypeVar("T")

CheckUsable = Callable[[], object]
"""Raises `ClientStateError` if the client is closed, or in use in another event loop or process."""


async def result_or_error(work: Awaitable[T], check_usable: CheckUsable) -> T | Exception:
    """Await work for one organization, and return its result or the exception it raised.

    Raises:
        asyncio.CancelledError: The running task was cancelled.
        ClientStateError: The client itself can no longer be used.
    """
    try:
        return await work
    except asyncio.CancelledError as error:
        return failure_of(error)
    except ClientStateError as error:
        check_usable()
        return error  # raised by a token callable, about a client of its own
    except Exception as error:
        return error


def is_own_cancellation() -> bool:
    """Return True if the running task is being cancelled, and not only an awaited one."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def failure_of(error: asyncio.CancelledError) -> CallsInProgressError:
    """Turn the cancellation of an awaited task into an error. A token callable may raise one.

    Raises:
        asyncio.CancelledError: The running task is being cancelled.
    """
    if is_own_cancellation():
        raise error
    return CallsInProgressError("The request was cancelled from within.")


async def finish(work: Coroutine[Any, Any, None], grace: float) -> None:
    """Run ``work`` to its end, though the running task is cancelled, once or (by anyio) at each step.

    Args:
        work: Frees something, such as connections. It runs in a task of its own.
        grace: Seconds for ``work`` to end after a cancellation; then it is cancelled too.

    Raises:
        asyncio.CancelledError: The running task was cancelled.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(retrieve_exception)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await _finish_cancelled(task, clock.now() + grace)
        raise
    task.result()


async def _finish_cancelled(task: asyncio.Task[None], latest: float) -> None:
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task], timeout=latest - clock.now())
        if clock.now() >= latest:
            task.cancel()
            return
