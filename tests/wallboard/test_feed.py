"""The feed of a client's own watch, against the sandbox."""

from __future__ import annotations

import asyncio

from calls_in_progress_async import CallsInProgressClient, CallStarted, RateLimit
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.wallboard import WatchFeed
from calls_in_progress_async.wallboard.feed import _total


async def test_a_watch_feeds_the_board() -> None:
    """A feed has the events, calls, staleness and rate of the watch."""
    async with SandboxServer(organizations=2, calls_per_organization=0) as sandbox:
        organizations = sandbox.organizations
        name = sandbox.start_call(sandbox.organizations[1])
        settings = {"token": sandbox.token, "base_url": sandbox.url}
        async with (
            CallsInProgressClient(**settings, rate_limit=RateLimit(rate=50)) as client,
            WatchFeed(client, organizations, 0.05) as feed,
        ):
            event = await anext(aiter(feed))
            assert isinstance(event, CallStarted)
            assert [call.transaction_id for call in feed.calls[organizations[1]]] == [name]
            status = feed.status()
            assert list(status.staleness) == organizations
            assert all(0 <= age < 10 for age in status.staleness.values())
            assert status.requests >= 1
            assert (status.rate, status.interval) == (50.0, 0.05)
        async with asyncio.timeout(5):
            assert [event async for event in feed] == []  # leaving the block ended the watch


def test_one_limit_that_is_none_means_no_limit() -> None:
    """The rates of several hosts add up."""
    assert _total([]) is None
    assert _total([10.0, 5.0]) == 15.0
    assert _total([10.0, None]) is None
