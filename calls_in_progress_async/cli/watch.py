"""``watch``: every call that starts, changes or ends, until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

import click
from attrs import frozen

from ..client import CallsInProgressClient
from ..errors import CallsInProgressError, InvalidRequestError
from ..organization import Organization
from ..watch.watch import Watch
from .checkpoint_file import CheckpointFile
from .exit_codes import ExitCode, combined, exit_code_of
from .organizations_file import organizations_from
from .output import say
from .runner import run
from .settings import ORGANIZATION, ClientSettings, as_json, show_numbers, takes_client_settings
from .watch_display import Display, open_display
from .watch_tally import Tally

_TICK = 0.25  # seconds between two pictures
_CHECKPOINT_EVERY = 10.0  # seconds


@frozen(kw_only=True)
class WatchOptions:
    """What is to be watched, and how."""

    organizations: Sequence[Organization]
    interval: float
    seconds: float | None
    checkpoint: CheckpointFile
    as_json: bool
    masked: bool


_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command()
@click.argument("organizations", metavar="ORG...", nargs=-1, type=ORGANIZATION)
@click.option(
    "--organizations",
    "file",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="Organizations, one a line; - is stdin. What follows a # is a comment.",
)
@click.option(
    "--interval", type=_POSITIVE, default=5.0, show_default=True, metavar="SECONDS", help="Between two polls."
)
@click.option("--seconds", type=_POSITIVE, metavar="SECONDS", help="Stop after so long, rather than at Ctrl-C.")
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Go on from this file, and keep it up to date: calls that it knows do not start again.",
)
@as_json
@show_numbers
@takes_client_settings
def watch(
    settings: ClientSettings,
    /,
    *,
    organizations: tuple[Organization, ...],
    file: TextIO | None,
    interval: float,
    seconds: float | None,
    checkpoint: Path | None,
    as_json: bool,
    show_numbers: bool,
) -> int:
    """Watch the calls of each ORG, such as advertiser:25, start, change and end, until Ctrl-C.

    On a terminal it is a live table, in a pipe a line for each event. With --json, a line is {"event": ..., "at": ...,
    "organization": ...}: started and ended have the "call", changed has its "changes" too ({name: [old, new]}), failed
    has "error" and "message", recovered has the "gap" in seconds in which short calls may have gone unseen.

    An organization that fails is asked again and again. One that fails still at the end of --seconds makes the exit
    code 1, or 3 where it is the token.
    """
    watching = WatchOptions(
        organizations=organizations_from(organizations, file),
        interval=interval,
        seconds=seconds,
        checkpoint=CheckpointFile(checkpoint),
        as_json=as_json,
        masked=not show_numbers,
    )
    return run(_watch(settings, watching))


async def _watch(settings: ClientSettings, watching: WatchOptions) -> int:
    tally = Tally()
    async with settings.client() as client, _open(client, watching) as watch:
        try:
            with open_display(watch, tally, as_json=watching.as_json, masked=watching.masked) as display:
                await _follow(watch, tally, display, watching)
        except OSError:
            raise  # the last event was not told, so the last checkpoint stands
        except BaseException:
            watching.checkpoint.keep(watch)
            raise
        finally:
            say(f"watched {tally.summary(watch.stats)}")
        kept = watching.checkpoint.keep(watch)
    return _outcome(tally.failing.values()) if kept else ExitCode.FAILED


def _outcome(failures: Iterable[Exception]) -> ExitCode:
    """What it comes to that some organizations fail still."""
    told = (exit_code_of(error) if isinstance(error, CallsInProgressError) else ExitCode.FAILED for error in failures)
    return combined(set(told))


def _open(client: CallsInProgressClient, watching: WatchOptions) -> Watch:
    resume_from = watching.checkpoint.read()
    try:
        return client.watch(watching.organizations, interval=watching.interval, resume_from=resume_from)
    except InvalidRequestError as error:
        if error.parameter != "resume_from":
            raise
        problem = error.message.removeprefix("resume_from: ")
    raise click.UsageError(f"the checkpoint {watching.checkpoint.path} {problem}")


async def _follow(watch: Watch, tally: Tally, display: Display, watching: WatchOptions) -> None:
    loop = asyncio.get_running_loop()
    now = tick_at = loop.time()
    checkpoint_at = now + _CHECKPOINT_EVERY
    ends = None if watching.seconds is None else now + watching.seconds
    while ends is None or now < ends:
        if now >= tick_at:
            display.tick()
            tick_at = now + _TICK
        if now >= checkpoint_at:
            watching.checkpoint.keep(watch)
            checkpoint_at = now + _CHECKPOINT_EVERY
        try:
            async with asyncio.timeout_at(tick_at if ends is None else min(tick_at, ends)):
                event = await anext(watch)
        except TimeoutError:
            pass
        else:
            tally.count(event)
            display.tell(event)
        now = loop.time()
