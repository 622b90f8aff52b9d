"""``demo`` shows the product in a few seconds."""

import re
import signal
from types import SimpleNamespace
from typing import cast

import click
import pytest
from rich.text import Text

from calls_in_progress_async import Call, CallNotFoundError, CallsInProgressClient, Organization
from calls_in_progress_async.cli import demo as demo_module
from calls_in_progress_async.cli.demo import Demo, Stage
from calls_in_progress_async.watch.watch import Watch

SUMMARY = r"summary: \d+ organizations: \d+ calls? started, \d+ changed, \d+ ended, \d+ requests?"


async def test_the_demo_writes_plain_lines_into_a_pipe(command_line) -> None:
    """A pipe gets the events, the update, a table and the counts, without escape codes."""
    async with command_line() as line:
        done = await line.invoke("demo", "--seconds", "1.5", "--organizations", "3", "--seed", "5")
        assert (done.exit_code, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        assert re.search(r"^\d\d:\d\d:\d\d \w+:\d started  [0-9A-F-]+ from \.\.\.\d{4}$", done.stdout, re.MULTILINE)
        assert re.search(r"^updated call [0-9A-F-]+ of (network|advertiser):\d", done.stdout, re.MULTILINE)
        assert "external_unique_id='demo-1' now returns 1 call\n" in done.stdout
        assert "external_unique_id: nothing -> demo-1" in done.stdout
        assert done.stdout.count("transaction id") == 1
        assert re.search(rf"^{SUMMARY}$", done.stdout, re.MULTILINE)


async def test_the_demo_draws_a_live_table_on_a_terminal(command_line, monkeypatch) -> None:
    """A terminal gets one frame over another, with masked callers, the latest events and the counts."""
    expected, footer = {" started  ", " ended    ", "updated call"}, Demo.footer

    def footer_until_all_is_shown(self: Demo) -> list[Text]:
        if not expected:
            raise click.exceptions.Exit(0)
        lines = footer(self)
        expected.difference_update([shown for shown in expected if any(shown in line.plain for line in lines)])
        return lines

    monkeypatch.setattr(Demo, "footer", footer_until_all_is_shown)
    monkeypatch.setattr(demo_module, "_INTERVAL", 0.02)
    monkeypatch.setattr(demo_module, "_TICK", 0.02)
    monkeypatch.setattr(demo_module, "_MEAN_CALL_SECONDS", 0.5)
    async with command_line() as line:
        terminal = await line.on_terminal(monkeypatch, "demo", "--seconds", "3", lines=14)
        assert (terminal.code, expected) == (0, set())
        assert terminal.output.count("transaction id") > 1
        for shown in (" started  ", " ended    ", "updated call", "\x1b[32m", "\x1b[9;31m"):
            assert shown in terminal.output
        assert "\x1b[?25h" in terminal.output  # the cursor is back
        assert not re.search(r"\+1\d{10}", terminal.output)
        assert re.search(SUMMARY, terminal.output)


class _Client:
    """Updates the call B only; A has ended."""

    async def update(self, _: Organization, *, transaction_id: str, **changes: object) -> None:
        if transaction_id == "A":
            raise CallNotFoundError("HTTP 404", status=404)

    async def find(self, *_: object, **__: object) -> list[str]:
        return ["B"]


class _Watch:
    """Has no call, then an ended call, then a live call too."""

    def __init__(self) -> None:
        self._names = iter(["", "A", "AB"])

    @property
    def calls(self) -> dict[Organization, list[Call]]:
        names = next(self._names, "")
        return {Organization.network(1): [Call.from_payload({"transaction_id": name}) for name in names]}


@pytest.mark.parametrize(("seconds", "updated"), [(0, False), (3_600, True)])
async def test_a_call_that_ends_before_its_update_is_skipped(monkeypatch, seconds, updated) -> None:
    """The demo looks for a call to update until there is one, or its time is over."""
    remarks: list[str] = []

    async def follow(*_: object) -> None:
        pass

    monkeypatch.setattr(demo_module, "follow", follow)
    stage = SimpleNamespace(remark=remarks.append, tick=lambda: None)
    await Demo(cast(CallsInProgressClient, _Client()), cast(Watch, _Watch())).play(cast(Stage, stage), seconds)
    assert [remark.startswith("updated call B of network:1: ") for remark in remarks[:1]] == [True] * updated


async def test_ctrl_c_sums_up(command_line) -> None:
    """Ctrl-C stops the demo at once, prints the counts, and exits with 130."""
    async with command_line() as line:
        process = await line.start("demo", "--seconds", "60")
        assert process.stdout is not None
        while b"started" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        done = await line.finish(process)
        assert (done.code, done.stderr) == (130, "")
        assert re.search(SUMMARY, done.stdout)
