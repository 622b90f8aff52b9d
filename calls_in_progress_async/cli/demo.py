"""``demo``: the client against the sandbox, on screen in a few seconds and without an account."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from attrs import define, field, frozen
from rich.console import Console
from rich.text import Text

from .. import clock
from ..client import CallsInProgressClient
from ..errors import CallNotFoundError
from ..sandbox import SandboxServer
from ..watch.events import CallEvent
from ..watch.watch import Watch
from .call_table import Row, TableOptions, print_table
from .columns import View
from .escaping import printable
from .following import Repeated, follow
from .live_table import LiveTable, live_table
from .options import FiniteRange
from .output import count, is_live, stdout_console
from .runner import run
from .watch_footer import one_line
from .watch_lines import Display, TextLines, describe
from .watch_tally import Tally

_INTERVAL, _TICK = 0.5, 0.25  # seconds
_EVENTS_SHOWN = 3
_EXTERNAL_ID = "demo-1"
_DISPOSITION = {"Call Disposition": "APPOINTMENT_MADE"}
# Short calls and few of them, so that some start and some end within seconds.
_CALLS_PER_ORGANIZATION, _MEAN_CALL_SECONDS = 2.5, 20.0


@define(eq=False)
class Demo:
    """One run of the demo: a watch of the sandbox, an update, and the story so far."""

    client: CallsInProgressClient
    watch: Watch
    tally: Tally = field(factory=Tally)
    events: deque[CallEvent] = field(factory=lambda: deque(maxlen=_EVENTS_SHOWN))
    """The latest events."""
    remarks: list[str] = field(factory=list)
    """Sentences about the update."""

    def summary(self) -> str:
        """Return all counts in a line."""
        return f"summary: {self.tally.summary(self.watch.stats)}"

    def footer(self) -> list[Text]:
        """Return the lines below the table."""
        events = [f"{event.organization} {describe(event, masked=True)}" for event in self.events]
        return [
            *(one_line(event, "dim") for event in events),
            *(one_line(remark, "cyan") for remark in self.remarks),
            one_line(self.summary(), "bold"),
        ]

    async def play(self, stage: Stage, seconds: float) -> None:
        """Follow the watch for a third of the time, update a call, and follow the watch to the end."""

        def on_event(event: CallEvent) -> None:
            self.tally.count(event)
            self.events.append(event)
            stage.show(event)

        end = clock.now() + seconds
        ticks = [Repeated(_TICK, stage.tick)]
        await follow(self.watch, on_event, ticks, end - seconds * 2 / 3)
        updated = await self._update_a_call(stage)
        while not updated and clock.now() < end:
            await follow(self.watch, on_event, ticks, clock.now() + _TICK)
            updated = await self._update_a_call(stage)
        await follow(self.watch, on_event, ticks, end)
        stage.tick()

    async def _update_a_call(self, stage: Stage) -> bool:
        """Update the newest call of the first organization with a call. Return True on success."""
        for organization, calls in self.watch.calls.items():
            for call in calls:
                try:
                    await self.client.update(
                        organization,
                        transaction_id=call.transaction_id,
                        new_external_unique_id=_EXTERNAL_ID,
                        custom_data=_DISPOSITION,
                    )
                except CallNotFoundError:
                    continue  # it has just ended
                found = await self.client.find(organization, external_unique_id=_EXTERNAL_ID)
                changes = f"external_unique_id={_EXTERNAL_ID!r}, custom_data={_DISPOSITION}"
                self._remark(stage, f"updated call {call.transaction_id} of {organization}: {changes}")
                self._remark(
                    stage, f"a find by external_unique_id={_EXTERNAL_ID!r} now returns {count(len(found), 'call')}"
                )
                return True
        return False

    def _remark(self, stage: Stage, remark: str) -> None:
        self.remarks.append(remark)
        stage.remark(remark)


class Stage(Display, Protocol):
    """Shows the demo."""

    def remark(self, line: str) -> None:
        """Show a sentence about the update."""
        ...


@click.command(short_help="See it run: made-up calls, no account, a few seconds.")
@click.option("--seconds", type=FiniteRange(0.1, 3600), default=8.0, show_default=True, help="Length of the demo.")
@click.option(
    "--organizations",
    type=click.IntRange(1, 1000),
    default=4,
    show_default=True,
    metavar="N",
    help="Number of organizations.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed makes the same calls.")
def demo(seconds: float, organizations: int, seed: int) -> int:
    """Watch made-up calls come and go: no account, no network, a few seconds.

    It starts the sandbox, watches its organizations with the real client, updates a call and sums up.
    """
    server = SandboxServer(
        organizations=organizations,
        seed=seed,
        calls_per_organization=_CALLS_PER_ORGANIZATION,
        mean_call_seconds=_MEAN_CALL_SECONDS,
    )
    return run(_demo(server, seconds, stdout_console()))


async def _demo(server: SandboxServer, seconds: float, console: Console) -> int:
    async with (
        server,
        CallsInProgressClient(token=server.token, base_url=server.url) as client,
        client.watch(server.organizations, interval=_INTERVAL) as watch,
    ):
        organizations = count(len(server.organizations), "organization")
        _print(console, f"The sandbox at {server.url} has {organizations} with made-up calls.")
        show = Demo(client, watch)
        with _open_stage(console, show) as stage:
            await show.play(stage, seconds)
    _print(console, "next: `calls-in-progress sandbox` runs the sandbox for programs of your own")
    return 0


def _print(console: Console, line: str) -> None:
    console.print(Text(printable(line)), soft_wrap=not console.is_terminal)


@contextmanager
def _open_stage(console: Console, show: Demo) -> Iterator[Stage]:
    """Choose the stage for stdout. Either ends with the summary, after Ctrl-C too."""
    if is_live(console):
        with live_table(console, show.watch, show.footer, TableOptions()) as table:
            yield _LiveStage(table)
    else:
        try:
            yield _LineStage(console)
        finally:
            rows = [Row(organization, call) for organization, calls in show.watch.calls.items() for call in calls]
            print_table(console, rows, View(now=clock.utc_now()), columns=None)
            _print(console, show.summary())


@frozen
class _LiveStage:
    """Draws frames over one another on a terminal."""

    _table: LiveTable

    def show(self, event: CallEvent) -> None:
        self._table.show(event)

    def tick(self) -> None:
        self._table.tick()

    def remark(self, _: str) -> None:
        self._table.tick()  # the footer has it


class _LineStage(TextLines):
    """A line for each event, in a pipe."""

    def __init__(self, console: Console) -> None:
        super().__init__(masked=True)
        self._console = console

    def remark(self, line: str) -> None:
        _print(self._console, line)
