"""Run the README's first program in an environment with the built wheel only."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.sandbox import SandboxServer


async def main() -> None:
    """Find calls, and check the environment: only the wheel and its dependencies are installed."""
    async with (
        SandboxServer(organizations=10, seed=7) as sandbox,
        CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client,
    ):
        found = [call for number in range(1, 11) for call in await client.find(_organization(number))]
    assert found, "no calls"
    assert not any(importlib.util.find_spec(name) for name in ("rich", "click", "pytest")), "not an empty environment"
    assert importlib.metadata.distribution("calls-in-progress-async").read_text("entry_points.txt")
    print(f"the wheel found {len(found)} calls")


def _organization(number: int) -> Organization:
    return Organization.network(number) if number == 1 else Organization.advertiser(number)


asyncio.run(main())
