"""``fleet status``: workers, shares, staleness, rates and lags of a fleet, live."""

from __future__ import annotations

import asyncio
from typing import Any

import click
from attrs import define, field
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .. import clock
from .exit_codes import ExitCode
from .fleet import load_fleet, takes_log_settings
from .options import as_json
from .output import is_live, stdout_console, write_json
from .runner import run

_REFRESH = 1.0
"""Seconds between two pictures."""


@define
class Workers:
    """The last two beats of each worker."""

    silent: float = 6.0
    """Seconds without a beat after which a worker is left out."""
    beats: dict[str, tuple[float, dict[str, Any]]] = field(factory=dict)
    rates: dict[str, dict[str, float]] = field(factory=dict)

    async def on_beat(self, beat: dict[str, Any]) -> None:
        """Take a beat of a worker."""
        name, now = str(beat["by"]), clock.now()
        before = self.beats.get(name)
        self.beats[name] = now, beat
        if before is not None and now - before[0] > 0.05:
            self.rates[name] = {
                each: (beat[each] - before[1][each]) / (now - before[0]) for each in ("polls", "events")
            }
        if beat.get("leaving"):
            del self.beats[name]

    def rows(self) -> list[dict[str, Any]]:
        """Return the workers that live, by name."""
        now = clock.now()
        living = {name: beat for name, (at, beat) in sorted(self.beats.items()) if now - at < self.silent}
        return [
            {
                "worker": name,
                **{each: beat[each] for each in ("shards", "organizations", "share", "stale")},
                "polls_per_second": round(self.rates.get(name, {}).get("polls", 0.0), 1),
                "events_per_second": round(self.rates.get(name, {}).get("events", 0.0), 1),
                "refused": beat["refused"],
            }
            for name, beat in living.items()
        ]


@click.command(short_help="Show workers, shares, staleness, rates and lags.")
@takes_log_settings
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Stop after so long.")
@as_json
def status(*, log: dict[str, Any], seconds: float | None, as_json: bool) -> int:
    """Show the workers of a fleet, their shares, staleness and rates, and the lag of each group of consumers.

    Live on a terminal, until Ctrl-C. In a pipe, or with --json, one picture after --seconds (5 by default).
    """
    return run(_show(log, seconds, as_json=as_json))


async def _show(log_options: dict[str, Any], seconds: float | None, *, as_json: bool) -> int:
    load_fleet()
    from ..fleet.log import Log  # noqa: PLC0415 - needs an extra
    from ..fleet.log_settings import LogSettings  # noqa: PLC0415 - needs an extra

    log, workers, console = Log(LogSettings(**log_options)), Workers(), stdout_console()
    await log.connect("calls-in-progress status")
    try:
        await log.hear_beats(workers.on_beat)
        if as_json or not is_live(console):
            await asyncio.sleep(seconds or 5.0)
            groups = [each._asdict() for each in await log.consumers()]
            if as_json:
                write_json({"workers": workers.rows(), "consumers": groups})
            else:
                console.print(picture(workers.rows(), groups))
            return ExitCode.OK
        until = None if seconds is None else clock.now() + seconds
        with Live(console=console, auto_refresh=False) as live:
            while until is None or clock.now() < until:
                groups = [each._asdict() for each in await log.consumers()]
                live.update(picture(workers.rows(), groups), refresh=True)
                await asyncio.sleep(_REFRESH)
    finally:
        await log.close()
    return ExitCode.OK


def picture(workers: list[dict[str, Any]], groups: list[dict[str, Any]]) -> Group:
    """Draw workers and groups of consumers as tables."""
    if not workers:
        return Group(Text("no worker is heard: is one running, and is --name right?"))
    return Group(_table(workers), Text(), _table(groups) if groups else Text("no consumers", "dim"))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(rows[0]):
        table.add_column(name.replace("_", " "), justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    return table
