"""``replay`` serves a recording until it is stopped."""

import json
import signal
from pathlib import Path

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.watch.recorder import FORMAT

ACME = Organization.advertiser(25)


async def test_it_serves_the_recorded_calls(command_line, tmp_path: Path) -> None:
    """The speed is the sandbox's, and Ctrl-C ends the command quietly."""
    call = {"time": 5, "kind": "call_started", "organization": {"id": 25, "type": "advertiser"}}
    lines = [{"format": FORMAT, "time": 5}, {**call, "call": {"transaction_id": "ABCD-1"}}]
    (tmp_path / "day.jsonl").write_text("\n".join(map(json.dumps, lines)))
    async with command_line() as line:
        process = await line.start("replay", str(tmp_path / "day.jsonl"), "--speed", "60", "--json")
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
        assert "must be a recording" in done.stderr
