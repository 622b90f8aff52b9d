"""Cancellations: of a task, which end it, and from within what it waits for, which are a failure of that."""

from __future__ import annotations

import asyncio

from .errors import CallsInProgressError


def failure_of(error: asyncio.CancelledError) -> CallsInProgressError:
    """Make a failure of a cancellation that is not of the running task: a token callable's own, for example.

    Raises:
        asyncio.CancelledError: It is of the running task.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error
    return CallsInProgressError("The request was cancelled from within.")
