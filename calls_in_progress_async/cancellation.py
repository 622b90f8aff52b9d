"""Errors of one organization among many: told apart from the cancellation of the task and from an unusable client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .errors import CallsInProgressError, ClientStateError

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


def failure_of(error: asyncio.CancelledError) -> CallsInProgressError:
    """Turn a cancellation from within the work, a token callable's own for example, into an error.

    Raises:
        asyncio.CancelledError: The running task itself was cancelled.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error
    return CallsInProgressError("The request was cancelled from within.")
