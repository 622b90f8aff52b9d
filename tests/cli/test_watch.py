"""``watch`` shows each event once, stops cleanly, and resumes from a checkpoint."""

import asyncio
import io
import json
import os
import re
import signal
import stat
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import click
import pytest
from rich.console import Console
from rich.live import Live

from calls_in_progress_async import Call, CallsInProgressClient, InvalidRequestError, Organization
from calls_in_progress_async.cli import live_table as table_module
from calls_in_progress_async.cli import watch as watch_module
from calls_in_progress_async.cli.call_table import TableOptions
from calls_in_progress_async.cli.live_table import LiveTable
from calls_in_progress_async.cli.watch_lines import JsonLines, TextLines, _shown, describe
from calls_in_progress_async.cli.watch_tally import Tally
from calls_in_progress_async.watch.events import (
    CallChanged,
    CallEnded,
    CallStarted,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
)
from calls_in_progress_async.watch.stats import WatchStats
from calls_in_progress_async.watch.watch import Watch

ORGANIZATION = Organization(2, "advertiser")
ACME = Organization.advertiser(2)
FAST = ("--interval", "0.05")


async def _next(process, event: str) -> dict:
    async with asyncio.timeout(20):
        while text := await process.stdout.readline():
            told = json.loads(text)
            if told["event"] == event:
                return told
    raise AssertionError(f"no {event}")


async def test_lines_of_json_and_ctrl_c(command_line) -> None:
    """Each event is a line with the exact payload; Ctrl-C prints the counts and exits with 130."""
    async with command_line() as line:
        process = await line.start("watch", "advertiser:2", "--json", *FAST)
        first = line.sandbox.start_call(ORGANIZATION, advertiser_name="\x9b")
        told = await _next(process, "started")
        assert (told["organization"], told["call"]) == ("advertiser:2", line.sandbox.live(ORGANIZATION)[0])
        line.sandbox.change_call(ORGANIZATION, first, keypress_1="7", start_time="2024-02-01T09:00:00-07:00")
        changes = (await _next(process, "changed"))["changes"]
        assert changes["keypress_1"] == [None, "7"]
        assert changes["start_time"][1] == "2024-02-01T09:00:00-07:00"
        line.sandbox.fail_next(10_000, status=401)
        failed = await _next(process, "failed")
        assert (failed["error"], "HTTP 401" in failed["message"]) == ("AuthenticationError", True)
        line.sandbox.fail_next(0)
        assert (await _next(process, "recovered"))["gap"] > 0
        line.sandbox.end_call(ORGANIZATION, first)
        assert (await _next(process, "ended"))["call"]["transaction_id"] == first
        process.send_signal(signal.SIGINT)
        done = await line.finish(process)
        assert done.code == 130
        assert re.fullmatch(
            r"watched 1 organization: 1 call started, 1 changed, 1 ended, \d+ requests, "
            r"1 failure, 1 recovered\n",
            done.stderr,
        )


def _leave_after(monkeypatch, display, events: set[str]) -> None:
    """End a watch after events of all these kinds."""
    wanted, show = set(events), display.show

    def show_and_leave(self, event) -> None:
        show(self, event)
        wanted.discard(type(event).__name__)
        if not wanted:
            raise click.exceptions.Exit(0)

    monkeypatch.setattr(display, "show", show_and_leave)


def _leave_when_drawn(monkeypatch, *conditions) -> None:
    """End a watch once pictures have met all these conditions."""
    wanted, tick = set(conditions), LiveTable.tick

    def tick_and_leave(self) -> None:
        tick(self)
        wanted.difference_update([condition for condition in wanted if condition(self)])
        if not wanted:
            raise click.exceptions.Exit(0)

    monkeypatch.setattr(watch_module, "_TICK", 0.02)
    monkeypatch.setattr(LiveTable, "tick", tick_and_leave)


def _fails(number: int):
    return lambda table: len(table._footer._tally.failing) == number


def _has(style: str):
    return lambda table: any(row.style == style for _, row in table._recent.values())


async def test_a_checkpoint_survives_a_restart(command_line, tmp_path, monkeypatch) -> None:
    """After a restart, known calls do not start again, and later changes and ends are events."""
    file = tmp_path / "checkpoint.json"
    async with command_line() as line:
        arguments = ("watch", "advertiser:2", "--json", "--checkpoint", str(file), *FAST)
        kept, changed, gone = (line.sandbox.start_call(ORGANIZATION) for _ in range(3))
        process = await line.start(*arguments)
        for _ in range(3):
            await _next(process, "started")
        process.send_signal(signal.SIGTERM)
        assert (await line.finish(process)).code == 143
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
        assert os.listdir(tmp_path) == ["checkpoint.json"]
        line.sandbox.end_call(ORGANIZATION, gone)
        line.sandbox.change_call(ORGANIZATION, changed, keypress_1="7")
        new = line.sandbox.start_call(ORGANIZATION)
        _leave_after(monkeypatch, JsonLines, {"CallChanged", "CallEnded", "CallStarted", "OrganizationResumed"})
        done = await line.invoke(*arguments)
        assert done.exit_code == 0
        told = [json.loads(text) for text in done.stdout.splitlines()]
        calls = {(each["event"], each["call"]["transaction_id"]) for each in told if "call" in each}
        assert calls == {("changed", changed), ("ended", gone), ("started", new)}
        assert "resumed" in [each["event"] for each in told]
        assert kept in file.read_text()


async def test_a_watch_writes_a_line_for_each_event_into_a_pipe(command_line, monkeypatch) -> None:
    """Events are lines in words in a pipe, with callers masked except with --show-numbers."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION, calling_phone_number="+18055551234\x1b")
        arguments = ("watch", "--organizations", "-", *FAST)
        _leave_after(monkeypatch, TextLines, {"CallStarted", "OrganizationFailed"})
        done = await line.invoke(*arguments, stdin="advertiser:2\nadvertiser:99\n")
        assert done.exit_code == 0
        assert re.search(rf"^\d\d:\d\d:\d\d advertiser:2 started  {call} from \.\.\.1234$", done.stdout, re.MULTILINE)
        assert "advertiser:99 failed   HTTP 403: id: is invalid" in done.stdout
        monkeypatch.undo()
        _leave_after(monkeypatch, TextLines, {"CallStarted"})
        done = await line.invoke(*arguments, "--show-numbers", stdin="advertiser:2")
        assert r"from +18055551234\x1b" in done.stdout


async def test_a_live_table_on_a_terminal(command_line, monkeypatch) -> None:
    """The live table has the calls, highlights, failures, and a footer with rate and age."""
    _leave_when_drawn(monkeypatch, _has("green"), _has("red strike"), _fails(1))
    async with command_line(mean_call_seconds=0.3, calls_per_organization=5, organizations=3) as line:
        arguments = ("watch", "advertiser:2", "advertiser:3", "advertiser:99", *FAST)
        terminal = await line.on_terminal(monkeypatch, *arguments)
        assert terminal.code == 0
        for shown in (
            "transaction id",
            "advertiser:99 fails: HTTP 403",
            "requests/s",
            "s old, at most",
            "Ctrl-C stops",
        ):
            assert shown in terminal.output
        assert "\x1b[32m" in terminal.output  # started
        assert "\x1b[9;31m" in terminal.output  # ended
        assert "\x1b[?25h" in terminal.output
        assert "watched 3 organizations: " in terminal.output


@pytest.mark.parametrize(("columns", "shown"), [(40, "organization  transaction id  caller"), (20, "transaction id")])
async def test_a_live_table_on_a_narrow_terminal(command_line, monkeypatch, columns, shown) -> None:
    """The live table leaves columns out rather than cut an id."""
    _leave_when_drawn(monkeypatch, _has("green"))
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        terminal = await line.on_terminal(monkeypatch, "watch", "advertiser:2", *FAST, columns=columns)
        assert terminal.code == 0
        assert call in terminal.output
        assert re.search(rf"{shown} *\x1b\[0m *\r\n", re.sub(r"\x1b\[0m(?= *\x1b\[1m)|\x1b\[1m", "", terminal.output))


async def test_more_than_the_terminal_can_hold(command_line, monkeypatch) -> None:
    """Calls with events come first, and the rest is counted out."""
    _leave_when_drawn(monkeypatch, _has("yellow"), _fails(4))
    monkeypatch.setattr(watch_module, "_TICK", 0.1)
    monkeypatch.setattr(table_module, "_RECENT_CALLS", 5)
    async with command_line(calls_per_organization=4, organizations=20, changes_per_call=0) as line:
        call = line.sandbox.start_call(Organization(20, "advertiser"), external_unique_id="\x1b[2J")
        names = [*(f"advertiser:{number}" for number in range(2, 21)), *(f"advertiser:{n}" for n in range(100, 104))]
        asked = asyncio.create_task(line.on_terminal(monkeypatch, "watch", *names, "--interval", "0.2"))
        while line.sandbox.stats.organizations[Organization(20, "advertiser")] < 2:
            await asyncio.sleep(0.01)
        line.sandbox.change_call(Organization(20, "advertiser"), call, keypress_1="7")
        terminal = await asked
        assert terminal.code == 0
        assert "and more calls" in terminal.output
        assert "and 2 more failing organizations" in terminal.output
        assert call in terminal.output
        assert "\x1b[33m" in terminal.output  # changed


async def test_the_server_goes_away_and_comes_back(command_line) -> None:
    """An outage ends no call and stops no watch."""
    async with command_line() as line:
        line.sandbox.start_call(ORGANIZATION)
        process = await line.start("watch", "advertiser:2", "--json", "--timeout", "0.2", *FAST)
        await _next(process, "started")
        await line.sandbox.close()
        await _next(process, "failed")
        process.send_signal(signal.SIGINT)
        done = await line.finish(process)
        assert done.code == 130
        assert "0 ended" in done.stderr
        assert "Traceback" not in done.stderr


async def test_a_reader_that_goes_away(command_line, tmp_path) -> None:
    """Under ``| head -1``, the watch ends quietly; an unread event comes again after a restart."""
    file = tmp_path / "checkpoint.json"
    async with command_line() as line:
        line.sandbox.start_call(ORGANIZATION)
        process = await line.start("watch", "advertiser:2", "--json", "--checkpoint", str(file), *FAST)
        await _next(process, "started")
        process.stdout._transport.close()
        await asyncio.sleep(0)  # the pipe closes now; a poll on its way must not see the next call before
        line.sandbox.start_call(ORGANIZATION)
        done = await line.finish(process)
        assert done.code == 141
        assert "Traceback" not in done.stderr
        assert not file.exists()


async def test_usage_errors(command_line) -> None:
    """A missing organization and an unusable interval or time are usage errors."""
    async with command_line() as line:
        for name in ("--interval", "--seconds", "--timeout", "--rate"):
            for value in ("nan", "inf"):
                done = await line.invoke("watch", "advertiser:2", name, value)
                assert done.exit_code == 2
                assert done.stderr.endswith(f"'{name}': must be a finite number, got {value}\n")
        assert (await line.invoke("watch")).exit_code == 2


def test_events_in_words() -> None:
    """Unknown values are named as such; phone numbers are masked in changes too."""
    before = Call.from_payload({"transaction_id": "AB-1", "calling_phone_number": "+18055551234"})
    after = Call.from_payload({"transaction_id": "AB-1", "calling_phone_number": "+18055559999", "city": "Fresno"})
    changed = CallChanged(ACME, after, before)
    assert (
        describe(changed, masked=True)
        == "changed  AB-1 calling_phone_number: ...1234 -> ...9999, city: nothing -> Fresno"
    )
    assert "calling_phone_number: +18055551234 -> +18055559999" in describe(changed, masked=False)
    assert describe(CallChanged(ACME, after, None), masked=True) == "changed  AB-1 since the checkpoint"
    assert describe(OrganizationRecovered(ACME, 2.04), masked=True).startswith(
        "recovered after 2.0 s without a response"
    )
    assert describe(OrganizationResumed(ACME, 2.04), masked=True).startswith("resumed  after 2.0 s without a watch")
    unknown = Call.from_payload({"transaction_id": "AB-1"})
    assert describe(CallStarted(ACME, unknown), masked=True) == "started  AB-1 from an unknown number"
    assert describe(CallEnded(ACME, unknown), masked=True) == "ended    AB-1 after an unknown time"


def test_a_change_of_any_value_is_json(capsysbinary) -> None:
    """Times are ISO 8601, and values without a form in JSON are text."""
    call = Call.from_payload({"transaction_id": "AB-1"})
    JsonLines().show(CallChanged(ACME, call, call, {"extra": ({1}, 1.5)}))
    assert json.loads(capsysbinary.readouterr().out)["changes"] == {"extra": ["{1}", 1.5]}


async def test_seconds_ends_a_watch(command_line, tmp_path) -> None:
    """--seconds ends a watch with exit code 0 and a checkpoint."""
    async with command_line() as line:
        file = tmp_path / "checkpoint.json"
        done = await line.invoke("watch", "advertiser:2", "--seconds", "0.01", "--checkpoint", str(file))
        assert (done.exit_code, file.exists()) == (0, True)


@pytest.mark.parametrize("others", [0, 3, 4, 5, 9])
@pytest.mark.parametrize("last", [0, 1, 4])
def test_highlighted_calls_come_first_if_there_are_too_many(others: int, last: int) -> None:
    """A changed call and an ended one come first from any place in the list."""
    calls = [Call.from_payload({"transaction_id": str(number)}) for number in range(others + last + 1)]
    changed = calls.pop(others)
    watch = SimpleNamespace(calls={ACME: calls[:others], Organization.advertiser(3): [changed, *calls[others:]]})
    table = LiveTable(cast(Live, None), cast(Watch, watch), list, TableOptions())
    ended = Call.from_payload({"transaction_id": "E"})
    table.show(CallEnded(ACME, ended))
    table.show(CallChanged(Organization.advertiser(3), changed, None))
    names = [row.call.transaction_id for row in table.rows(5)]
    assert {changed.transaction_id, "E"} <= set(names[:4])
    assert len(names) == len(set(names)) == min(5, others + last + 2)


def test_highlights_fade_and_are_bounded(monkeypatch) -> None:
    """A call stands out for 3 seconds; of very many, the latest 200."""
    watch = SimpleNamespace(calls={})
    live = Live(console=Console(file=io.StringIO(), width=80), auto_refresh=False)
    table = LiveTable(live, cast(Watch, watch), list, TableOptions())
    monkeypatch.setattr(table_module.clock, "now", lambda: 100.0)
    for number in range(300):
        table.show(CallEnded(ACME, Call.from_payload({"transaction_id": str(number)})))
    assert [row.call.transaction_id for row in table.rows(1_000)] == [str(number) for number in range(299, 99, -1)]
    for seconds, shown in ((102.9, 200), (103.1, 0)):
        monkeypatch.setattr(table_module.clock, "now", lambda seconds=seconds: seconds)
        table.tick()
        assert len(table.rows(1_000)) == shown


def test_recoveries_and_merges_are_counted(capsysbinary) -> None:
    """Recoveries and merges are in JSON and in the counts, and are no rows."""
    failed, recovered = OrganizationFailed(ACME, ValueError("no")), OrganizationRecovered(ACME, 1.5)
    watch, tally = cast(Watch, None), Tally()
    table = LiveTable(cast(Live, None), watch, list, TableOptions())
    for event in (failed, recovered):
        table.show(event)  # a failure is no row
    assert not table._recent
    JsonLines().show(failed)
    assert json.loads(capsysbinary.readouterr().out)["error"] == "ValueError"
    JsonLines().show(recovered)
    assert json.loads(capsysbinary.readouterr().out)["gap"] == 1.5
    tally.count(failed)
    assert tally.failing == {ACME: failed.error}
    tally.count(recovered)
    assert not tally.failing
    stats = {field.name: 2 for field in WatchStats.__attrs_attrs__}
    summary = tally.summary(WatchStats(**stats))
    assert summary.endswith("2 requests, 1 failure, 1 recovered, 2 merged events")


@pytest.mark.parametrize(
    ("named", "token", "code"),
    [
        (["advertiser:2"], "sandbox-token", 0),
        (["advertiser:2", "advertiser:99"], "sandbox-token", 1),
        (["advertiser:2"], "wrong", 3),
    ],
)
async def test_an_organization_that_fails_to_the_end_is_an_exit_code(
    command_line, monkeypatch, named, token, code
) -> None:
    """A watch with an organization that fails to the end has a failure's exit code."""

    async def follow(watch, tally, *_) -> None:
        while not (tally.failing if code else watch.calls):
            tally.count(await anext(watch))

    monkeypatch.setattr(watch_module, "_follow", follow)
    async with command_line() as line:
        line.sandbox.start_call(ORGANIZATION)
        done = await line.invoke("watch", *named, CALLS_IN_PROGRESS_TOKEN=token)
        assert done.exit_code == code


async def test_a_bug_is_not_hidden(command_line, monkeypatch) -> None:
    """A bug of the program is not reported as an organization's failure."""

    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(CallsInProgressClient, "find", fail)
    async with command_line() as line:
        done = await line.invoke("list", "advertiser:2")
        assert isinstance(done.exception, ZeroDivisionError)


def test_a_bad_setting_is_not_reported_as_a_bad_checkpoint() -> None:
    """Only an error about the checkpoint names the file."""

    def watch(*_: object, **__: object) -> Watch:
        raise InvalidRequestError("interval must be more than 0, got 0", parameter="interval")

    options = SimpleNamespace(checkpoint=SimpleNamespace(read=lambda: None), organizations=[], interval=0)
    with pytest.raises(InvalidRequestError, match=r"^interval"):
        watch_module._open(SimpleNamespace(watch=watch), options)


def test_a_changed_time_is_shown_in_iso_format() -> None:
    """A time is no phone number, so masking leaves it as it is."""
    time = datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert _shown("start_time", time, masked=True) == "2026-11-25T12:00:00+00:00"
