"""``list`` shows the calls in progress: a table for people, lines of JSON for programs."""

import json
import re
from datetime import UTC, datetime

from calls_in_progress_async.sandbox import Fault

ORGANIZATION = (2, "advertiser")
HOSTILE = {
    "calling_phone_number": "\x1b[31m+18055551234",
    "advertiser_campaign_name": "[red]\x1b]0;x\x07\u202e",
    "custom_data": {"\x9b2J": {"value": "\u2028[link=x]y[/link]"}},
}


async def test_a_table_of_calls(command_line) -> None:
    """Data on stdout, the count on stderr, callers masked unless asked for."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION, calling_phone_number="+18055551234", external_unique_id="mine-1")
        done = await line.invoke("list", "advertiser:2", "advertiser:3", "advertiser:2")
        assert done.exit_code == 0
        assert done.stderr == "1 call in progress in 2 organizations\n"
        for shown in ("advertiser:2", call, "mine-1", "...1234", "bridged", "Sample Campaign Name"):
            assert shown in done.stdout
        assert "8055551234" not in done.stdout
        assert "+18055551234" in (await line.invoke("list", "advertiser:2", "--show-numbers")).stdout


async def test_nothing_in_progress(command_line) -> None:
    """That is no failure, and no table."""
    async with command_line() as line:
        done = await line.invoke("list", "network:1")
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == "0 calls in progress in 1 organization\n"


async def test_lines_of_json_hold_the_exact_payload(command_line) -> None:
    """One call a line, with the organization beside it."""
    async with command_line() as line:
        for number in (1, 2):
            line.sandbox.start_call(ORGANIZATION, transaction_id=f"AB-{number}", new_field=[1, {"ä": None}], **HOSTILE)
        done = await line.execute("list", "advertiser:2", "--json")
        assert done.code == 0
        lines = [json.loads(text) for text in done.stdout.splitlines()]
        expected = line.sandbox.live(ORGANIZATION)
        assert lines == [{"organization": "advertiser:2", "call": payload} for payload in expected]
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", done.stdout)


async def test_hostile_text_is_shown_and_not_sent(command_line, monkeypatch) -> None:
    """Escapes in a payload stand in the table as text, on a terminal as in a pipe."""
    async with command_line() as line:
        identity = "x" * 100
        line.sandbox.start_call(ORGANIZATION, external_unique_id=identity, **HOSTILE)
        piped = await line.execute("list", "advertiser:2", "--show-numbers")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", piped.stdout)
        for shown in (r"\x1b[31m+18055551234", r"[red]\x1b]0;x\x07\u202e", r"\x9b2J=\u2028[link=x]y[/link]", identity):
            assert shown in piped.stdout
        terminal = await line.on_terminal(monkeypatch, "list", "advertiser:2")
        assert terminal.code == 0
        assert not re.search(r"\x1b\]|\x1b\[31m|\x07|[\x80-\x9f]|\u202e|\u2028", terminal.output)
        assert terminal.output.count("x") >= 100  # folded, not cut


async def test_a_narrow_terminal_keeps_the_ids(command_line, monkeypatch) -> None:
    """Descriptions give way first."""
    async with command_line(epoch=datetime.now(UTC)) as line:
        call = line.sandbox.start_call(ORGANIZATION, external_unique_id="mine-1")
        monkeypatch.setattr("calls_in_progress_async.cli.output._UNFOLDED", 80)
        done = await line.invoke("list", "advertiser:2")
        assert call in done.stdout
        assert "mine-1" in done.stdout
        assert "custom" in done.stdout
        assert "campaign" not in done.stdout


async def test_filters_are_sent(command_line) -> None:
    """By id and by phone numbers; nothing found anywhere is told by the exit code 4."""
    async with command_line() as line:
        call = line.sandbox.start_call(
            ORGANIZATION, calling_phone_number="+18055551234", destination_phone_number="+18555550002"
        )
        line.sandbox.start_call(ORGANIZATION)
        numbers = ("--calling-phone-number", "(805) 555-1234", "--destination-phone-number", "855-555-0002")
        for filters in (("--transaction-id", call), numbers):
            done = await line.invoke("list", "advertiser:2", "advertiser:3", "--json", *filters)
            assert done.exit_code == 0
            assert [json.loads(text)["call"]["transaction_id"] for text in done.stdout.splitlines()] == [call]
        nothing = await line.invoke("list", "advertiser:2", "--external-unique-id", "none-such")
        assert nothing.exit_code == 4


async def test_a_filter_that_will_not_do_is_a_usage_error(command_line) -> None:
    """One phone number without the other, or one that is none."""
    async with command_line() as line:
        for numbers in (("123-456",), ("nobody", "--destination-phone-number", "855-555-0002")):
            done = await line.invoke("list", "advertiser:2", "--calling-phone-number", *numbers)
            assert done.exit_code == 2
            assert done.stderr.startswith("error: ")
        assert not line.sandbox.requests


async def test_with_a_filter_one_failure_does_not_stop_the_others(command_line) -> None:
    """What was found is shown, what failed is told."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        done = await line.invoke("list", "advertiser:99", "advertiser:2", "--transaction-id", call)
        assert done.exit_code == 1
        assert call in done.stdout
        assert "error: advertiser:99: HTTP 403" in done.stderr


async def test_one_organization_that_fails_does_not_stop_the_others(command_line) -> None:
    """Each failure is told with its organization; exit code 1."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        done = await line.invoke("list", "advertiser:99", "advertiser:2")
        assert done.exit_code == 1
        assert call in done.stdout
        assert "error: advertiser:99: HTTP 403" in done.stderr
        assert "hint: `calls-in-progress check ORG`" in done.stderr
        assert done.stderr.endswith("1 call in progress in 1 organization; 1 failed\n")


async def test_organizations_from_a_file_and_from_stdin(command_line, tmp_path) -> None:
    """One a line, with comments; each is asked once."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        file = tmp_path / "organizations.txt"
        file.write_text("# ours\nadvertiser:2  # the big one\n\nNetwork:1\nadvertiser:2\n")
        done = await line.invoke("list", "--all-from", str(file), "--json")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["call"]["transaction_id"] == call
        assert len(line.sandbox.requests) == 2
        done = await line.invoke("list", "--all-from", "-", "advertiser:3", stdin=file.read_text())
        assert done.exit_code == 0
        assert done.stderr == "1 call in progress in 3 organizations\n"


async def test_the_table_is_in_the_order_of_the_file(command_line) -> None:
    """Whichever organization answers first."""
    async with command_line(organizations=30) as line:
        names = [f"advertiser:{number}" for number in range(30, 1, -1)]
        for number in range(30, 1, -1):
            line.sandbox.start_call((number, "advertiser"))
        done = await line.invoke("list", "--all-from", "-", stdin="\n".join(names))
        assert re.findall(r"advertiser:\d+", done.stdout) == names


async def test_a_file_that_cannot_be_read(command_line, tmp_path) -> None:
    """A line that is no organization is named by its number; nothing is sent."""
    async with command_line() as line:
        file = tmp_path / "organizations.txt"
        file.write_text("advertiser:2\nadvertiser\x1b\n")
        done = await line.invoke("list", "--all-from", str(file))
        assert done.exit_code == 2
        assert f"error: {file}:2: organization must be text such as" in done.stderr
        file.write_bytes(b"\xff\xfe")
        assert "not text in UTF-8" in (await line.invoke("list", "--all-from", str(file))).stderr
        assert (await line.invoke("list", "--all-from", str(tmp_path / "none"))).exit_code == 2
        assert "no organization is named" in (await line.invoke("list")).stderr
        assert not line.sandbox.requests


async def test_a_progress_bar_on_a_terminal_only(command_line, monkeypatch) -> None:
    """It goes to stderr, is gone at the end, and does not run into lines of JSON."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        table = await line.on_terminal(monkeypatch, "list", "advertiser:2", "advertiser:99")
        assert "asking" in table.output
        assert call in table.output
        assert "error: advertiser:99" in table.output
        lines = await line.on_terminal(monkeypatch, "list", "advertiser:2", "--json")
        assert "asking" not in lines.output
        assert "asking" not in (await line.execute("list", "advertiser:2")).stderr


async def test_an_unreadable_entry_is_told_of(command_line) -> None:
    """The rest of the list is shown."""
    body = b'{"current_calls":[7,{"transaction_id":"AB-1"}]}'
    async with command_line(faults=[Fault(status=200, body=body)]) as line:
        done = await line.invoke("list", "advertiser:2")
        assert done.exit_code == 0
        assert "AB-1" in done.stdout
        assert "note: advertiser:2: current_calls[0]: " in done.stderr


async def test_a_reader_that_goes_away_is_no_error(command_line) -> None:
    """As in ``| head -1``: quiet, with the code of a closed pipe; lines of JSON and tables alike."""
    async with command_line(organizations=60, calls_per_organization=20) as line:
        organizations = [f"advertiser:{number}" for number in range(2, 60)]
        for options in (("--json",), ()):
            process = await line.start("list", *options, *organizations)
            assert process.stdout is not None
            await process.stdout.readline()
            process.stdout._transport.close()
            done = await line.finish(process)
            assert done.code == 141
            assert "Traceback" not in done.stderr
            assert "Exception" not in done.stderr
            assert await line.into_closed_pipe("list", *options, "advertiser:2") == 141
