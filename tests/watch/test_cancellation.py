"""Errors of one organization are told apart from a cancellation of the task and from an unusable client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from calls_in_progress_async import CallsInProgressError, ClientClosedError, ClientStateError
from calls_in_progress_async.cancellation import result_or_error


def usable() -> None:
    """Stand for a usable client."""


async def test_a_future_that_is_cancelled_is_an_error_of_the_work() -> None:
    """Work fails if somebody else cancels its future."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(result_or_error(future, usable))
    await asyncio.sleep(0)
    future.cancel()
    assert isinstance(await task, CallsInProgressError)


async def test_a_task_that_is_cancelled_ends() -> None:
    """A cancellation of the running task goes on."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(result_or_error(future, usable))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_results_and_errors_are_returned() -> None:
    """A result is returned as it is, and an exception in its place."""

    async def work(error: Exception | None) -> str:
        if error is not None:
            raise error
        return "done"

    failure: Any
    assert await result_or_error(work(None), usable) == "done"
    for failure in (KeyError("token"), ClientStateError("the token callable's own client")):
        assert await result_or_error(work(failure), usable) is failure


async def test_a_client_that_cannot_be_used_is_no_result() -> None:
    """If the client itself is closed, its own error is raised, not returned."""

    def closed() -> None:
        raise ClientClosedError("closed")

    async def work() -> None:
        raise ClientStateError("something")

    with pytest.raises(ClientClosedError):
        await result_or_error(work(), closed)
