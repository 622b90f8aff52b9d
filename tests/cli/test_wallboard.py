"""``wallboard`` serves the page, and prints the exposed address."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs
import pytest
from cli.conftest import CommandLine
from click.testing import CliRunner
from fleet.conftest import binary, own_server
from wallboard.fleets import working

from calls_in_progress_async import Organization
from calls_in_progress_async.cli import wallboard_demo
from calls_in_progress_async.cli.program import program
from calls_in_progress_async.cli.wallboard import WallboardOptions, _read_token
from calls_in_progress_async.cli.wallboard_demo import DemoDay, demo_day, live_counts
from calls_in_progress_async.sandbox import HistoryEvent

__all__ = ["binary", "own_server"]  # fixtures

module = sys.modules["calls_in_progress_async.cli.wallboard"]  # the package's attribute of that name may be the command

TOKEN = "a page token of some length"


@attrs.define
class Served:
    """A wallboard in this process."""

    url: str
    warnings: list[str]


@asynccontextmanager
async def served(monkeypatch: pytest.MonkeyPatch, line: CommandLine, *arguments: str) -> AsyncIterator[Served]:
    """Run the command in this loop, and cancel it at the end as Ctrl-C does."""
    for name, value in line.environment.items():
        monkeypatch.setenv(name, value)
    said: asyncio.Queue[str] = asyncio.Queue()
    warnings: list[str] = []
    work: list[Coroutine[Any, Any, int]] = []
    monkeypatch.setattr(module, "write_line", said.put_nowait)
    monkeypatch.setattr(module, "say", warnings.append)
    monkeypatch.setattr(module, "run", lambda coroutine: work.append(coroutine) or 0)
    assert CliRunner().invoke(program, ["wallboard", "--port", "0", *arguments]).exit_code == 0
    task = asyncio.create_task(work[0])
    introduced: list[str] = []
    while introduced[-1:] != ["Ctrl-C stops it."]:
        introduced.append(await said.get())
    yield Served(introduced[-2].rpartition(" ")[2], warnings)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def line_with(got: aiohttp.ClientResponse, text: bytes) -> bytes:
    """Read a stream up to the first line with some text."""
    while text not in (seen := await got.content.readline()):
        pass
    return seen


async def test_the_wallboard_serves_the_calls_of_organizations(command_line, monkeypatch) -> None:
    """The stream shows a call of the sandbox, with the chosen fields, masked."""
    async with command_line() as line, aiohttp.ClientSession() as session:
        line.sandbox.start_call(Organization.advertiser(2), calling_phone_number="+18055551234")
        async with (
            served(monkeypatch, line, "advertiser:2", "--fields", "utm_source, channel") as board,
            session.get(f"{board.url}events") as got,
        ):
            seen = await line_with(got, b'"caller"')
            assert b"\\u20261234" in seen
            assert b"8055551234" not in seen
            assert board.warnings == []


async def test_a_loopback_page_is_for_this_machine_only(command_line, monkeypatch) -> None:
    """A foreign host name is rejected, so no foreign page can read the calls."""
    async with (
        command_line() as line,
        served(monkeypatch, line, "advertiser:2") as board,
        aiohttp.ClientSession() as session,
    ):
        for host, status in {"evil.example": 421, "localhost": 200}.items():
            async with session.get(board.url, headers={"Host": host}) as got:
                assert got.status == status


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "anyone who can reach this address can read, without TLS: organizations, campaigns, callers' towns, "),
        (("--show-numbers",), "whole phone numbers; --token-file asks for a token"),
        (("--fields", "utm_source"), "the last four digits of phone numbers, utm_source; --token-file"),
        (("--token-file", "FILE"), "anyone with the page token can read, without TLS: "),
    ],
)
async def test_a_public_address_warns_of_the_exposure(command_line, monkeypatch, tmp_path, options, told) -> None:
    """The warning is on stderr before any request, and does not show the token."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    options = [str(file) if each == "FILE" else each for each in options]
    async with (
        command_line() as line,
        served(monkeypatch, line, "advertiser:2", "--host", "0.0.0.0", *options) as board,
    ):
        (warning,) = board.warnings
        assert warning.startswith("warning: ")
        assert told in warning
        assert TOKEN not in warning


async def test_the_wallboard_of_a_fleet_polls_nothing(own_server, command_line, monkeypatch) -> None:
    """The page shows the findings of the workers, for the named organizations only, without a token or an account."""
    async with command_line() as line, aiohttp.ClientSession(read_bufsize=2**20) as session, asyncio.timeout(30):
        line.sandbox.start_call(Organization.advertiser(2), calling_phone_number="+18055551234")
        async with working(own_server, line.sandbox, "prod"):
            line.environment.clear()
            async with (
                served(monkeypatch, line, "--fleet", own_server.url, "advertiser:2") as board,
                session.get(f"{board.url}events") as got,
            ):
                seen = await line_with(got, b'"organizations"')
                assert b'"organizations":["advertiser:2"]' in seen
                assert b"\\u20261234" in seen


@pytest.mark.parametrize(
    ("credentials", "connection"), [(None, {}), ("fleet.creds", {"user_credentials": "fleet.creds"})]
)
def test_credentials_are_for_the_connection_to_the_fleet(credentials, connection) -> None:
    """They go to nats.connect."""
    arguments = module._fleet_arguments("nats://one,nats://two", "prod", credentials)
    assert arguments == {"servers": "nats://one,nats://two", "name": "prod", "connection": connection}


async def test_the_demo_needs_no_account(command_line, monkeypatch) -> None:
    """The demo has calls, an hour of history, and columns."""
    async with command_line() as line, aiohttp.ClientSession(read_bufsize=2**20) as session:
        line.environment.clear()
        async with served(monkeypatch, line, "--demo") as board, session.get(f"{board.url}events") as got:
            seen = await line_with(got, b'"points"')
            assert b'"fields":["utm_source","channel"]' in seen
            assert seen.partition(b'"points"')[2].count(b"[") > 170


async def test_the_wallboard_runs_until_ctrl_c(command_line) -> None:
    """Ctrl-C ends the program, and an open stream with it."""
    async with command_line() as line, aiohttp.ClientSession() as session:
        process = await line.start("wallboard", "advertiser:2", "--port", "0")
        async with asyncio.timeout(20):
            url = (await process.stdout.readline()).decode().rpartition(" ")[2].strip()
        async with session.get(f"{url}events") as got:
            await line_with(got, b"snapshot")
            process.send_signal(signal.SIGINT)
            done = await line.finish(process)
        assert (done.code, done.stderr) == (130, "")


def test_a_byte_order_mark_is_no_part_of_the_page_token(tmp_path) -> None:
    """Editors on Windows write a byte order mark, and no browser would send it."""
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfa-token-of-the-page\r\n")
    assert _read_token(tmp_path / "token") == "a-token-of-the-page"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("wallboard",), "no organization is named"),
        (("wallboard", "advertiser:2", "--demo"), "--demo has organizations of its own"),
        (("wallboard", "--fleet", "nats://127.0.0.1:1", "--demo"), "--demo has organizations of its own"),
        (("wallboard", "--fleet", "nats://127.0.0.1:1", "--fleet-name", "a.b"), "--fleet-name must be 1 to 64 letters"),
        (("wallboard", "--fleet", ""), "--fleet must be an address"),
        (("wallboard", "advertiser:2", "--title", " "), "--title must be text"),
        (("wallboard", "advertiser:2", "--fields", "a,b,c,d,e,f,g,h,i"), "must hold at most 8 names, got 9"),
        (("wallboard", "advertiser:2", "--token-file", "SHORT"), "--token-file must be None or at least"),
        (("wallboard", "advertiser:2", "--token-file", "BINARY"), "cannot be read as text"),
    ],
)
async def test_a_wrong_command_line_is_rejected(command_line, tmp_path, arguments, told) -> None:
    """The program ends with exit code 2, and names the option to fix."""
    files = {"SHORT": tmp_path / "short", "BINARY": tmp_path / "binary"}
    files["SHORT"].write_text("short")
    files["BINARY"].write_bytes(b"\xff\xfe\xff")
    async with command_line() as line:
        done = await line.invoke(*(str(files.get(each, each)) for each in arguments))
        assert (done.exit_code, done.stdout) == (2, "")
        assert told in done.stderr


async def test_a_closed_pipe_is_no_fault_of_the_address(command_line, capsys) -> None:
    """``wallboard | true`` ends with the exit code of a closed pipe, and blames nothing."""
    async with command_line() as line:
        assert await line.into_closed_pipe("wallboard", "advertiser:2", "--port", "0") == 141
    assert capsys.readouterr().err == ""


async def test_an_address_in_use_is_reported(command_line) -> None:
    """The program names the address and ends with exit code 1."""
    async with command_line() as line:
        port = line.sandbox.url.rpartition(":")[2]
        done = await line.invoke("wallboard", "advertiser:2", "--port", port)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"error: cannot listen at 127.0.0.1 port {port}: ")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((name, True) for name in ("127.0.0.1", "127.8.8.8", "::1", "LOCALHOST")),
        *((name, False) for name in ("0.0.0.0", "::", "10.0.0.1", "wall.example", "localhost.example")),
    ],
)
def test_loopback_is_known_by_address(host, loopback) -> None:
    """Only loopback addresses and localhost count: other names may lead anywhere."""
    options = WallboardOptions(organizations=[], host=host, port=0, interval=1.0, fleet=None, page={})
    assert options.is_loopback is loopback


async def test_in_the_demo_one_organization_after_another_fails(monkeypatch) -> None:
    """Each failing organization recovers."""
    for name in ("_FIRST_CALM", "_CALM", "_OUTAGE"):
        monkeypatch.setattr(wallboard_demo, name, 0.01)
    servers = []
    make = wallboard_demo._an_hour_old
    monkeypatch.setattr(wallboard_demo, "_an_hour_old", lambda seed: servers.append(make(seed)) or servers[0])
    async with demo_day() as day:
        assert isinstance(day, DemoDay)
        failing: list[object] = []
        async with asyncio.timeout(10):
            while len(set(failing)) < 4:
                failing.append(servers[0].faults[0].organization if servers[0].faults else None)
                await asyncio.sleep(0.001)
    assert {Organization.advertiser(3), Organization.advertiser(4), None} <= set(failing)


def test_live_calls_are_counted_at_regular_moments() -> None:
    """Calls that were live before time 0 count from the start; changes do not count."""
    events = [
        HistoryEvent(15.0, "started", "B"),
        HistoryEvent(-5.0, "started", "A"),
        HistoryEvent(12.0, "changed", "A"),
    ]
    events += [HistoryEvent(20.0, "ended", "A"), HistoryEvent(30.5, "ended", "B")]
    assert live_counts(events, until=45.0, step=10.0) == [(0.0, 1), (10.0, 1), (20.0, 1), (30.0, 1), (40.0, 0)]
