"""The program: its commands, and an exit code for each way to end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from .._version import __version__
from ..errors import CallsInProgressError
from .check import check
from .demo import demo
from .error_reports import report
from .escaping import printable, printable_lines
from .examples import add_examples
from .exit_codes import EPILOG, ExitCode
from .fleet import fleet
from .fleet_demo import demo as fleet_demo
from .fleet_status import status as fleet_status
from .list_calls import list_calls
from .output import say
from .replay import replay
from .sandbox import sandbox
from .streams import discard, prepare_streams
from .update_call import update
from .wallboard import wallboard
from .watch import watch

_NAME = "calls-in-progress"
_LONGEST_SUMMARY = 1_000
"""Characters of a command's summary: more than any has."""


class Program(click.Group):
    """The group of the commands. Every command ends with an exit code and at most a few lines on stderr."""

    def run(self, arguments: Sequence[str] | None = None, **extra: Any) -> int:
        """Run a command line.

        Args:
            arguments: The arguments after the program's name; the process's own if left out.
            extra: Options of click.

        Returns:
            The exit code.
        """
        extra.setdefault("prog_name", _NAME)
        try:
            prepare_streams()
        except OSError as error:
            return _report_os_error(error)
        streams = sys.stdout, sys.stderr
        try:
            code = self._run(arguments, extra)
            sys.stdout.flush()
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED
        except (BrokenPipeError, SystemExit):
            if isinstance(sys.exception(), SystemExit) and sys.stdout is streams[0]:
                raise  # click leaves after it has completed a word for the shell
            # At a closed pipe, click replaces the streams to hide the error, and leaves with 1.
            sys.stdout, sys.stderr = streams
            discard(sys.stdout)
            return ExitCode.PIPE_CLOSED
        except OSError as error:  # a full disk, most likely
            return _report_os_error(error)
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their whole summaries, where click would cut them to one line."""
        summaries = [
            (name, self.commands[name].get_short_help_str(_LONGEST_SUMMARY)) for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(summaries)

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run a command line and leave, as click's own `main` does."""
        extra.pop("standalone_mode", None)
        sys.exit(self.run(args, **extra))


def _report_os_error(error: OSError) -> ExitCode:
    with suppress(OSError):  # stderr may be the stream at fault
        say(f"error: {error.strerror or error}")
    discard(sys.stdout)
    return ExitCode.FAILED


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
@click.version_option(__version__, prog_name=_NAME)
def program() -> None:
    """Find live phone calls and update them: Invoca's Calls In Progress API.

    An organization (ORG) is written as advertiser:25 or network:1. `demo` needs no account.
    """


fleet.add_command(fleet_demo)
fleet.add_command(fleet_status)
for _command in (demo, list_calls, update, watch, wallboard, check, sandbox, replay, fleet):
    program.add_command(_command)
add_examples(program, _NAME)
