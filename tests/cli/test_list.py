"""``list`` shows the calls in progress: a table for people, lines of JSON for programs."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from calls_in_progress_async import Call, Organization
from calls_in_progress_async.cli.call_table import Layout, Row, call_table
from calls_in_progress_async.cli.columns import View
from calls_in_progress_async.sandbox import Fault

ORGANIZATION = Organization(2, "advertiser")
HOSTILE = {
    "calling_phone_number": "\x1b[31m+18055551234",
    "advertiser_campaign_name": "[red]\x1b]0;x\x07\u202e",
    "custom_data": {"\x9b2J": {"value": "\u2028[link=x]y[/link]"}},
}


async def test_a_table_of_calls(command_line) -> None:
    """Data goes to stdout and the count to stderr; callers are masked unless asked for."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION, calling_phone_number="+18055551234", external_unique_id="mine-1")
        done = await line.invoke("list", "advertiser:2", "advertiser:3", "advertiser:2")
        assert done.exit_code == 0
        assert done.stderr == "1 call in progress in 2 organizations\n"
        for shown in ("advertiser:2", call, "mine-1", "...1234", "Sample Campaign Name"):
            assert shown in done.stdout
        assert "8055551234" not in done.stdout
        assert "+18055551234" in (await line.invoke("list", "advertiser:2", "--show-numbers")).stdout


async def test_nothing_in_progress(command_line) -> None:
    """Nothing in progress is no failure, and prints no table."""
    async with command_line() as line:
        done = await line.invoke("list", "network:1")
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == "0 calls in progress in 1 organization\n"


async def test_lines_of_json_hold_the_exact_payload(command_line) -> None:
    """--json writes one call a line, with its organization."""
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
    """Escapes in a payload are text in the table, on a terminal as in a pipe."""
    async with command_line() as line:
        identity = "x" * 100
        line.sandbox.start_call(ORGANIZATION, external_unique_id=identity, **HOSTILE)
        piped = await line.execute("list", "advertiser:2", "--show-numbers", "--wide")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", piped.stdout)
        for shown in (r"\x1b[31m+18055551234", r"[red]\x1b]0;x\x07\u202e", r"\x9b2J=\u2028[link=x]y[/link]", identity):
            assert shown in piped.stdout
        terminal = await line.on_terminal(monkeypatch, "list", "advertiser:2", "--wide")
        assert terminal.code == 0
        assert not re.search(r"\x1b\]|\x1b\[31m|\x07|[\x80-\x9f]|\u202e|\u2028", terminal.output)
        assert identity in terminal.output  # neither cut nor folded


async def test_unreadable_fields_of_calls_are_reported(command_line) -> None:
    """Each unreadable field is a note with its call; many notes are summed up."""
    async with command_line() as line:
        line.sandbox.start_call(ORGANIZATION, transaction_id="AB-1", start_time="noon")
        done = await line.invoke("list", "advertiser:2")
        assert done.exit_code == 0
        assert re.search(r"^note: advertiser:2: call AB-1: \S*start_time: ", done.stderr, re.MULTILINE)
        for number in range(7):
            line.sandbox.start_call(ORGANIZATION, transaction_id=f"CD-{number}", start_time=f"{number}")
        done = await line.invoke("list", "advertiser:2")
        assert done.stderr.count("note: advertiser:2: call ") == 5
        assert "note: advertiser:2: 3 more unreadable fields\n" in done.stderr


async def test_lines_are_json_whatever_the_payload_holds(command_line) -> None:
    """NaN, infinities, bytes that are not UTF-8 and lone surrogates leave every line JSON."""
    body = (
        b'{"current_calls":[{"transaction_id":"AB-1","a":NaN,"b":[-Infinity,Infinity],"c":"NaN \\" -Infinity",'
        b'"d":"\xff\x9b","e":"\\ud800"}]}'
    )
    async with command_line(faults=[Fault(status=200, body=body)]) as line:
        done = await line.execute("list", "advertiser:2", "--json")
        assert done.code == 0
        call = json.loads(done.stdout, parse_constant=_reject)["call"]
        assert (call["a"], call["b"], call["c"]) == (None, [None, None], 'NaN " -Infinity')


def _reject(constant: str) -> None:
    raise AssertionError(constant)


async def test_an_operator_sees_who_since_when_and_which_campaign(command_line, monkeypatch) -> None:
    """At 80 columns the table has caller, start, campaign and utm values; more columns come with more room."""
    async with command_line() as line:
        since = datetime.now(UTC).replace(microsecond=0)
        call = line.sandbox.start_call(
            ORGANIZATION,
            transaction_id="ABCD1234-ABCD1234",
            calling_phone_number="+18055551234",
            bridge_start_time=since.isoformat(),
            advertiser_campaign_name="Spring Sale of Shoes and Boots",
            custom_data={"utm_source": {"value": "google.com"}, "utm_medium": {"value": "cpc"}, "x": {"value": "y"}},
        )
        narrow = await line.on_terminal(monkeypatch, "list", "advertiser:2", "network:1", columns=80)
        (heading, row) = (_plain(text) for text in narrow.output.splitlines() if "..." in text or "caller" in text)
        assert heading.split() == ["organization", "transaction", "id", "caller", "since", "campaign", "utm"]
        assert row.rstrip() == (
            f"advertiser:2  {call}  ...1234  {since.astimezone():%H:%M:%S}  Spring\u2026 Boots  google\u2026 / cpc"
        )
        wide = await line.on_terminal(monkeypatch, "list", "advertiser:2", columns=140)
        for shown in ("Spring Sale of Shoes and Boots", "google.com / cpc", "lasts", "0:0"):
            assert shown in wide.output


async def test_the_longest_ids_leave_room_for_the_utm_values(command_line, monkeypatch) -> None:
    """At 80 columns the utm values are there: one organization is left out, several stand above their calls."""
    async with command_line(calls_per_organization=0) as line:

        def start(organization: Organization) -> None:
            since = datetime.now(UTC) - timedelta(days=1)
            line.sandbox.start_call(
                organization,
                transaction_id="ABCDEFGH-ABCDEFGH-ABCDEFGH-ABCDE",
                calling_phone_number="+18055551234",
                bridge_start_time=since.isoformat(),
                custom_data={"utm_source": {"value": "google"}},
            )

        start(ORGANIZATION)
        shown = await line.on_terminal(monkeypatch, "list", "advertiser:2", columns=80)
        assert "ABCDEFGH-ABCDEFGH-ABCDEFGH-ABCDE  ...1234" in _plain(shown.output)
        assert "google" in shown.output
        assert "organization  " not in shown.output
        start(Organization.network(1))
        shown = await line.on_terminal(monkeypatch, "list", "advertiser:2", "network:1", columns=80)
        lines = [line.split() for line in _plain(shown.output).splitlines()]
        (above, first, between, second) = (line for line in lines if len(line) == 1 or "...1234" in line)
        assert (above, between) == (["advertiser:2"], ["network:1"])
        for row in (first, second):
            assert row[0] == "ABCDEFGH-ABCDEFGH-ABCDEFGH-ABCDE"
            assert row[-1] == "google"


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120, 200])
async def test_ids_are_whole_at_every_width(command_line, monkeypatch, columns) -> None:
    """Ids are neither cut nor folded at any width; a line that is too long is left to the terminal."""
    identity, own = "A" * 32, "order-0123456789-0123456789"
    async with command_line() as line:
        line.sandbox.start_call(ORGANIZATION, transaction_id=identity, external_unique_id=own)
        default = await line.on_terminal(monkeypatch, "list", "advertiser:2", columns=columns)
        assert identity in default.output
        names = ("--columns", "external_id,transaction_id")
        chosen = _plain((await line.on_terminal(monkeypatch, "list", "advertiser:2", *names, columns=columns)).output)
        if columns >= 80:
            assert f"{own}  {identity}" in chosen
        else:
            record = [f"external id     {own}", f"transaction id  {identity}", ""]
            assert "\n".join(record) in "\n".join(chosen.splitlines())


async def test_wide_shows_one_column_below_the_other_where_they_do_not_fit(command_line, monkeypatch) -> None:
    """On a terminal of 80 columns no line of --wide is longer, so that no id is folded; a file gets one line a call."""
    async with command_line(calls_per_organization=0) as line:
        for organization in (ORGANIZATION, Organization.network(1)):
            line.sandbox.start_call(
                organization,
                transaction_id="A" * 32,
                external_unique_id="B" * 32,
                call_status="bridged",
                custom_data={"utm_source": {"value": "google"}},
            )
        wide = ("list", "advertiser:2", "network:1", "--wide")
        shown = await line.on_terminal(monkeypatch, *wide, columns=80)
        lines = _plain(shown.output).splitlines()
        assert "transaction id  " + "A" * 32 in lines
        assert "external id     " + "B" * 32 in lines
        assert "utm             google" in lines
        assert sum(each.startswith("organization    ") for each in lines) == 2
        assert max(map(len, lines)) <= 80
        for piped in (await line.invoke(*wide), await line.on_terminal(monkeypatch, *wide, columns=400)):
            assert re.search(rf"advertiser:2  {'A' * 32}  {'B' * 32} .* google .* bridged", _plain(piped.output))


def test_a_live_table_keeps_the_utm_values() -> None:
    """Each line is a call of an organization, and the campaign gives way to the utm values."""
    rows = [
        Row(
            Organization.advertiser(number),
            Call.from_payload(
                {
                    "transaction_id": "A" * 32,
                    "calling_phone_number": "+18055551234",
                    "bridge_start_time": "2024-02-01T09:00:00-07:00",
                    "advertiser_campaign_name": "Spring Sale of Shoes",
                    "custom_data": {"utm_source": {"value": "google"}},
                }
            ),
        )
        for number in (100_000, 200_000)
    ]
    table = call_table(rows, View(now=datetime.now(UTC)), Layout(width=80, is_cut=True))
    assert [column.header for column in table.columns] == ["organization", "transaction id", "caller", "utm"]
    assert table.row_count == 2


async def test_columns_can_be_chosen(command_line) -> None:
    """--columns takes the named columns, fields of a call and custom data, in that order; --wide takes all columns."""
    async with command_line() as line:
        line.sandbox.start_call(
            ORGANIZATION,
            transaction_id="AB-1",
            call_record_id="R-1",
            calling_phone_number="+18055551234",
            bridge_start_time="2024-02-01T09:00:00-07:00",
            custom_data={"utm_source": {"value": "google.com"}},
        )
        names = (
            "custom_data.utm_source, caller,call_record_id,calling_phone_number,bridge_start_time,since,affiliate_id"
        )
        done = await line.invoke("list", "advertiser:2", "--columns", names)
        heading, row = done.stdout.splitlines()
        assert " ".join(heading.split()) == (
            "utm source caller call record id calling phone number bridge start time since affiliate id"
        )
        time = datetime.fromisoformat("2024-02-01T09:00:00-07:00").astimezone()
        expected = ["google.com", "...1234", "R-1", "...1234", time.isoformat(" ", "seconds"), f"{time:%m-%d %H:%M}"]
        assert re.split("  +", row.strip())[:-1] == expected
        wide = (await line.invoke("list", "advertiser:2", "--wide")).stdout
        assert wide.startswith("organization  transaction id  caller")
        assert re.search(r"status +destination +phone type +city +keypresses +custom *\n", wide)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--columns", "colour"), "custom_data.NAME, got 'colour'"),
        (("--columns", "custom_data."), "custom_data.NAME, got 'custom_data.'"),
        (("--columns", "_origin"), "got '_origin'"),
        (("--columns", " ,"), "expected names with commas between them"),
        (("--columns", "caller", "--wide"), "--wide and --columns exclude each other"),
    ],
)
async def test_an_unknown_column_is_a_usage_error(command_line, arguments, complaint) -> None:
    """A column that is not there exits with 2 and lists the choices."""
    async with command_line() as line:
        done = await line.invoke("list", "advertiser:2", *arguments)
        assert done.exit_code == 2
        assert complaint in done.stderr
        assert not line.sandbox.requests


async def test_numbers_in_custom_data_are_masked(command_line) -> None:
    """Phone numbers in custom data are masked in the table too, except with --show-numbers."""
    async with command_line() as line:
        line.sandbox.start_call(
            ORGANIZATION, custom_data={"utm_term": {"value": "call 805-555-1234"}, "Phone": {"value": "5551234"}}
        )
        masked = (await line.invoke("list", "advertiser:2", "--wide")).stdout
        assert "utm_term=call ...1234, Phone=..." in masked
        assert "555-1234" not in masked
        assert "5551234" not in masked
        shown = (await line.invoke("list", "advertiser:2", "--wide", "--show-numbers")).stdout
        assert "utm_term=call 805-555-1234, Phone=5551234" in shown


async def test_every_phone_number_is_masked(command_line) -> None:
    """A short name and the field's own name of a column show the same; "phone" in a name hides nothing else."""
    fields = {
        "destination_phone_number": "855-555-0002x12#",
        "calling_phone_number": "8055551234",
        "phone_type": "Cell",
    }
    names = "caller,calling_phone_number,destination,destination_phone_number,phone_type,repeat_calling_phone_number"
    async with command_line() as line:
        line.sandbox.start_call(ORGANIZATION, repeat_calling_phone_number=True, **fields)
        masked = (await line.invoke("list", "advertiser:2", "--columns", names)).stdout
        assert masked.splitlines()[-1].split() == ["...1234", "...1234", "...0212", "...0212", "Cell", "True"]
        assert "855-555" not in (await line.invoke("list", "advertiser:2", "--wide")).stdout
        shown = (await line.invoke("list", "advertiser:2", "--wide", "--show-numbers")).stdout
        assert "855-555-0002x12#" in shown


async def test_numbers_in_every_description_are_masked(command_line) -> None:
    """The columns of the table mask as the fields of the same content do."""
    fields = {"advertiser_campaign_name": "Line 805-555-1234", "city": "8055551234", "key presses": "8055551234"}
    async with command_line() as line:
        line.sandbox.start_call(ORGANIZATION, **fields)
        masked = (await line.invoke("list", "advertiser:2", "--columns", "campaign,city,keypresses")).stdout
        assert masked.splitlines()[-1].split() == ["Line", "...1234", "...1234", "...1234"]
        shown = (await line.invoke("list", "advertiser:2", "--columns", "city", "--show-numbers")).stdout
        assert "8055551234" in shown


async def test_filters_are_sent(command_line) -> None:
    """Filters are sent, by id and by phone numbers; no result anywhere exits with 4."""
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


async def test_a_malformed_filter_is_a_usage_error(command_line) -> None:
    """One phone number without the other, or a malformed one, exits with 2 and names the flag."""
    async with command_line() as line:
        for numbers in (("123-456",), ("nobody", "--destination-phone-number", "855-555-0002")):
            done = await line.invoke("list", "advertiser:2", "--calling-phone-number", *numbers)
            assert done.exit_code == 2
            assert done.stderr.startswith("error: --")
        assert not line.sandbox.requests


async def test_with_a_filter_one_failure_does_not_stop_the_others(command_line) -> None:
    """With a filter, results are shown and failures are reported."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        done = await line.invoke("list", "advertiser:99", "advertiser:2", "--transaction-id", call)
        assert done.exit_code == 1
        assert call in done.stdout
        assert "error: advertiser:99: HTTP 403" in done.stderr


async def test_one_organization_that_fails_does_not_stop_the_others(command_line) -> None:
    """Each failure is reported with its organization, and the exit code is 1."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        done = await line.invoke("list", "advertiser:99", "advertiser:2")
        assert done.exit_code == 1
        assert call in done.stdout
        assert "error: advertiser:99: HTTP 403" in done.stderr
        assert "hint: `calls-in-progress check ORG`" in done.stderr
        assert done.stderr.endswith("1 call in progress in 1 organization; 1 failed\n")


async def test_organizations_from_a_file_and_from_stdin(command_line, tmp_path) -> None:
    """A file has one organization a line, with comments; repeated ones count once."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        file = tmp_path / "organizations.txt"
        file.write_text("# ours\nadvertiser:2  # the big one\n\nNetwork:1\nadvertiser:2\n")
        done = await line.invoke("list", "--organizations", str(file), "--json")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["call"]["transaction_id"] == call
        assert len(line.sandbox.requests) == 2
        done = await line.invoke("list", "--organizations", "-", "advertiser:3", stdin=file.read_text())
        assert done.exit_code == 0
        assert done.stderr == "1 call in progress in 3 organizations\n"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfadvertiser:2\r\n", b"\xef\xbb\xbf# ours\r\nadvertiser:2"])
@pytest.mark.parametrize("command", ["list", "watch"])
async def test_a_file_from_an_editor_on_windows(command_line, tmp_path, command, content) -> None:
    """A byte order mark and CRLF are no part of an organization, for both commands, in a file and on stdin."""
    file = tmp_path / "organizations.txt"
    file.write_bytes(content)
    seconds = ("--seconds", "0.05") if command == "watch" else ()
    async with command_line() as line:
        for source, stdin in ((str(file), None), ("-", content)):
            done = await line.invoke(command, "--organizations", source, *seconds, stdin=stdin)
            assert (done.exit_code, "1 organization" in done.stderr) == (0, True)


async def test_the_table_is_in_the_order_of_the_file(command_line) -> None:
    """The table has the order of the file, not of the responses."""
    async with command_line(organizations=30) as line:
        names = [f"advertiser:{number}" for number in range(30, 1, -1)]
        for number in range(30, 1, -1):
            line.sandbox.start_call(Organization(number, "advertiser"))
        done = await line.invoke("list", "--organizations", "-", stdin="\n".join(names))
        assert re.findall(r"advertiser:\d+", done.stdout) == names


async def test_a_file_that_cannot_be_read(command_line, tmp_path) -> None:
    """A malformed line is reported by its number, and nothing is sent."""
    async with command_line() as line:
        file = tmp_path / "organizations.txt"
        file.write_text("advertiser:2\nadvertiser\x1b\n")
        done = await line.invoke("list", "--organizations", str(file))
        assert done.exit_code == 2
        assert f"error: {file}:2: must be text such as" in done.stderr
        file.write_bytes(b"\xff\xfe")
        assert "must be text in UTF-8" in (await line.invoke("list", "--organizations", str(file))).stderr
        assert (await line.invoke("list", "--organizations", str(tmp_path / "none"))).exit_code == 2
        assert "no organization is named" in (await line.invoke("list")).stderr
        assert not line.sandbox.requests


async def test_a_progress_bar_on_a_terminal_only(command_line, monkeypatch) -> None:
    """The progress bar goes to stderr, vanishes at the end, and does not run into lines of JSON."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        table = await line.on_terminal(monkeypatch, "list", "advertiser:2", "advertiser:99")
        assert "asking" in table.output
        assert call in table.output
        assert "error: advertiser:99" in table.output
        lines = await line.on_terminal(monkeypatch, "list", "advertiser:2", "--json")
        assert "asking" not in lines.output
        assert "asking" not in (await line.execute("list", "advertiser:2")).stderr


async def test_an_unreadable_entry_is_reported(command_line) -> None:
    """An unreadable entry is a note, and the rest of the list is shown."""
    body = b'{"current_calls":[7,{"transaction_id":"AB-1"}]}'
    async with command_line(faults=[Fault(status=200, body=body)]) as line:
        done = await line.invoke("list", "advertiser:2")
        assert done.exit_code == 0
        assert "AB-1" in done.stdout
        assert "note: advertiser:2: current_calls[0]: " in done.stderr


async def test_a_reader_that_goes_away_is_no_error(command_line) -> None:
    """Under ``| head -1``, JSON and tables end quietly, with the code of a closed pipe."""
    async with command_line(organizations=60, calls_per_organization=20) as line:
        organizations = [f"advertiser:{number}" for number in range(2, 60)]
        for options in (("--json",), ("--wide",)):
            process = await line.start("list", *options, *organizations)
            assert process.stdout is not None
            await process.stdout.readline()
            process.stdout._transport.close()
            done = await line.finish(process)
            assert done.code == 141
            assert "Traceback" not in done.stderr
            assert "Exception" not in done.stderr
            assert await line.into_closed_pipe("list", *options, "advertiser:2") == 141
