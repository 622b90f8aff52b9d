"""A feed scripted by a test, and servers for its board."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from calls_in_progress_async import (
    Call,
    CallChanged,
    CallEnded,
    CallEvent,
    CallStarted,
    Organization,
    OrganizationFailed,
    OrganizationRecovered,
    ServerError,
    clock,
)
from calls_in_progress_async.wallboard import FeedStatus, board_application, serve

ACME, BOLT = Organization.advertiser(25), Organization.advertiser(26)
SETTINGS: dict[str, Any] = {"batch_seconds": 0.01, "status_seconds": 0.05, "fields": ["utm_source"]}


def make_call(number: int, **fields: Any) -> Call:
    """Make a call with its start `number` seconds ago, or `age` seconds if given."""
    age = fields.pop("age", number)
    source = fields.pop("utm_source", "google.com")
    return Call.from_payload(
        {
            "transaction_id": f"T{number}",
            "calling_phone_number": f"+1805555{number % 10_000:04}",
            "bridge_start_time": _iso(clock.unix_time() - age),
            "advertiser_campaign_name": f"Campaign {number % 7}",
            "custom_data": {"utm_source": {"value": source, "source": "VirtualLine"}},
            **fields,
        }
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class ScriptedFeed:
    """Holds calls and emits events chosen by a test."""

    def __init__(self, *organizations: Organization) -> None:
        self.organizations: Sequence[Organization] = organizations or (ACME, BOLT)
        self.calls: dict[Organization, list[Call]] = {}
        self.ages: dict[Organization, float] = {}
        self.requests = 0
        self.rate: float | None = 10.0
        self.left = False
        self._events: asyncio.Queue[CallEvent | Exception | None] = asyncio.Queue()

    async def __aenter__(self) -> ScriptedFeed:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left = True

    def status(self) -> FeedStatus:
        staleness = {each: self.ages.get(each, 1.0) for each in self.organizations}
        return FeedStatus(staleness=staleness, interval=5.0, requests=self.requests, rate=self.rate)

    def put(self, *events: CallEvent | Exception | None) -> None:
        """Emit an event, raise an error from the feed, or end the feed with None."""
        for event in events:
            self._events.put_nowait(event)

    def start(self, *calls: Call, organization: Organization = ACME) -> None:
        self.put(*(CallStarted(organization, call) for call in calls))

    def change(self, before: Call, after: Call, organization: Organization = ACME) -> None:
        self.put(CallChanged(organization, after, before))

    def end(self, *calls: Call, organization: Organization = ACME) -> None:
        self.put(*(CallEnded(organization, call) for call in calls))

    def fail(self, organization: Organization = ACME, error: Exception | None = None) -> None:
        self.put(OrganizationFailed(organization, error or ServerError("HTTP 503: the service is down", status=503)))

    def recover(self, organization: Organization = ACME) -> None:
        self.put(OrganizationRecovered(organization, 7.5))

    async def __aiter__(self) -> AsyncIterator[CallEvent]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


@asynccontextmanager
async def serving(feed: ScriptedFeed, port: int = 0, **settings: Any) -> AsyncIterator[str]:
    """Serve the board of a feed."""
    async with serve(board_application(lambda: feed, **{**SETTINGS, **settings}), "127.0.0.1", port) as url:
        yield url
