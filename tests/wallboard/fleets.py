"""A fleet of one worker in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fleet.nats_server import NatsServer

from calls_in_progress_async import CallsInProgressClient
from calls_in_progress_async.fleet import Fleet, FleetError, FleetView
from calls_in_progress_async.sandbox import SandboxServer

INTERVAL = 0.1


@asynccontextmanager
async def working(server: NatsServer, sandbox: SandboxServer, name: str = "wall") -> AsyncIterator[None]:
    """Run a worker of all organizations of a sandbox. The block begins once the log has all of them."""
    async with CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client:
        settings = {"interval": INTERVAL, "lease": 0.6, "rate": 200.0, "organizations": sandbox.organizations}
        fleet = Fleet(client, servers=server.url, name=name, **settings)
        running = asyncio.create_task(fleet.run())
        try:
            while not await _is_written(server, sandbox, name):
                await asyncio.sleep(0.05)
            yield
        finally:
            fleet.stop()
            await running


async def _is_written(server: NatsServer, sandbox: SandboxServer, name: str) -> bool:
    try:
        async with FleetView(server.url, name=name) as view:
            return view.calls.keys() == set(sandbox.organizations)
    except FleetError:
        return False
