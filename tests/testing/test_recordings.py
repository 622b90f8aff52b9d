"""A watch is recorded without callers' numbers, and the recording is served again on either clock."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from calls_in_progress_async import Call, CallsInProgressClient, InvalidRequestError, Organization, clock
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.testing import PrivacyCheck, ScriptedTransport, calls, make_call, play, replay, run
from calls_in_progress_async.watch.recorder import FORMAT

ACME, GLOBEX = Organization.advertiser(2), Organization.network(1)
NUMBER = "+18055550142"
PEOPLE = {
    "note": {"value": f"call {NUMBER} back", "source": "x"},
    NUMBER: {"value": "no", "source": "x"},
    "demographics_data": {"display_name_data_append": "Wei Lindqvist"},
}


ODD_CALL = {"transaction_id": "A", "city": "\ud800", "external_unique_id": f"\ud800{NUMBER}"}


async def watch_until(sandbox: SandboxServer, seconds: float, **settings: Any) -> list[tuple[float, str, str]]:
    """Watch a sandbox; return the second, kind and call of each event."""
    seen, began = [], clock.now()
    async with (
        sandbox,
        CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client,
        client.watch(sandbox.organizations, interval=1, **settings) as watch,
    ):
        try:
            async with asyncio.timeout(seconds):
                async for event in watch:
                    seen += [(round(clock.now() - began), event.kind, event.call.transaction_id)]
        except TimeoutError:
            return seen


def record(path: Path, **settings: Any) -> list[tuple[float, str, str]]:
    """Record a minute of three calls."""

    async def main() -> list[tuple[float, str, str]]:
        sandbox = SandboxServer(organizations=2, calls_per_organization=0)
        people = {"calling_phone_number": NUMBER, "custom_data": PEOPLE}
        play(sandbox, ACME, "starts at 0", "changes at 12: city=Rome", "ends at 40", **people)
        play(sandbox, GLOBEX, "starts at 5", "ends at 20", extra=[NUMBER, 18055550142, 1.5, True], **people)
        play(sandbox, ACME, "starts at 30", calling_phone_number=None)
        return await watch_until(sandbox, 60, record=path, **settings)

    return run(main)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("numbers", ["hashed", "masked", "plain"])
def test_a_day_is_served_again(tmp_path: Path, numbers: str) -> None:
    """A watch of the replay sees the recorded events, a second later at most."""
    recorded = record(tmp_path / "day.jsonl", record_numbers=numbers)
    assert len(recorded) == 6

    async def main() -> list[tuple[float, str, str]]:
        return await watch_until(replay(tmp_path / "day.jsonl"), 60)

    served = run(main)
    assert [event[1:] for event in served] == [event[1:] for event in recorded]
    assert all(0 <= late[0] - event[0] <= 1 for late, event in zip(served, recorded, strict=True))


@pytest.mark.parametrize(("second", "shown"), [(-60, []), (3, ["1"]), (13, ["1"]), (35, ["3", "1"]), (50, ["3"])])
def test_a_replay_starts_at_any_moment(tmp_path: Path, second: int, shown: list[str]) -> None:
    """The callers on the screen at a moment of the day are there at once, as they were."""
    record(tmp_path / "day.jsonl")
    noon = datetime.fromtimestamp(lines_of(tmp_path / "day.jsonl")[1]["time"], UTC)

    async def main() -> list[Call]:
        async with (
            replay(tmp_path / "day.jsonl", start=noon + timedelta(seconds=second)) as sandbox,
            CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client,
        ):
            return [*await client.find(ACME)]

    found = run(main)
    assert [str(call.transaction_id)[-1] for call in found] == shown
    assert [call.city == "Rome" for call in found if call.transaction_id == "PLAYED00-00000001"] in ([second >= 13], [])


def test_a_replay_starts_at_an_aware_datetime(tmp_path: Path) -> None:
    """A naive one would be another moment on each machine."""
    record(tmp_path / "day.jsonl")
    for wrong in (datetime(2024, 2, 1), "10:14"):
        with pytest.raises(InvalidRequestError, match="start must be an aware datetime"):
            replay(tmp_path / "day.jsonl", start=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("numbers", "private"), [("hashed", True), ("masked", True), ("plain", False)])
def test_a_recording_is_private_unless_asked_otherwise(tmp_path: Path, numbers: str, private: bool) -> None:
    """Numbers and demographics are in no line, in keys and values of any shape; only the owner may read the file."""
    path = tmp_path / "day.jsonl"
    record(path, record_numbers=numbers)
    check = PrivacyCheck()
    check.mark(NUMBER, "Wei Lindqvist")
    check.look_at_files(tmp_path)
    assert (check.leaks() == []) is private
    assert path.stat().st_mode & 0o777 == 0o600 & ~os.umask(os.umask(0)) or os.name == "nt"
    first, second = [line["call"] for line in lines_of(path)[1:3]]
    assert first["calling_phone_number"] == second["calling_phone_number"]
    assert (first["calling_phone_number"] == "...42") is (numbers == "masked")
    assert second["extra"][2:] in ([1.5, True], ["1.5", True])


def test_two_watches_have_keys_of_their_own(tmp_path: Path) -> None:
    """The made-up number of a caller in one recording says nothing about another."""
    path = tmp_path / "day.jsonl"
    record(path)
    record(path)
    numbers = {line["call"].get("calling_phone_number") for line in lines_of(path) if "call" in line}
    assert len(numbers - {None}) == 2
    assert all(number.startswith("+1555") and len(number) == 12 for number in numbers - {None})


def test_other_events_are_recorded(tmp_path: Path) -> None:
    """Failures by the name of the error, and recoveries with their gap."""
    path = tmp_path / "day.jsonl"

    async def main() -> None:
        transport = ScriptedTransport(200, 401, calls(make_call(**ODD_CALL)), *[200] * 50)
        async with (
            CallsInProgressClient(token="t", transport=transport) as client,
            client.watch([ACME], record=str(path)) as watch,
        ):
            for _ in range(3):
                await anext(watch)

    run(main)
    lines = lines_of(path)
    assert [line.get("kind") for line in lines] == [
        None,
        "organization_failed",
        "organization_recovered",
        "call_started",
    ]
    assert lines[0]["format"] == FORMAT
    assert lines[3]["call"]["city"] == "?"
    assert lines[3]["call"]["external_unique_id"].startswith("#")
    assert lines[1]["error"] == "AuthenticationError"
    assert lines[1]["organization"] == {"id": 2, "type": "advertiser"}
    assert lines[2]["gap"] == pytest.approx(lines[2]["time"] - lines[0]["time"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_file_that_cannot_be_written_is_an_error() -> None:
    """The watch does not begin."""

    async def main() -> None:
        async with CallsInProgressClient(token="t", transport=ScriptedTransport()) as client:
            with pytest.raises(OSError, match="No space left"):
                async with client.watch([ACME], record="/dev/full"):
                    raise AssertionError("it began")

    run(main)


def test_a_full_disk_ends_the_recording_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The watch goes on, and one warning gives the reason."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main() -> list[str]:
        transport = ScriptedTransport(*[calls(make_call(transaction_id="A")), 200] * 20)
        async with (
            CallsInProgressClient(token="t", transport=transport) as client,
            client.watch([ACME], record=tmp_path / "day.jsonl") as watch,
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "day.jsonl").stat().st_size, limits[1]))
            try:
                return [(await anext(watch)).kind for _ in range(3)]
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert run(main) == ["call_started", "call_ended", "call_started"]
    assert [record.getMessage() for record in caplog.records] == ["The recording of a watch has ended: File too large"]
    assert len(lines_of(tmp_path / "day.jsonl")) == 1


def line(kind: str, time: float, **call: Any) -> dict[str, Any]:
    return {"time": time, "kind": kind, "organization": {"id": 2, "type": "advertiser"}, "call": call}


def history_of(path: Path, *lines: Any) -> list[tuple[float, str, str]]:
    text = "\n".join(each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in lines)
    path.write_text(text, errors="surrogateescape")

    async def main() -> list[tuple[float, str, str]]:
        sandbox = replay(path, speed=60)
        await asyncio.sleep(1)
        return [tuple(event) for event in sandbox.history(ACME)]

    return run(main)


HEAD = {"format": FORMAT, "time": 0}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_separators_of_unicode_end_no_line(tmp_path: Path, mark: str, end: str) -> None:
    """A text of a call may hold them. A byte order mark and the line ends of Windows are no part of a recording."""
    started = line("call_started", 0, transaction_id="A", city="a\u2028b\x85c")
    lines = [f"{mark}{json.dumps(HEAD)}", json.dumps(started, ensure_ascii=False)]
    assert history_of(tmp_path / "day.jsonl", f"{end.join(lines)}{end}") == [(0, "started", "A")]


def test_restarts_are_read(tmp_path: Path) -> None:
    """A restart ends live calls, a change without a start is a start, and time does not run backwards."""
    history = history_of(
        tmp_path / "day.jsonl",
        HEAD,
        line("call_started", 100, transaction_id="A"),
        line("call_started", 101),
        line("call_ended", 102, transaction_id="B"),
        {**HEAD, "time": 110},
        line("call_changed", 115, transaction_id="A", city="Rome"),
        line("call_changed", 116, transaction_id="A", city="Bari"),
        line("call_started", 90, transaction_id="C"),
        {"time": 117, "kind": "organization_failed", "organization": {}, "error": "X"},
        '{"cut off',
    )
    assert history == [
        (0, "started", "A"),
        (0, "started", "C"),
        (10, "ended", "A"),
        (15, "started", "A"),
        (16, "changed", "A"),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        [""],
        ["x"],
        ["[]"],
        ["{}"],
        [HEAD],
        [HEAD, "x", HEAD],
        [{"format": "other"}],
        ["\udcff"],
        [HEAD, {}],
        [HEAD, {"kind": "call_started", "time": 1, "organization": {"id": 1, "type": "network"}}],
        [HEAD, {"kind": "call_started", "time": "x", "organization": {"id": 1}, "call": {"transaction_id": "A"}}],
        [HEAD, {"kind": "call_started", "call": "transaction_id"}],
        [HEAD, "[" * 100_000],
        [HEAD, {"kind": []}],
    ],
    ids=lambda lines: str(lines)[:40],
)
def test_a_file_that_is_no_recording_is_named(tmp_path: Path, lines: Any) -> None:
    """The error shows the expected first line, or the line that is no JSON."""
    with pytest.raises(InvalidRequestError, match=r"^path must be a ") as caught:
        history_of(tmp_path / "day.jsonl", *lines)
    assert caught.value.parameter == "path"


@pytest.mark.parametrize(
    ("settings", "parameter"), [({"record": 5}, "record"), ({"record": "x", "record_numbers": "no"}, "record_numbers")]
)
def test_settings_are_checked(settings: Any, parameter: str) -> None:
    """A wrong setting is refused before the watch begins."""
    with pytest.raises(InvalidRequestError) as caught:
        CallsInProgressClient(token="t").watch([ACME], **settings)
    assert caught.value.parameter == parameter
