"""A consumer of a fleet's events: it writes each event into SQLite once.

Run ``python consumer.py calls.db`` with ``NATS_URL`` set. A delivery is at least once, so the event's id is the primary
key, and a repeated delivery changes nothing. An event is acknowledged after its commit: kill -9 loses nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from calls_in_progress_async.fleet import FleetEvent, FleetEvents

SCHEMA = """
create table if not exists events (
    id text primary key, polled_at text, organization text, rev integer, event text,
    transaction_id text, utm_source text, gap real
)
"""


def store(database: sqlite3.Connection, event: FleetEvent) -> None:
    """Write an event, unless an earlier delivery was written."""
    call = event.call
    row = (
        event.id,
        datetime.fromtimestamp(event.at, UTC).isoformat(),
        str(event.organization),
        event.rev,
        event.kind,
        None if call is None else call.transaction_id,
        None if call is None else call.custom_value("utm_source"),
        event.gap or None,
    )
    with database:
        database.execute("insert or ignore into events values (?, ?, ?, ?, ?, ?, ?, ?)", row)


async def consume(path: Path, *, name: str, group: str, ack_wait: float) -> None:
    """Store events until SIGTERM. `EventsLostError` ends it, because a person should know of lost events."""
    consuming = asyncio.current_task()
    assert consuming is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consuming.cancel)
    with closing(sqlite3.connect(path)) as database:
        database.execute(SCHEMA)
        async with FleetEvents(os.environ["NATS_URL"], name=name, group=group, ack_wait=ack_wait) as events:
            async for event in events:
                store(database, event)
                await event.ack()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database", type=Path)
    parser.add_argument("--name", default="example", help="the fleet's name, the same for workers and consumers")
    parser.add_argument("--group", default="database", help="members of a group share the events")
    parser.add_argument("--ack-wait", type=float, default=30.0, help="seconds until an event is delivered again")
    options = parser.parse_args()
    try:
        asyncio.run(consume(options.database, name=options.name, group=options.group, ack_wait=options.ack_wait))
    except asyncio.CancelledError:
        print("stopped; events not yet acknowledged are delivered again")


if __name__ == "__main__":
    main()
