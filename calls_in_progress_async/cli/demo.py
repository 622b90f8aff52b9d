"""``demo``: the client against the sandbox, on screen in a few seconds and with no account."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ..client import CallsInProgressClient
from ..errors import CallNotFoundError
from ..organization import Organization
from ..sandbox import SandboxServer
from .call_table import call_table
from .escaping import printable
from .observer import Observer
from .output import count, is_live, stdout_console
from .runner import run

_POLL, _FRAME = 0.5, 0.25  # seconds
_LINES_BESIDE_THE_ROWS = 12
_EXTERNAL_ID = "demo-1"
_DISPOSITION = {"Call Disposition": "APPOINTMENT_MADE"}
# Short calls and few of them, so that some start and some end while one looks.
_CALLS_PER_ORGANIZATION, _MEAN_CALL_SECONDS = 2.5, 20.0


class Stage(Protocol):
    """Shows how the demo goes on."""

    def show(self, observer: Observer) -> None:
        """Show the current picture."""
        ...

    def tell(self, line: str) -> None:
        """Say something that stays."""
        ...


@click.command()
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=8.0, show_default=True, help="How long to look.")
@click.option("--organizations", type=click.IntRange(1, 1000), default=4, show_default=True, metavar="N")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed, the same calls.")
def demo(seconds: float, organizations: int, seed: int) -> int:
    """Watch made-up calls come and go: no account, no network, a few seconds.

    It starts the sandbox, polls its organizations through the real client, updates a call and sums up.
    """
    server = SandboxServer(
        organizations=organizations,
        seed=seed,
        calls_per_organization=_CALLS_PER_ORGANIZATION,
        mean_call_seconds=_MEAN_CALL_SECONDS,
        epoch=datetime.now(UTC),
    )
    return run(_demo(server, seconds, stdout_console()))


async def _demo(server: SandboxServer, seconds: float, console: Console) -> int:
    async with server, CallsInProgressClient(token=server.token, base_url=server.url) as client:
        organizations = [Organization(number, kind) for number, kind in server.organizations]
        _print(
            console, f"The sandbox at {server.url} has {count(len(organizations), 'organization')} with made-up calls."
        )
        observer = Observer(client, organizations)
        try:
            with _stage(console) as stage:
                await _look(observer, stage, seconds)
        finally:
            _print(console, f"summary: {observer.summary()}")
    _print(console, "next: `calls-in-progress sandbox` runs the sandbox for programs of your own")
    return 0


async def _look(observer: Observer, stage: Stage, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    now = next_poll = loop.time()
    ends, update_at, updated = now + seconds, now + seconds / 3, False
    while now < ends:
        if now >= next_poll:
            await observer.poll()
            next_poll = now + _POLL
        if now >= update_at and not updated:
            updated = await _update_a_call(observer, stage)
            next_poll = now
        stage.show(observer)
        await asyncio.sleep(min(_FRAME, max(ends - loop.time(), 0)))
        now = loop.time()
    await observer.poll()
    if not updated:
        await _update_a_call(observer, stage)
    stage.show(observer)


async def _update_a_call(observer: Observer, stage: Stage) -> bool:
    """Update the newest call of the first organization that has one. Returns whether there was one."""
    client = observer.client
    for organization, call in observer.calls():
        try:
            await client.update(
                organization,
                transaction_id=call.transaction_id,
                new_external_unique_id=_EXTERNAL_ID,
                custom_data=_DISPOSITION,
            )
        except CallNotFoundError:
            continue  # it has just ended
        found = await client.find(organization, external_unique_id=_EXTERNAL_ID)
        observer.count(found)
        changes = f"external_unique_id={_EXTERNAL_ID!r}, custom_data={_DISPOSITION}"
        stage.tell(f"updated call {call.transaction_id} of {organization}: {changes}")
        stage.tell(f"a find by external_unique_id={_EXTERNAL_ID!r} now answers with {count(len(found), 'call')}")
        return True
    return False


def _print(console: Console, line: str) -> None:
    console.print(Text(printable(line)), soft_wrap=not console.is_terminal)


@contextmanager
def _stage(console: Console) -> Iterator[Stage]:
    if not is_live(console):
        yield _Lines(console)
        return
    with Live(console=console, auto_refresh=False) as live:
        pictures = _Pictures(live)
        try:
            yield pictures
        finally:
            pictures.end()


class _Lines:
    """The first picture, and what is told."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = False

    def show(self, observer: Observer) -> None:
        if not self._shown:
            self._console.print(call_table(observer.rows(), width=self._console.width))
        self._shown = True

    def tell(self, line: str) -> None:
        _print(self._console, line)


class _Pictures:
    """One picture over another, on a terminal."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._told: list[Text] = []
        self._picture: list[RenderableType] = []

    def show(self, observer: Observer) -> None:
        rows = observer.rows()
        console = self._live.console
        room = max(console.height - _LINES_BESIDE_THE_ROWS - len(self._told), 1)
        more = [Text(f"and {count(len(rows) - room, 'more call')}")] if len(rows) > room else []
        events = [Text(printable(event), "dim") for event in observer.events]
        self._picture = [call_table(rows[:room], width=console.width), *more, Text(), *events, *self._told]
        self._live.update(Group(*self._picture, Text(observer.summary(), "bold")), refresh=True)

    def tell(self, line: str) -> None:
        self._told.append(Text(printable(line), "cyan"))

    def end(self) -> None:
        """Leave the last picture standing; the summary comes after it."""
        self._live.update(Group(*self._picture), refresh=True)
