"""The attribution neither loses nor doubles an event, however often it is killed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from examples.programs import finish, running, until

from calls_in_progress_async import Organization
from calls_in_progress_async.sandbox import SandboxServer

ORGANIZATIONS = [Organization.advertiser(number) for number in range(2, 7)]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Return the database and the list of organizations."""
    listed = tmp_path / "organizations.txt"
    listed.write_text("\n".join(map(str, ORGANIZATIONS)))
    return tmp_path / "calls.db", listed


def poll(sandbox: SandboxServer, database: Path, listed: Path) -> Any:
    variables = {"CALLS_IN_PROGRESS_BASE_URL": sandbox.url, "CALLS_IN_PROGRESS_TOKEN": sandbox.token}
    return running("attribution/attribution.py", database, listed, "--interval", "0.1", **variables)


def query(database: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        try:
            return connection.execute(statement).fetchall()
        except sqlite3.OperationalError:  # the tables are not there yet
            return []


def calls(database: Path, event: str) -> list[str]:
    return [each for (each,) in query(database, f"select transaction_id from events where event = '{event}'")]


def resumable(database: Path) -> int:
    """Count the organizations in the checkpoint."""
    rows = query(database, "select state from checkpoint")
    return len(json.loads(rows[0][0])["organizations"]) if rows else 0


async def test_kill_9_neither_loses_nor_doubles_an_event(files: tuple[Path, Path]) -> None:
    """After two kills each call began once and ended once, and each restart has a gap row for each organization."""
    database, listed = files
    began: set[str] = set()
    ended: set[str] = set()
    gaps = "select organization from events where event = 'organization_resumed' and gap > 0"
    async with SandboxServer(organizations=6, calls_per_organization=0) as sandbox:
        for kills in range(3):
            async with poll(sandbox, database, listed) as process:
                await until(lambda: resumable(database) == len(ORGANIZATIONS))
                await until(lambda kills=kills: len(query(database, gaps)) == kills * len(ORGANIZATIONS))
                seen = set(calls(database, "call_started")) - ended
                for organization in ORGANIZATIONS:
                    for call in seen & {each["transaction_id"] for each in sandbox.live(organization)}:
                        sandbox.end_call(organization, call)
                    began |= {sandbox.start_call(organization) for _ in range(4)}
                ended |= seen
                # Kill it at some moment of its work; the last time wait for all of it.
                known = len(began) - 1 if kills == 2 else len(calls(database, "call_started"))
                over = len(ended) if kills == 2 else 0
                await until(lambda known=known: len(calls(database, "call_started")) > known)
                await until(lambda over=over: len(calls(database, "call_ended")) >= over)
                process.kill()
                await process.wait()
            sandbox.end_call(ORGANIZATIONS[0], sandbox.start_call(ORGANIZATIONS[0]))  # nobody sees this call
    assert sorted(calls(database, "call_started")) == sorted(began)
    assert sorted(calls(database, "call_ended")) == sorted(ended)
    assert sorted(query(database, gaps)) == sorted((str(each),) for each in ORGANIZATIONS * 2)


async def test_an_outage_leaves_a_row_with_its_gap(files: tuple[Path, Path]) -> None:
    """A failing organization is a row with the error, and its recovery a row with the gap."""
    database, listed = files
    acme = ORGANIZATIONS[0]
    async with SandboxServer(organizations=6, calls_per_organization=0) as sandbox:
        source = [{"name": "utm_source", "value": "google", "source": "online"}]
        call = sandbox.start_call(acme, advertiser_campaign_name="Spring", custom_data=source)
        async with poll(sandbox, database, listed):
            await until(lambda: calls(database, "call_started") == [call])
            sandbox.fail_next(3, "status", status=401, organization=acme)
            await until(lambda: bool(query(database, "select 1 from events where event = 'organization_recovered'")))
            sandbox.end_call(acme, call)
            await until(lambda: calls(database, "call_ended") == [call])
    rows = query(database, "select event, gap > 0, error from events where event like 'organization%' order by rowid")
    assert rows == [("organization_failed", None, "AuthenticationError"), ("organization_recovered", 1, None)]
    (row,) = query(database, "select * from attribution")
    assert row[:4] == (str(acme), call, "Spring", "google")
    assert row[4] < row[5]


async def test_the_events_become_a_parquet_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The Parquet file has the rows of the database."""
    parquet = pytest.importorskip("pyarrow.parquet")
    database, listed = files
    async with (
        SandboxServer(organizations=6, calls_per_organization=2, seed=7) as sandbox,
        poll(sandbox, database, listed),
    ):
        await until(lambda: len(calls(database, "call_started")) > 5)
    target = tmp_path / "calls.parquet"
    async with running("attribution/export.py", database, target) as process:
        rows = query(database, "select * from events")
        assert await finish(process) == (0, f"{len(rows)} events\n")
    assert [tuple(row.values()) for row in parquet.read_table(target).to_pylist()] == rows
