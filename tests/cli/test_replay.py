"""``replay`` serves a recording until it is stopped."""

import json
import os
import signal
from pathlib import Path

import pytest

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.cli import replay as replay_module
from calls_in_progress_async.cli.program import program
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.watch.recorder import FORMAT

ACME = Organization.advertiser(25)


CALL = {"time": 5, "kind": "call_started", "organization": {"id": 25, "type": "advertiser"}}
LINES = [{"format": FORMAT, "time": 5}, {**CALL, "call": {"transaction_id": "ABCD-1"}}]


@pytest.fixture
def recording(tmp_path: Path) -> str:
    """Write a recording of one call."""
    (tmp_path / "day.jsonl").write_text("\n".join(map(json.dumps, LINES)))
    return str(tmp_path / "day.jsonl")


def test_its_options_reach_the_sandbox(recording: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Organizations come from the file, and speed and port from the command line."""
    seen = []

    async def serve(sandbox: SandboxServer, *, as_json: bool) -> int:
        seen.append((sandbox.organizations, sandbox.speed, sandbox.port, as_json))
        return 0

    monkeypatch.setattr(replay_module, "serve", serve)
    assert program.run(["replay", recording]) == 0
    assert program.run(["replay", recording, "--speed", "60", "--port", "8080", "--json"]) == 0
    assert seen == [([ACME], 1.0, 0, False), ([ACME], 60.0, 8080, True)]


async def test_it_serves_the_recorded_calls(command_line, recording: str) -> None:
    """The speed is the sandbox's, and Ctrl-C ends the command quietly."""
    async with command_line() as line:
        process = await line.start("replay", recording, "--speed", "60", "--json")
        assert process.stdout is not None
        sandbox = json.loads(await process.stdout.readline())
        async with CallsInProgressClient(token=sandbox["token"], base_url=sandbox["url"]) as client:
            assert [call.transaction_id for call in await client.find(ACME)] == ["ABCD-1"]
        process.send_signal(signal.SIGINT)
        done = await line.finish(process)
        assert (done.code, done.stderr) == (130, "")


async def test_a_file_that_is_no_recording(command_line, tmp_path: Path) -> None:
    """One line on stderr names the expected file."""
    (tmp_path / "day.jsonl").write_text("hello")
    async with command_line() as line:
        done = await line.execute("replay", str(tmp_path / "day.jsonl"))
        assert done.code == 2
        assert done.stderr.startswith("error: FILE must be a recording")


async def test_ctrl_c_ends_a_wait_for_a_fifo(command_line, tmp_path: Path) -> None:
    """Opening a FIFO waits for its writer."""
    os.mkfifo(tmp_path / "fifo")
    async with command_line() as line:
        process = await line.start("replay", str(tmp_path / "fifo"))
        with open(tmp_path / "fifo", "wb"):  # returns once the program waits, and leaves it waiting for bytes
            process.send_signal(signal.SIGINT)
            done = await line.finish(process)
    assert (done.code, done.stdout) == (130, "")
