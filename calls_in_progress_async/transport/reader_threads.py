"""ReaderThreads: large responses are read in threads, so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")

_MOST_THREADS = 2
"""Threads of one client. Each may keep the event loop waiting for 5 ms at a time (`sys.getswitchinterval`)."""


class ReaderThreads:
    """Threads of one client, started for the first large response."""

    def __init__(self) -> None:
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread. If the caller is cancelled, the thread still ends by itself."""
        if self._executor is None:
            self._executor = concurrent.futures.ThreadPoolExecutor(_MOST_THREADS, "calls-in-progress-reader")
        return await asyncio.get_running_loop().run_in_executor(self._executor, copy_context().run, work)

    def close(self) -> None:
        """Let the threads end after their present work."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
