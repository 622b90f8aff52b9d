"""Checks for leaks: connections, tasks, timers, waiters, tokens, slots."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from raw_server import RawServer

from calls_in_progress_async import CallsInProgressClient

gc.collect()
gc.freeze()  # for the collections below to look at the tests' own objects only

STEPS = 6
"""Steps of the loop for cancelled tasks to end, and asyncio's own transports."""


async def settle() -> None:
    for _ in range(STEPS):
        await asyncio.sleep(0)


def left_behind(client: CallsInProgressClient) -> dict[str, Any]:
    """Count the possessions of requests while none is running."""
    connector = connector_of(client)
    waiting = [bucket.waiting for bucket in client._limiter.snapshot().shared.values()]
    found = {
        **client._pipeline.in_use(),
        "waiters for the limit": sum(waiting) + client._limiter.snapshot().organizations_waiting,
        "connections in use": len(connector._acquired) if connector is not None else 0,
    }
    return {name: count for name, count in found.items() if count}


def connector_of(client: CallsInProgressClient) -> Any:
    """Aiohttp's connector, if there is one by now."""
    opened = getattr(client._transport, "_opened", None)
    session = getattr(opened, "_session", None)
    return getattr(opened, "_connector", None) if session is None else session.connector


def guards_of(client: CallsInProgressClient) -> dict[Any, Any]:
    """Return the guards of the open connections; a session has none."""
    return getattr(client._transport._opened, "_guards", {})


def idle_connections(client: CallsInProgressClient) -> list[Any]:
    """Return the connections kept for the next request."""
    connector = connector_of(client)
    return [] if connector is None else [each for kept in connector._conns.values() for each, _ in kept]


def granted(client: CallsInProgressClient) -> int:
    """Count the grants of the rate limit taken and not given back."""
    return sum(bucket.granted for bucket in client._limiter.snapshot().shared.values())


def descriptors() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0


@asynccontextmanager
async def nothing_left(server: RawServer, **settings: Any) -> AsyncIterator[CallsInProgressClient]:
    """Yield a client, and check that it leaves nothing behind, neither before it is closed nor after."""
    tasks, files = asyncio.all_tasks(), descriptors()
    client = server.client(**settings)
    try:
        yield client
        await settle()
        assert left_behind(client) == {}
    finally:
        await client.close()
    await server.until(lambda: server.open == 0)
    await settle()
    assert {task for task in asyncio.all_tasks() if not task.done()} == tasks
    assert descriptors() <= files
    gc.collect()  # an unclosed object warns now, and a warning is an error
