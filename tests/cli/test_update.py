"""``update`` writes its changes, and a dry run writes nothing."""

import json

import pytest

from calls_in_progress_async import Organization

ORGANIZATION = Organization(2, "advertiser")


async def test_custom_data_and_an_external_id_are_written(command_line) -> None:
    """One command writes custom data and an external id, and reports both."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        done = await line.invoke(
            *("update", "advertiser:2", "--transaction-id", call, "--new-external-unique-id", "mine-1"),
            *("--set", "Call Disposition=SALE=1", "--set", "Agent=Ann"),
        )
        assert (done.exit_code, done.stderr) == (0, "")
        assert line.sandbox.written(ORGANIZATION, call) == {"Call Disposition": "SALE=1", "Agent": "Ann"}
        assert line.sandbox.live(ORGANIZATION)[0]["external_unique_id"] == "mine-1"
        assert done.stdout == (
            f'external_unique_id "mine-1", Call Disposition "SALE=1", Agent "Ann": '
            f"written to call {call} of advertiser:2\n"
        )


async def test_post_and_a_response_without_a_body(command_line) -> None:
    """--method POST sends a POST, and a 202 is reported as accepted."""
    async with command_line(accept_only=True) as line:
        call = line.sandbox.start_call(ORGANIZATION, external_unique_id="mine-1")
        done = await line.invoke(
            "update", "advertiser:2", "--external-unique-id", "mine-1", "--set", "a=b", "--method", "post"
        )
        assert done.exit_code == 0
        assert done.stdout == 'a "b": accepted for call mine-1 of advertiser:2\n'
        assert line.sandbox.updates[-1].method == "POST"
        assert line.sandbox.written(ORGANIZATION, call) == {"a": "b"}


async def test_json_is_one_line_with_the_exact_payload(command_line) -> None:
    """--json writes the server's response."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        done = await line.invoke("update", "advertiser:2", "--transaction-id", call, "--set", "a=b", "--json")
        response = json.loads(done.stdout)
        assert (response["organization"], response["accepted_only"]) == ("advertiser:2", False)
        assert response["calls"][0]["transaction_id"] == call


async def test_a_dry_run_shows_the_request_and_sends_none(command_line) -> None:
    """A dry run needs no token and shows none."""
    async with command_line() as line:
        arguments = ("update", "advertiser:2", "--transaction-id", "AB-1", "--set", "näme=\x9b\n", "--dry-run")
        done = await line.invoke(*arguments, "--organization-type-case", "capitalized", CALLS_IN_PROGRESS_TOKEN="")
        assert done.exit_code == 0
        request, body = done.stdout.splitlines()
        assert request == (
            f"PUT {line.sandbox.url}/api/2022-08-01/calls_in_progress.json"
            "?id=2&organization_type=Advertiser&transaction_id=AB-1"
        )
        changes = {"call_in_progress": {"custom_data": [{"name": "näme", "value": "\x9b\n"}]}}
        assert json.loads(body) == changes
        assert "\x9b" not in body
        assert done.stderr == "dry run: nothing was sent\n"
        assert json.loads((await line.invoke(*arguments, "--json")).stdout)["body"] == changes
        assert not line.sandbox.requests


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("advertiser:2", "--transaction-id", "AB-1"), "nothing would change"),
        (("advertiser:2", "--set", "a=b"), "--transaction-id is missing"),
        (("advertiser:2", "--transaction-id", "AB-1", "--set", "a"), "must be NAME=VALUE, got 'a'"),
        (("advertiser:2", "--transaction-id", "AB-1", "--set", "a=1", "--set", "a=2"), "set twice"),
        (("advertiser:2", "--transaction-id", "AB-1", "--set", "a="), "has no removal"),
        (("advertiser:2", "--transaction-id", "no/such", "--set", "a=b"), "--transaction-id must be 1 to 32"),
        (("advertiser 2", "--transaction-id", "AB-1", "--set", "a=b"), "advertiser:25"),
    ],
)
async def test_an_invalid_update_is_a_usage_error(command_line, arguments, complaint) -> None:
    """An invalid update exits with 2, gives the reason in one line, and sends nothing."""
    async with command_line() as line:
        done = await line.invoke("update", *arguments)
        assert done.exit_code == 2
        assert complaint in done.stderr.splitlines()[-1]
        assert not line.sandbox.requests


async def test_an_ended_call_has_a_separate_exit_code(command_line) -> None:
    """An ended call exits with 4, so that a script can tell it from a failure."""
    async with command_line() as line:
        done = await line.invoke("update", "advertiser:2", "--transaction-id", "AB-1", "--set", "a=b")
        assert done.exit_code == 4
        assert done.stderr.startswith("error: HTTP 404")
        assert "hint: the call may have ended" in done.stderr


async def test_an_update_that_may_have_been_applied_says_so(command_line) -> None:
    """A connection lost after the update leaves a note."""
    async with command_line() as line:
        call = line.sandbox.start_call(ORGANIZATION)
        line.sandbox.fail_next(20, "disconnect-after")
        done = await line.invoke("update", "advertiser:2", "--transaction-id", call, "--set", "a=b", "--method", "POST")
        assert done.exit_code == 1
        assert "note: the server may have carried out the update all the same" in done.stderr
