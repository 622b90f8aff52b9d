"""Attribution of many organizations: the source of every call, in SQLite.

``python attribution.py calls.db organizations.txt`` polls until it is stopped, and continues from there at the next
start. ``python export.py calls.db calls.parquet`` writes the rows to a Parquet file.

A batch of events and the checkpoint after it are one transaction, so kill -9 neither loses nor doubles an event. A row
with a ``gap`` has the seconds without a good response: calls that were shorter may be missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
INSERT = """
insert into events values (:seen_at, :organization, :event, :transaction_id, :campaign, :utm_source, :gap, :error)
"""


def row_of(event: CallEvent) -> dict[str, Any]:
    """Return the row of an event."""
    row: dict[str, Any] = dict.fromkeys(["transaction_id", "campaign", "utm_source", "gap", "error"])
    row |= {"seen_at": datetime.now(UTC).isoformat(), "organization": str(event.organization), "event": event.kind}
    match event:
        case CallStarted(_, call) | CallChanged(_, call) | CallEnded(_, call):
            row["transaction_id"] = call.transaction_id
            row["campaign"] = call.advertiser_campaign_name
            row["utm_source"] = call.custom_value("utm_source")
        case OrganizationFailed(_, error):
            row["error"] = type(error).__name__
        case OrganizationRecovered(_, gap) | OrganizationResumed(_, gap):
            row["gap"] = gap
    return row


async def take_batch(watch: Watch, seconds: float) -> list[dict[str, Any]]:
    """Take the rows of the next seconds. A timeout never loses an event."""
    rows: list[dict[str, Any]] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for event in watch:
                rows.append(row_of(event))  # noqa: PERF401 - a comprehension would lose them at the timeout
    return rows


def commit(database: sqlite3.Connection, rows: list[dict[str, Any]], checkpoint: Any) -> None:
    """Write a batch and the checkpoint after it: both or neither."""
    with database:
        database.executemany(INSERT, rows)
        database.execute("insert or replace into checkpoint values (1, ?)", [json.dumps(checkpoint)])


async def poll(database: sqlite3.Connection, organizations: list[Organization], interval: float) -> None:
    """Poll for ever, from the last checkpoint on, and commit once an interval."""
    saved = database.execute("select state from checkpoint").fetchone()
    async with (
        CallsInProgressClient.from_env(rate_limit=RateLimit.adaptive(initial=20, ceiling=500)) as client,
        client.watch(organizations, interval, resume_from=json.loads(saved[0]) if saved else None) as watch,
    ):
        while True:
            rows = await take_batch(watch, interval)
            await asyncio.to_thread(commit, database, rows, await watch.acheckpoint())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database", type=Path)
    parser.add_argument("organizations", type=Path, help="a file with one organization a line")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two polls of an organization")
    options = parser.parse_args()
    organizations = [Organization.parse(line) for line in options.organizations.read_text().split()]
    # The connection moves between threads, and one at a time uses it.
    with closing(sqlite3.connect(options.database, check_same_thread=False)) as database, suppress(KeyboardInterrupt):
        database.executescript(SCHEMA)
        asyncio.run(poll(database, organizations, options.interval))


if __name__ == "__main__":
    main()
