"""The command ``fleet status``, and the monitor behind it."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import logging
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fleet.fake_monitor import FakeMonitor, live_console
from fleet.nats_server import NatsServer
from fleet.test_status import beat
from rich.console import Console
from rich.table import Table

import calls_in_progress_async.fleet.monitor
from calls_in_progress_async.cli import fleet_status
from calls_in_progress_async.cli.fleet import show_warnings
from calls_in_progress_async.cli.program import program
from calls_in_progress_async.fleet import FleetError, FleetStatus, WorkerStatus
from calls_in_progress_async.fleet.log import Log
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.fleet.log_values import Consumer, StreamState
from calls_in_progress_async.fleet.monitor import FleetMonitor
from calls_in_progress_async.fleet.picture import FleetPicture
from calls_in_progress_async.testing import virtual_clock


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> type[FakeMonitor]:
    """Replace the monitor, and run ``fleet status`` in virtual time."""
    monkeypatch.setattr(calls_in_progress_async.fleet.monitor, "FleetMonitor", FakeMonitor)
    monkeypatch.setattr(fleet_status, "run", virtual_clock.run)
    return FakeMonitor


def test_status_in_json_has_totals_workers_log_and_consumers(
    monitor: type[FakeMonitor], capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker that leaves is left out."""
    assert program.run(["fleet", "status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    figures = {"shards": 4, "organizations": 1200, "failing": 1, "staleness": 4.5, "rate": 100.0}
    rates = {"polls_per_second": 10.0, "events_per_second": 100.0}
    assert status == {
        "fleet": "prod",
        "total": {"workers": 1, **figures, **rates},
        "workers": [{"worker": "one", "share": 0.5, "refused": 2, **figures, **rates}],
        "log": {"shards": 8, "first": 1, "last": 9, "bytes": 2_500_000, "max_age": 604800.0},
        "consumers": [{"group": "billing", "lag": 1000, "unacknowledged": 2}],
    }
    assert not monitor.is_open


def test_status_in_a_pipe_is_one_picture(monitor: type[FakeMonitor], capsys: pytest.CaptureFixture[str]) -> None:
    """The picture has a heading, a table of workers, and a table of consumers."""
    assert program.run(["fleet", "status", "--seconds", "1"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("polls/s") == 1
    assert "2 workers" in shown
    assert "billing    1,000               2" in shown
    assert monitor.looks[-1] - monitor.looks[0] == 1.0


def test_status_on_a_terminal_is_drawn_each_second(monitor: type[FakeMonitor], monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong name is found at once; pictures follow from the second second, until the seconds are over."""
    shown = live_console(monkeypatch, fleet_status)
    assert program.run(["fleet", "status", "--seconds", "3"]) == 0
    assert [each - monitor.looks[0] for each in monitor.looks] == [0.0, 1.0, 2.0]
    assert "listening for the workers' beats" in shown.getvalue()
    assert "billing" in shown.getvalue()
    assert not monitor.is_open


def worker_status(name: str, **figures: Any) -> WorkerStatus:
    defaults = {"shards": 4, "organizations": 1200, "failing": 0, "share": 0.5, "staleness": 1.5, "rate": None}
    rates = {"polls_per_second": 240.0, "events_per_second": 31.0, "refused": 0}
    return WorkerStatus(worker=name, **{**defaults, **rates, **figures})


def drawn(
    *workers: WorkerStatus,
    shards: int | None = 8,
    consumers: Sequence[Consumer] = FakeMonitor.groups,
    width: int = 80,
    size: int = 2_500_000,
    height: int = 24,
) -> list[str]:
    """Return the lines of a picture."""
    log = None if shards is None else StreamState(shards, 1, 9, size, 604800.0)
    picture = FleetPicture(
        name="prod", status=FleetStatus(workers=workers, interval=5.0, polls=0), log=log, consumers=consumers
    )
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(fleet_status.draw(picture, height))
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_a_picture_has_all_figures_at_80_columns(width: int) -> None:
    """No line is wrapped or cut, and the totals are in the last row."""
    workers = [worker_status("one", rate=1000.0), worker_status("pod-1", rate=1000.0, organizations=25_000)]
    assert drawn(*workers, width=width) == [
        "fleet prod   log 2.5 MB",
        "",
        "worker     shards  organizations  share  staleness  polls/s    limit  events/s",
        "one             4          1,200    50%      1.5 s    240.0  1,000.0      31.0",
        "pod-1           4         25,000    50%      1.5 s    240.0  1,000.0      31.0",
        "2 workers       8         26,200   100%      1.5 s    480.0  2,000.0      62.0",
        "",
        "consumers    lag  unacknowledged",
        "billing    1,000               2",
    ]


def test_the_documented_picture_is_one_of_today() -> None:
    """The page about fleets shows three workers and a group."""
    names, organizations = ("pod-7f9c4", "pod-b21d0", "pod-w31kq"), (121, 96, 83)
    figures = [(22, 0.4, 4.5, 20.1, 20.2, 17.1), (21, 0.32, 4.6, 16.0, 16.0, 8.3), (21, 0.28, 4.6, 13.8, 13.8, 10.3)]
    workers = [
        worker_status(
            name,
            organizations=number,
            shards=shards,
            share=share,
            staleness=staleness,
            polls_per_second=polls,
            rate=rate,
            events_per_second=events,
        )
        for name, number, (shards, share, staleness, polls, rate, events) in zip(
            names, organizations, figures, strict=True
        )
    ]
    consumers = [Consumer("billing", 388, 41, 3, 1)]
    shown = drawn(*workers, shards=64, size=2_100_000, consumers=consumers)
    page = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text(encoding="utf-8")
    assert "\n".join(shown) in page


def test_a_picture_names_the_troubles() -> None:
    """Unpolled shards, outages, refused writes and the lack of workers, consumers or the log itself."""
    lines = drawn(worker_status("one", failing=2, refused=1), consumers=(), width=120)
    assert lines[0] == (
        "fleet prod   log 2.5 MB   4 of 8 shards polled   2 organizations failing   1 stale write refused"
    )
    assert lines[-1] == "no consumers"
    lines = drawn(shards=None)
    assert lines[0] == "fleet prod   the log does not respond"
    assert lines[2] == "no worker is heard: is one running?"


def test_a_worker_with_late_polls_is_highlighted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its oldest response is older than two intervals."""
    status = FleetStatus(
        workers=(worker_status("a", staleness=9.9), worker_status("b", staleness=10.1)), interval=5.0, polls=0
    )
    picture = FleetPicture(name="prod", status=status, log=None, consumers=())
    (table,) = [each for each in fleet_status.draw(picture, 24).renderables if isinstance(each, Table)]
    assert [row.style for row in table.rows] == ["", "red"]


def test_workers_without_room_on_the_screen_are_counted() -> None:
    """The totals and the consumers stay on the screen."""
    lines = drawn(*(worker_status(f"w{number}") for number in range(30)), height=24)
    assert len(lines) <= 24
    assert "and 15 more workers" in lines
    assert lines[-1].startswith("billing")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudoterminals here")
def test_status_on_a_real_terminal(server: NatsServer) -> None:
    """With a real server, handmade beats, and a screen of 80 columns: live pictures over one another."""
    name = "on_terminal"
    screen, keyboard = pty.openpty()
    fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    arguments = ["fleet", "status", "--servers", server.url, "--name", name]

    async def main() -> str:
        log = Log(LogSettings(servers=server.url, name=name, shards=8))
        await log.connect("t")
        await log.ensure_stream()
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "calls_in_progress_async", *arguments, stdout=keyboard, stderr=keyboard,
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        shown, polls = "", 0
        while shown.count("one ") < 2:
            polls += 10
            await log.send_beat(beat("one", polls, shards=8))
            await asyncio.sleep(0.1)
            while select.select([screen], [], [], 0)[0]:
                shown += os.read(screen, 65536).decode()
        running.send_signal(signal.SIGINT)
        await running.wait()
        await log.close()
        return shown

    try:
        shown = asyncio.run(main())
    finally:
        os.close(screen)
        os.close(keyboard)
    assert "fleet on_terminal" in shown
    assert "\x1b[1A" in shown  # one picture over another
    assert all(len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)) <= 80 for line in shown.splitlines())


async def test_a_monitor_of_a_frozen_server_shows_no_log(own_server: NatsServer) -> None:
    """There is no log and no consumer, and no error."""
    log = Log(LogSettings(servers=own_server.url, name="t", shards=8))
    await log.connect("t")
    await log.ensure_stream()
    async with FleetMonitor(own_server.url, name="t") as monitor:
        while not monitor.status.workers:
            await log.send_beat(beat("one", 0))
            await asyncio.sleep(0.01)
        state = await monitor.log()
        assert state is not None
        assert (state.shards, await monitor.consumers()) == (8, [])
        own_server.signal(signal.SIGSTOP)
        while await monitor.log() is not None:  # a signal takes a moment
            pass
        assert await monitor.consumers() == []
        own_server.signal(signal.SIGCONT)
    await log.close()


async def test_a_monitor_that_cannot_connect_is_closed() -> None:
    """An error at the entrance leaves nothing open."""
    with pytest.raises(FleetError, match="Cannot connect to NATS"):
        async with FleetMonitor("nats://127.0.0.1:1", name="t", connection={"flavour": 1}):
            pass


def test_a_missing_server_is_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that waits for a server says so, once."""
    show_warnings()
    show_warnings()
    logging.getLogger("calls_in_progress_async.fleet").warning("NATS: no route")
    assert capsys.readouterr().err == "NATS: no route\n"
