"""The program: its commands, and how each way to end becomes an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper, UnsupportedOperation
from typing import Any, NoReturn

import click

from .._version import __version__
from ..errors import CallsInProgressError
from .check import check
from .demo import demo
from .escaping import printable, printable_lines
from .exit_codes import EPILOG, ExitCode, report
from .list_calls import list_calls
from .output import say
from .sandbox import sandbox
from .update_call import update
from .wallboard import wallboard
from .watch import watch


class Program(click.Group):
    """The group of the commands. Whatever happens in one ends in a line on stderr and an exit code."""

    def run(self, arguments: Sequence[str] | None = None, **extra: Any) -> int:
        """Run a command line.

        Args:
            arguments: What follows the program's name; the process's own if left out.
            extra: Passed on to click.

        Returns:
            The exit code.
        """
        extra.setdefault("prog_name", "calls-in-progress")
        _accept_any_text()
        streams = sys.stdout, sys.stderr
        try:
            code = self._run(arguments, extra)
            sys.stdout.flush()
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED
        except (BrokenPipeError, SystemExit):
            if isinstance(sys.exception(), SystemExit) and sys.stdout is streams[0]:
                raise  # click leaves after it has completed a word for the shell
            # When a command meets a closed pipe, click puts streams in place that hide it, and leaves with 1.
            sys.stdout, sys.stderr = streams
            _discard(sys.stdout)
            return ExitCode.PIPE_CLOSED
        except OSError as error:  # a full disk, most likely
            say(f"error: {error.strerror or error}")
            _discard(sys.stdout)
            return ExitCode.FAILED
        return code

    def _run(self, arguments: Sequence[str] | None, extra: dict[str, Any]) -> int:
        try:
            code = super().main(arguments, standalone_mode=False, **extra)
        except click.ClickException as error:
            return _show(error)
        except click.Abort:
            raise KeyboardInterrupt from None
        except CallsInProgressError as error:
            return report(error)
        return int(code or 0)

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run a command line and leave, as click's own `main` does."""
        extra.pop("standalone_mode", None)
        sys.exit(self.run(args, **extra))


def _accept_any_text() -> None:
    """Escape what the terminal's encoding cannot carry, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard(stream: Any) -> None:
    """Point a stream that nobody reads at nothing, or Python complains when it flushes it at the end."""
    with suppress(UnsupportedOperation), open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), stream.fileno())


def _show(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return error.exit_code
    if context is not None:
        click.echo(printable_lines(context.get_usage()), err=True)
    say(f"error: {printable(error.format_message())}")
    return error.exit_code


@click.group(cls=Program, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="calls-in-progress")
def program() -> None:
    """Find the phone calls that are live right now, and update them: Invoca's Calls In Progress API.

    An organization (ORG) is written as advertiser:25 or network:1. `demo` needs no account.
    """


for _command in (demo, list_calls, update, watch, wallboard, check, sandbox):
    program.add_command(_command)
