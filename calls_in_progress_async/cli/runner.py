"""One event loop for one command, with an end by cancellation at Ctrl-C and SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import click

from .exit_codes import ExitCode


def run(command: Coroutine[Any, Any, int]) -> int:
    """Run a command to its exit code.

    Where SIGINT is ignored, as after ``nohup ... &``, it stays ignored: asyncio takes over Python's own handler only.

    Raises:
        click.exceptions.Exit: Ctrl-C or SIGTERM; the command was cancelled and has cleaned up.
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
        return await command

    try:
        return asyncio.run(main())
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # after the ^C of the terminal
        code = ExitCode.INTERRUPTED
    except asyncio.CancelledError:
        if not terminated.is_set():
            raise
        code = ExitCode.TERMINATED
    raise click.exceptions.Exit(code)
