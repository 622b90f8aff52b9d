"""A server with scripted responses, and watches of it on a clock turned by hand."""

from __future__ import annotations

import asyncio
import functools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from calls_in_progress_async import Organization, clock
from calls_in_progress_async.testing import virtual_clock
from calls_in_progress_async.watch.listing import Listing, read
from calls_in_progress_async.watch.settings import WatchSettings
from calls_in_progress_async.watch.watch import Watch

ACME = Organization.advertiser(25)
GLOBEX = Organization.network(7)
INITECH = Organization.advertiser(9)
DEFAULTS = {
    "interval": 5.0,
    "missed_polls_before_end": 1,
    "max_in_flight": 64,
    "max_pending": 100_000,
    "max_retry_after": 30.0,
}

Fetch = Callable[[Organization, Listing | None], Awaitable[Listing]]


def on_virtual_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in a loop with a jumping clock."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        virtual_clock.run(test(*args, **kwargs))

    return run


def body_of(*calls: Any, key: str = "current_calls") -> bytes:
    """Write the body of a find."""
    return json.dumps({key: list(calls)}, separators=(",", ":")).encode()


def call(transaction_id: str, **fields: Any) -> dict[str, Any]:
    """Write the payload of a call."""
    return {"transaction_id": transaction_id, "call_status": "bridged", **fields}


def check_usable() -> None:
    """Stand for a usable client."""


async def settle() -> None:
    """Let every task run as far as it gets without waiting for time."""
    for _ in range(12):
        await asyncio.sleep(0)


async def turn(seconds: float) -> None:
    """Let time pass, and then every task run."""
    await settle()
    await asyncio.sleep(seconds)
    await settle()


class ScriptedServer:
    """Lists the calls it is given, raises the errors it is given, and waits for the gates it is given."""

    def __init__(self) -> None:
        self.calls: dict[Organization, list[Any]] = {}
        self.bodies: dict[Organization, bytes] = {}
        self.errors: dict[Organization, Exception] = {}
        self.gates: dict[Organization, asyncio.Event] = {}
        self.requests: Counter[Organization] = Counter()
        self.times: list[tuple[float, Organization]] = []
        self.running = self.peak = 0

    async def fetch(self, organization: Organization, last: Listing | None) -> Listing:
        """Fetch the calls of an organization."""
        self.requests[organization] += 1
        self.times.append((clock.now(), organization))
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            if organization in self.gates:
                await self.gates[organization].wait()
            if organization in self.errors:
                raise self.errors[organization]
            body = self.bodies.get(organization) or body_of(*self.calls.get(organization, []))
            return read(body, last, strict=False)
        finally:
            self.running -= 1

    def watch(self, *organizations: Organization, **settings: Any) -> Watch:
        """Make a watch of this server. Settings are those of `watch_of`."""
        return self.watch_of(organizations, **settings)

    def watch_of(
        self,
        organizations: Any,
        *,
        fetch: Fetch | None = None,
        check_usable: Callable[[], None] = check_usable,
        resume_from: Any = None,
        **settings: Any,
    ) -> Watch:
        """Make a watch of this server, or of a given fetch function."""
        return Watch(
            fetch or self.fetch,
            organizations,
            WatchSettings(**{**DEFAULTS, **settings}),
            check_usable=check_usable,
            resume_from=resume_from,
        )


async def take_all(watch: Watch) -> list[Any]:
    """Take every pending event."""
    return [await anext(watch) for _ in range(watch.stats.pending)]
