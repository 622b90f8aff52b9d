"""``demo`` shows all of it in a few seconds."""

import re
import signal
from typing import cast

import pytest

from calls_in_progress_async import Call, CallNotFoundError, CallsInProgressClient, CurrentCalls, Organization
from calls_in_progress_async.cli import demo as demo_module
from calls_in_progress_async.cli.observer import Observer


async def test_in_a_pipe_it_is_plain_lines(command_line) -> None:
    """The first picture, the update, the summary; no escape codes."""
    async with command_line() as line:
        done = await line.execute("demo", "--seconds", "0.7", "--organizations", "3", "--seed", "5")
        assert (done.code, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        assert done.stdout.count("transaction id") == 1
        assert re.search(r"updated call [0-9A-F-]+ of (network|advertiser):\d", done.stdout)
        assert "external_unique_id='demo-1' now answers with 1 call\n" in done.stdout
        assert re.search(
            r"^summary: \d+ requests, \d+ calls seen, \d started, \d ended, median latency \d+\.\d ms$",
            done.stdout,
            re.MULTILINE,
        )


async def test_on_a_terminal_it_is_a_live_table(command_line, monkeypatch) -> None:
    """Pictures are drawn over one another, callers are masked, and the sum stands at the end."""
    monkeypatch.setattr(demo_module, "_POLL", 0.02)
    monkeypatch.setattr(demo_module, "_FRAME", 0.02)
    monkeypatch.setattr(demo_module, "_MEAN_CALL_SECONDS", 0.3)
    async with command_line() as line:
        terminal = await line.on_terminal(monkeypatch, "demo", "--seconds", "0.7", "--organizations", "20")
        assert terminal.code == 0
        assert terminal.output.count("transaction id") > 1
        assert "more calls" in terminal.output
        assert "started" in terminal.output
        assert "ended" in terminal.output
        assert "updated call" in terminal.output
        assert "\x1b[?25h" in terminal.output  # the cursor is back
        assert not re.search(r"\+1\d{10}", terminal.output)
        assert "summary: " in terminal.output


async def test_changes_are_highlighted(command_line, monkeypatch) -> None:
    """Its own update changes a call, which stands out in the next picture."""
    monkeypatch.setattr(demo_module, "_POLL", 0.04)
    monkeypatch.setattr(demo_module, "_FRAME", 0.01)
    async with command_line() as line:
        terminal = await line.on_terminal(monkeypatch, "demo", "--seconds", "1")
        assert "\x1b[33m" in terminal.output


@pytest.mark.parametrize("ended", [1, 10_000])
async def test_a_call_that_ends_before_it_is_updated_is_passed_over(command_line, monkeypatch, ended) -> None:
    """The next one is taken; with none left the demo goes on without."""
    update = CallsInProgressClient.update
    calls = 0

    async def update_late(self, *arguments, **options):
        nonlocal calls
        calls += 1
        if calls <= ended:
            raise CallNotFoundError("HTTP 404", status=404)
        return await update(self, *arguments, **options)

    monkeypatch.setattr(CallsInProgressClient, "update", update_late)
    monkeypatch.setattr(demo_module, "_FRAME", 0.01)
    async with command_line() as line:
        done = await line.invoke("demo", "--seconds", "0.1")
        assert done.exit_code == 0
        assert ("updated call" in done.stdout) == (ended == 1)


async def test_the_observer_tells_what_is_new() -> None:
    """What is as it was does not stand out."""
    answers = iter([["A", "B", "C"], ["A", "B2", "D"], ["A", "B2", "D"]])

    class Client:
        async def find(self, _: Organization) -> CurrentCalls:
            calls = [{"transaction_id": name[0], "call_status": name} for name in next(answers)]
            return CurrentCalls(tuple(map(Call.from_payload, calls)))

    observer = Observer(cast(CallsInProgressClient, Client()), [Organization.network(1)])
    styles = []
    for _ in range(3):
        await observer.poll()
        styles.append([(row.call.transaction_id, row.style) for row in observer.rows()])
    nothing = [("A", ""), ("B", ""), ("C", "")]
    assert styles == [nothing, [("A", ""), ("B", "yellow"), ("D", "green")], [("A", ""), ("B", ""), ("D", "")]]
    assert list(observer.events) == ["- call C of network:1 ended", "+ call D of network:1 started"]
    assert observer.summary() == "0 requests, 4 calls seen, 1 started, 1 ended, median latency unknown"


async def test_ctrl_c_sums_up(command_line) -> None:
    """It stops at once, says what was seen, and exits with 130."""
    async with command_line() as line:
        process = await line.start("demo", "--seconds", "60")
        assert process.stdout is not None
        while b"bridged" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        done = await line.finish(process)
        assert (done.code, done.stderr) == (130, "")
        assert "summary: " in done.stdout
