"""Attribution of many organizations: the source of every call, in SQLite and Parquet.

``python attribution.py poll calls.db organizations.txt`` polls until it is killed, and goes on from there when it is
started again. ``python attribution.py export calls.db calls.parquet`` needs pyarrow.

A batch of events and its checkpoint are one transaction, so kill -9 neither loses nor doubles an event. A row with a
``gap`` names the seconds without a good response: shorter calls of that time may be missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_never

from calls_in_progress_async import (
    CallChanged,
    CallEnded,
    CallEvent,
    CallsInProgressClient,
    CallStarted,
    Organization,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
    RateLimit,
    Watch,
)

SCHEMA = """
create table if not exists events (
    seen_at text, organization text, event text, transaction_id text, campaign text, utm_source text,
    gap real, error text
);
create table if not exists checkpoint (id integer primary key check (id = 1), state text);
create view if not exists attribution as
    select organization, transaction_id, max(campaign) as campaign, max(utm_source) as utm_source,
           min(seen_at) as started, max(seen_at) filter (where event = 'call_ended') as ended
    from events where transaction_id is not null group by organization, transaction_id;
"""
COLUMNS = ("seen_at", "organization", "event", "transaction_id", "campaign", "utm_source", "gap", "error")


def row_of(event: CallEvent) -> tuple[str | float | None, ...]:
    """Return the row of an event, in the order of `COLUMNS`."""
    head = datetime.now(UTC).isoformat(), str(event.organization), event.kind
    match event:
        case CallStarted(_, call) | CallChanged(_, call) | CallEnded(_, call):
            return (
                *head,
                call.transaction_id,
                call.advertiser_campaign_name,
                call.custom_value("utm_source"),
                None,
                None,
            )
        case OrganizationRecovered(_, gap) | OrganizationResumed(_, gap):
            return *head, None, None, None, gap, None
        case OrganizationFailed(_, error):
            return *head, None, None, None, None, type(error).__name__
        case _:
            assert_never(event)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database, and make its tables if it is new."""
    connection = sqlite3.connect(path, check_same_thread=False)  # used by one thread at a time
    connection.executescript(SCHEMA)
    return connection


def load_checkpoint(database: sqlite3.Connection) -> Any:
    """Return the last checkpoint; None on the first run."""
    row = database.execute("select state from checkpoint").fetchone()
    return json.loads(row[0]) if row else None


def commit(database: sqlite3.Connection, rows: list[tuple[str | float | None, ...]], checkpoint: Any) -> None:
    """Write a batch and the checkpoint after it: both or neither."""
    with database:
        database.executemany(f"insert into events values ({', '.join('?' * len(COLUMNS))})", rows)
        database.execute("insert or replace into checkpoint values (1, ?)", [json.dumps(checkpoint)])


async def take_batch(watch: Watch, seconds: float) -> list[tuple[str | float | None, ...]]:
    """Take the rows of the next seconds. A timeout never loses an event."""
    rows: list[tuple[str | float | None, ...]] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for event in watch:
                rows.append(row_of(event))  # noqa: PERF401 - a comprehension would lose them at the timeout
    return rows


async def poll(database: sqlite3.Connection, organizations: list[Organization], interval: float) -> None:
    """Poll for ever, and commit once an interval."""
    limit = RateLimit.adaptive(initial=20, floor=1, ceiling=500)
    async with (
        CallsInProgressClient.from_env(rate_limit=limit) as client,
        client.watch(organizations, interval, resume_from=load_checkpoint(database)) as watch,
    ):
        while True:
            rows = await take_batch(watch, interval)
            checkpoint = await watch.acheckpoint()
            await asyncio.to_thread(commit, database, rows, checkpoint)


def export(database: sqlite3.Connection, target: Path) -> None:
    """Write all events, gaps among them, to a Parquet file."""
    import pyarrow  # noqa: PLC0415 - polling works without it
    from pyarrow import parquet  # noqa: PLC0415

    rows = database.execute(f"select {', '.join(COLUMNS)} from events order by rowid").fetchall()
    schema = pyarrow.schema([(name, pyarrow.float64() if name == "gap" else pyarrow.string()) for name in COLUMNS])
    table = pyarrow.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows], schema)
    parquet.write_table(table, target)
    print(len(rows), "events")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["poll", "export"])
    parser.add_argument("database", type=Path)
    parser.add_argument("file", type=Path, help="poll: one organization a line; export: the Parquet file")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two polls of an organization")
    options = parser.parse_args()
    with closing(open_database(options.database)) as database:
        if options.command == "export":
            export(database, options.file)
        else:
            organizations = [Organization.parse(line) for line in options.file.read_text().split()]
            with suppress(KeyboardInterrupt):
                asyncio.run(poll(database, organizations, options.interval))


if __name__ == "__main__":
    main()
