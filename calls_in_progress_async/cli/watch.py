"""``watch``: every call's start, changes and end, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click
from attrs import frozen

from .. import clock
from ..client import CallsInProgressClient
from ..errors import InvalidRequestError
from ..organization import Organization
from ..watch.events import CallEvent
from ..watch.watch import Watch
from .call_table import TableOptions
from .checkpoint_file import NOT_A_CHECKPOINT, CheckpointFile
from .columns import Column
from .exit_codes import ExitCode, combined, exit_code_of
from .following import Repeated, follow
from .live_table import live_table
from .options import ORGANIZATION, FiniteRange, as_json, choose_columns, organizations_option, show_numbers
from .organizations_file import organizations_from
from .output import is_live, say, stdout_console
from .runner import run
from .settings import ClientSettings, takes_client_settings
from .watch_footer import WatchFooter
from .watch_lines import Display, JsonLines, TextLines
from .watch_tally import Tally

_TICK = 0.25
"""Seconds between two frames."""
_SAVE_EVERY = 10.0
"""Seconds between two checkpoints."""


@frozen(kw_only=True)
class WatchOptions:
    """The organizations to watch, and the form of the output."""

    organizations: Sequence[Organization]
    interval: float
    seconds: float | None
    checkpoint: CheckpointFile
    as_json: bool
    table: TableOptions


_POSITIVE = FiniteRange(min=0, min_open=True)


@click.command(short_help="Follow calls as they start, change and end.")
@click.argument("organizations", metavar="ORG...", nargs=-1, type=ORGANIZATION)
@organizations_option
@click.option(
    "--interval", type=_POSITIVE, default=5.0, show_default=True, metavar="SECONDS", help="Time between two polls."
)
@click.option("--seconds", type=_POSITIVE, metavar="SECONDS", help="Stop after this time instead of at Ctrl-C.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Resume from this file, and keep it up to date: the calls in it do not start again.",
)
@choose_columns
@as_json
@show_numbers
@takes_client_settings
def watch(
    settings: ClientSettings,
    /,
    *,
    organizations: tuple[Organization, ...],
    organizations_file: TextIO | None,
    interval: float,
    seconds: float | None,
    checkpoint: Path | None,
    columns: Sequence[Column] | None,
    as_json: bool,
    show_numbers: bool,
) -> int:
    """Watch the calls of each ORG, such as advertiser:25, start, change and end, until Ctrl-C.

    A terminal shows a live table, a pipe gets a line for each event. With --json, a line is {"event": ..., "at": ...,
    "organization": ...}: started and ended have the "call", changed has its "changes" too ({name: [old, new]}), failed
    has "error" and "message", recovered and resumed (from the checkpoint) have the "gap" in seconds, in which short
    calls may have gone unseen.

    Polls of a failing organization continue. If it still fails at the end of --seconds, the exit code is 1, or 3 for
    a bad token.
    """
    options = WatchOptions(
        organizations=organizations_from(organizations, organizations_file),
        interval=interval,
        seconds=seconds,
        checkpoint=CheckpointFile(checkpoint),
        as_json=as_json,
        table=TableOptions(masked=not show_numbers, columns=columns),
    )
    return run(_watch(settings, options))


async def _watch(settings: ClientSettings, options: WatchOptions) -> int:
    tally = Tally()
    async with settings.client() as client, _open(client, options) as watch:
        try:
            with _open_display(watch, tally, options) as display:
                await _follow(watch, tally, display, options)
        except OSError:
            raise  # the last event was not shown, so the last checkpoint stands
        except BaseException:
            options.checkpoint.save(watch)
            raise
        finally:
            say(f"watched {tally.summary(watch.stats)}")
        is_saved = options.checkpoint.save(watch)
    return combined(set(map(exit_code_of, tally.failing.values()))) if is_saved else ExitCode.FAILED


def _open(client: CallsInProgressClient, options: WatchOptions) -> Watch:
    resume_from = options.checkpoint.read()
    try:
        return client.watch(options.organizations, interval=options.interval, resume_from=resume_from)
    except InvalidRequestError as error:
        if error.parameter != "resume_from":
            raise
        problem = error.message.removeprefix("resume_from ")
        if not problem.startswith("has version "):
            problem = NOT_A_CHECKPOINT
    except (ArithmeticError, RecursionError):
        problem = NOT_A_CHECKPOINT
    raise click.UsageError(f"--checkpoint {options.checkpoint.path}: {problem}")


@contextmanager
def _open_display(watch: Watch, tally: Tally, options: WatchOptions) -> Iterator[Display]:
    """Choose the display for stdout, and leave the terminal in order at the end."""
    console = stdout_console()
    if options.as_json:
        yield JsonLines()
    elif is_live(console):
        with live_table(console, watch, WatchFooter(watch, tally), options.table) as table:
            yield table
    else:
        yield TextLines(masked=options.table.masked)


async def _follow(watch: Watch, tally: Tally, display: Display, options: WatchOptions) -> None:
    def on_event(event: CallEvent) -> None:
        tally.count(event)
        display.show(event)

    now = clock.now()
    saving = Repeated(_SAVE_EVERY, lambda: options.checkpoint.save(watch), due=now + _SAVE_EVERY)
    until = None if options.seconds is None else now + options.seconds
    await follow(watch, on_event, [Repeated(_TICK, display.tick), saving], until)
