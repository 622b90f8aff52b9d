"""A lively day for ``wallboard --demo``: a sandbox with an hour behind it, and organizations failing in turn."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from attrs import frozen

from .. import clock
from ..client import CallsInProgressClient
from ..organization import Organization
from ..sandbox import Fault, HistoryEvent, SandboxServer

_ORGANIZATIONS, _CALLS_PER_ORGANIZATION, _MEAN_CALL_SECONDS = 12, 4.0, 150.0
_INTERVAL = 1.0  # seconds between two polls
_HISTORY, _STEP = 3600.0, 20.0  # seconds of the chart, and between two of its points
_FIRST_CALM, _CALM, _OUTAGE = 20.0, 60.0, 25.0  # seconds


@frozen(kw_only=True)
class DemoDay:
    """A sandbox under way, and a client for it."""

    client: CallsInProgressClient
    organizations: Sequence[Organization]
    interval: float
    """Seconds between two polls of an organization."""
    fields: Sequence[str]
    """Custom fields of the sandbox's calls."""
    history: Sequence[tuple[float, int]]
    """Live calls over the last hour, as (seconds since 1970, calls)."""


@asynccontextmanager
async def demo_day(seed: int = 7) -> AsyncIterator[DemoDay]:
    """Run the sandbox and a client for it while the block runs."""
    server = _an_hour_old(seed)
    async with server, CallsInProgressClient(token=server.token, base_url=server.url) as client:
        outages = asyncio.create_task(_fail_in_turn(server))
        try:
            yield DemoDay(
                client=client,
                organizations=server.organizations,
                interval=_INTERVAL,
                fields=["utm_source", "channel"],
                history=_history(server),
            )
        finally:
            outages.cancel()
            await asyncio.gather(outages, return_exceptions=True)


def _an_hour_old(seed: int) -> SandboxServer:
    """Make a sandbox whose simulated time began an hour ago, because a chart needs a past."""
    return SandboxServer(
        organizations=_ORGANIZATIONS,
        seed=seed,
        calls_per_organization=_CALLS_PER_ORGANIZATION,
        mean_call_seconds=_MEAN_CALL_SECONDS,
        age=_HISTORY,
    )


def _history(server: SandboxServer) -> list[tuple[float, int]]:
    events = [event for organization in server.organizations for event in server.history(organization)]
    counts = live_counts(events, until=server.now, step=_STEP)
    began = clock.unix_time() - server.now
    return [(began + time, live) for time, live in counts]


def live_counts(events: Iterable[HistoryEvent], *, until: float, step: float) -> list[tuple[float, int]]:
    """Count the live calls every ``step`` seconds, from time 0 to ``until``."""
    steps = [event for event in sorted(events, key=lambda event: event.time) if event.kind in ("started", "ended")]
    counts, live, position = [], 0, 0
    for number in itertools.takewhile(lambda number: number * step < until, itertools.count()):
        while position < len(steps) and steps[position].time <= number * step:
            live += 1 if steps[position].kind == "started" else -1
            position += 1
        counts.append((number * step, live))
    return counts


async def _fail_in_turn(server: SandboxServer) -> None:
    """Let one organization after another fail for a while, as a wallboard must show."""
    await asyncio.sleep(_FIRST_CALM)
    turns = itertools.cycle(server.organizations[2:])
    while True:
        server.faults = [Fault(status=503, organization=next(turns))]
        await asyncio.sleep(_OUTAGE)
        server.faults = []
        await asyncio.sleep(_CALM)
