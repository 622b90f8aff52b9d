"""A worker of a fleet: it polls its share of the organizations, and writes their events to a log in NATS JetStream.

Run ``python worker.py organizations.txt`` on as many hosts as needed, with ``NATS_URL`` and ``CALLS_IN_PROGRESS_TOKEN``
set. The workers share organizations and rate by themselves. SIGTERM hands over; kill -9 costs one lease.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.fleet import Fleet


async def work(file: Path, *, name: str, interval: float, lease: float) -> None:
    """Poll until SIGTERM."""

    def load_organizations() -> list[Organization]:
        """Read the file again every minute, so that a new organization needs no restart."""
        return [Organization.parse(line) for line in file.read_text().split()]

    async with CallsInProgressClient.from_env() as client:
        fleet = Fleet(
            client,
            servers=os.environ["NATS_URL"],
            name=name,
            organizations=load_organizations,
            interval=interval,
            rate=200,  # requests per second of all workers together
            lease=lease,
        )
        print("worker", fleet.worker, "of", name)
        await fleet.run()
    print("handed over")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="one organization a line, such as advertiser:25")
    parser.add_argument("--name", default="example", help="the fleet's name, the same for workers and consumers")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two polls of an organization")
    parser.add_argument("--lease", type=float, default=6.0, help="seconds of silence after which a worker is dead")
    options = parser.parse_args()
    asyncio.run(work(options.file, name=options.name, interval=options.interval, lease=options.lease))


if __name__ == "__main__":
    main()
