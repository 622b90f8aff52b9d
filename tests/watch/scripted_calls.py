"""The calls, failures and gates of organizations as the script of a transport, and a client to watch them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from calls_in_progress_async import CallsInProgressClient, Organization, RetryPolicy
from calls_in_progress_async.testing import ScriptedTransport, SentRequest, status
from calls_in_progress_async.watch.fetch import make_fetch
from calls_in_progress_async.watch.watch import Watch

ACME = Organization.advertiser(25)
GLOBEX = Organization.network(7)
INITECH = Organization.advertiser(9)
DEFAULTS = {"token": "t", "retry": RetryPolicy(max_attempts=1), "timeout": None, "attempt_timeout": None}
"""A client's settings: one request for each poll, for as long as it takes."""


def body_of(*calls: Any, key: str = "current_calls") -> bytes:
    """Write the body of a find."""
    return json.dumps({key: list(calls)}, separators=(",", ":")).encode()


def call(transaction_id: str, **fields: Any) -> dict[str, Any]:
    """Write the payload of a call."""
    return {"transaction_id": transaction_id, "call_status": "bridged", **fields}


def check_usable() -> None:
    """Stand for a usable client."""


class ScriptedCalls:
    """Lists the calls, raises the errors and waits for the gates of each organization, as they are now.

    Args:
        settings: Those of the client.
    """

    def __init__(self, **settings: Any) -> None:
        self.calls: dict[Organization, list[Any]] = {}
        self.bodies: dict[Organization, bytes] = {}
        self.errors: dict[Organization, Any] = {}
        """Responses in place of a list."""
        self.failure: Callable[[Organization], Any] = self.errors.get
        """Returns the response in place of a list, or None, when a request ends."""
        self.gates: dict[Organization, asyncio.Event] = {}
        self.seconds: dict[Organization, float] = {}
        """Seconds from each request to its response."""
        self.running = self.peak = 0
        self.transport = ScriptedTransport(self._respond, repeat_last=True)
        self.client = CallsInProgressClient(**{**DEFAULTS, "transport": self.transport, **settings})
        self.fetch = make_fetch(self.client._execute, strict=False)

    @property
    def requests(self) -> Counter[Organization]:
        """The number of requests so far."""
        return Counter(each.organization for each in self.transport.requests)

    @property
    def times(self) -> list[float]:
        """The times of the requests in seconds."""
        return [each.time for each in self.transport.requests]

    def watch(self, *organizations: Organization, **settings: Any) -> Watch:
        """Watch through the client; settings are those of `CallsInProgressClient.watch`."""
        return self.client.watch(organizations, **settings)

    async def _respond(self, request: SentRequest) -> Any:
        organization = request.organization
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            if organization in self.seconds:
                await asyncio.sleep(self.seconds[organization])
            if organization in self.gates:
                await self.gates[organization].wait()
        finally:
            self.running -= 1
        if (failure := self.failure(organization)) is not None:
            return failure
        return status(200, body=self.bodies.get(organization) or body_of(*self.calls.get(organization, [])))


async def take_all(watch: Watch) -> list[Any]:
    """Take every pending event."""
    return [await anext(watch) for _ in range(watch.stats.pending)]
