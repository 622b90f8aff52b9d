"""Whose cancellation it is."""

from __future__ import annotations

import asyncio

import pytest

from calls_in_progress_async import CallsInProgressError
from calls_in_progress_async.cancellation import failure_of


async def work(cancelled: asyncio.Future[None]) -> CallsInProgressError:
    try:
        await cancelled
    except asyncio.CancelledError as error:
        return failure_of(error)
    raise AssertionError


async def test_of_what_a_task_waits_for() -> None:
    """A future that is cancelled is a failure of the work."""
    future = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(work(future))
    await asyncio.sleep(0)
    future.cancel()
    assert isinstance(await task, CallsInProgressError)


async def test_of_the_task() -> None:
    """A task that is cancelled ends."""
    task = asyncio.create_task(work(asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
