"""One event loop for one command, which Ctrl-C and SIGTERM end by cancelling it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import click

from .exit_codes import ExitCode


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run a command to its exit code.

    Raises:
        click.exceptions.Exit: Ctrl-C or SIGTERM; the work was cancelled and has cleaned up.
    """
    terminated = asyncio.Event()

    async def main() -> int:
        task = asyncio.current_task()

        assert task is not None  # noqa: S101 - for the type checker

        def terminate() -> None:
            terminated.set()
            task.cancel()

        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        return await work

    try:
        return asyncio.run(main())
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # after the ^C that the terminal shows
        code = ExitCode.INTERRUPTED
    except asyncio.CancelledError:
        if not terminated.is_set():
            raise
        code = ExitCode.TERMINATED
    raise click.exceptions.Exit(code)
