"""``fleet status``: workers, shares, staleness, rates and lags of a fleet, live."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .. import clock
from .exit_codes import ExitCode
from .fleet import load_fleet, show_warnings, takes_log_settings
from .options import FiniteRange, as_json
from .output import count, is_live, stdout_console, write_json
from .runner import run

if TYPE_CHECKING:  # needs an extra
    from ..fleet.log_values import Consumer
    from ..fleet.picture import FleetPicture
    from ..fleet.status import FleetStatus, WorkerStatus

_REFRESH = 1.0
"""Seconds between two pictures."""
_LISTEN = 5.0
"""Seconds to listen for beats before a single picture: two beats of the default lease."""
_LATE = 2.0
"""Number of intervals. An older response of an organization is highlighted."""
_COLUMNS = ("worker", "shards", "organizations", "share", "staleness", "polls/s", "limit", "events/s")
_LINES_BESIDE = 8
"""Lines of a picture beside its workers and consumers."""


def draw(picture: FleetPicture, height: int) -> Group:
    """Draw the picture of a fleet.

    Args:
        picture: The fleet at one moment.
        height: Lines of the terminal. Workers without room are counted.
    """
    status, consumers = picture.status, picture.consumers
    room = max(1, height - _LINES_BESIDE - len(consumers))
    hidden = len(status.workers) - room
    return Group(
        _heading(picture),
        Text(),
        _worker_table(status, room) if status.workers else Text("no worker is heard: is one running?", "red"),
        Text(f"and {count(hidden, 'more worker')}" if hidden > 0 else "", "dim"),
        _consumer_table(consumers) if consumers else Text("no consumers", "dim"),
    )


def _heading(picture: FleetPicture) -> Text:
    status, log = picture.status, picture.log
    parts = [
        Text(f"fleet {picture.name}", "bold"),
        Text("the log does not respond" if log is None else f"log {log.bytes / 1e6:,.1f} MB", "red" * (log is None)),
    ]
    if log is not None and status.shards != log.shards:
        parts.append(Text(f"{status.shards} of {log.shards} shards polled", "yellow"))
    if status.failing:
        parts.append(Text(f"{count(status.failing, 'organization')} failing", "red"))
    if status.refused:
        parts.append(Text(f"{count(status.refused, 'stale write')} refused"))
    return Text("   ").join(parts)


def _worker_table(status: FleetStatus, room: int) -> Table:
    table = Table(box=None, pad_edge=False, show_footer=len(status.workers) > 1, footer_style="bold")
    totals = _cells(status, count(len(status.workers), "worker"), sum(each.share for each in status.workers))
    for name, total in zip(_COLUMNS, totals, strict=True):
        table.add_column(name, total, justify="left" if name == "worker" else "right", overflow="fold")
    for worker in status.workers[:room]:
        is_late = worker.staleness > _LATE * (status.interval or 0.0)
        table.add_row(*_cells(worker, worker.worker, worker.share), style="red" if is_late else "")
    return table


def _cells(figures: FleetStatus | WorkerStatus, name: str, share: float) -> list[str]:
    return [
        name,
        f"{figures.shards:,}",
        f"{figures.organizations:,}",
        f"{share:.0%}",
        f"{figures.staleness:.1f} s",
        f"{figures.polls_per_second:,.1f}",
        "none" if figures.rate is None else f"{figures.rate:,.1f}",
        f"{figures.events_per_second:,.1f}",
    ]


def _consumer_table(consumers: Sequence[Consumer]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("consumers", overflow="fold")
    table.add_column("lag", justify="right")
    table.add_column("unacknowledged", justify="right")
    for each in consumers:
        table.add_row(each.group, f"{each.pending:,}", f"{each.unacknowledged:,}")
    return table


@click.command(short_help="Show workers, shares, staleness, rates and lags.")
@takes_log_settings
@click.option("--seconds", type=FiniteRange(min=0, min_open=True), metavar="SECONDS", help="Stop after this time.")
@as_json
def status(*, log: dict[str, Any], seconds: float | None, as_json: bool) -> int:
    """Show the workers of a fleet, their shares, staleness and rates, and the lag of each group of consumers.

    Live on a terminal, until Ctrl-C. In a pipe, or with --json, one picture after --seconds (5 by default).

    Staleness is the age of the oldest response. A lag is the number of messages not delivered yet.
    """
    show_warnings()
    return run(_show(log, seconds, as_json=as_json))


async def _show(options: dict[str, Any], seconds: float | None, *, as_json: bool) -> int:
    load_fleet()
    from ..fleet.monitor import FleetMonitor  # noqa: PLC0415 - needs an extra

    console = stdout_console()
    async with FleetMonitor(**options) as monitor:
        await monitor.log()  # raises an error for a wrong name at once
        if not as_json and is_live(console):
            until = None if seconds is None else clock.now() + seconds
            with Live(console=console, auto_refresh=False) as live:
                live.update(Text("listening for the workers' beats"), refresh=True)
                await asyncio.sleep(_REFRESH)
                while until is None or clock.now() < until:
                    live.update(draw(await monitor.look(), console.height), refresh=True)
                    await asyncio.sleep(_REFRESH)
            return ExitCode.OK
        await asyncio.sleep(seconds or _LISTEN)
        picture = await monitor.look()
    if as_json:
        write_json(picture.to_dict())
    else:
        console.print(draw(picture, 1_000))
    return ExitCode.OK
