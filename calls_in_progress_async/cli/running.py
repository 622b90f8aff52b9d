"""One event loop for one command, which Ctrl-C and SIGTERM end by cancelling it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import click

from .outcomes import ExitCode


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run a command to its exit code.

    Raises:
        KeyboardInterrupt: Ctrl-C; the work was cancelled and has cleaned up.
        click.exceptions.Exit: SIGTERM, the same way.
    """
    terminated = asyncio.Event()

    async def main() -> int:
        task = asyncio.current_task()

        def terminate() -> None:
            terminated.set()
            if task is not None:
                task.cancel()

        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        return await work

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if not terminated.is_set():
            raise
    raise click.exceptions.Exit(ExitCode.TERMINATED)
