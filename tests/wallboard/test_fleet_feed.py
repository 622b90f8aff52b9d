"""The feed of a fleet, with a real nats-server, workers in this process, and the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fleet.nats_server import NatsServer
from wallboard.feeds import SETTINGS
from wallboard.fleets import INTERVAL, working
from wallboard.streams import Stream, open_stream

from calls_in_progress_async import CallStarted, InvalidRequestError, OrganizationFailed
from calls_in_progress_async.fleet import FleetError
from calls_in_progress_async.sandbox import Fault, SandboxServer
from calls_in_progress_async.wallboard import board_application, fleet_feed, serve
from calls_in_progress_async.wallboard.fleet_feed import FleetFeed


async def status_with(stream: Stream, found: Callable[[Any], bool]) -> Any:
    """Read the stream up to a status of some kind."""
    while not found(status := (await stream.until("status")).data):
        pass
    return status


async def test_a_fleet_feeds_the_board(own_server: NatsServer) -> None:
    """The feed has the calls, events, staleness and rate of the fleet, and needs no API token."""
    async with SandboxServer(organizations=3, calls_per_organization=0) as sandbox, asyncio.timeout(30):
        one, two, _ = sandbox.organizations
        first = sandbox.start_call(one)
        async with working(own_server, sandbox), FleetFeed(own_server.url, name="wall") as feed:
            assert [call.transaction_id for call in feed.calls[one]] == [first]
            second = sandbox.start_call(two)
            events = aiter(feed)
            assert isinstance(event := await anext(events), CallStarted)
            assert (event.organization, event.call.transaction_id) == (two, second)
            while not (status := feed.status()).requests:
                await asyncio.sleep(0.05)
            assert set(status.staleness) == set(sandbox.organizations)
            assert all(0 <= age < 20 for age in status.staleness.values())
            assert status.interval >= INTERVAL
            assert status.rate == 200.0
            sandbox.faults = [Fault(status=503, organization=one)]
            assert isinstance(event := await anext(events), OrganizationFailed)
            assert event.organization == one


async def test_a_board_of_a_dead_fleet_is_late_and_then_recovers(own_server: NatsServer) -> None:
    """Without a living worker the ages grow beyond the interval; a new worker makes the board current again."""
    async with SandboxServer(organizations=2, calls_per_organization=0) as sandbox, asyncio.timeout(30):
        one, _ = sandbox.organizations
        sandbox.start_call(one)
        async with working(own_server, sandbox):
            feed = await FleetFeed(own_server.url, name="wall", organizations=[one]).__aenter__()
        app = board_application(lambda: already_open(feed), **{**SETTINGS, "status_seconds": 0.1})
        async with serve(app, "127.0.0.1", 0) as url, open_stream(url) as stream:
            snapshot = (await stream.until("snapshot")).data
            assert (snapshot["organizations"], len(snapshot["calls"])) == ([str(one)], 1)
            assert (await status_with(stream, lambda status: status["ages"][0] >= 1))["interval"] == 0
            sandbox.start_call(one)
            async with working(own_server, sandbox):
                assert len((await stream.until("update")).data["calls"]) == 1
                await status_with(stream, lambda status: status["ages"] == [0] and status["rate"] == 200)


@asynccontextmanager
async def already_open(feed: FleetFeed) -> AsyncIterator[FleetFeed]:
    yield feed
    await feed.__aexit__(None, None, None)


async def test_a_fleet_without_workers_is_shown_after_a_while(
    own_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board of a stopped fleet shows the last known calls."""
    monkeypatch.setattr(fleet_feed, "_CHECKS", 2)
    async with SandboxServer(organizations=1, calls_per_organization=0) as sandbox, asyncio.timeout(30):
        sandbox.start_call(sandbox.organizations[0])
        async with working(own_server, sandbox):
            pass
        async with FleetFeed(own_server.url, name="wall") as feed:
            assert len(feed.calls[sandbox.organizations[0]]) == 1
            assert (feed.status().interval, feed.status().rate) == (0, None)


async def test_a_cancelled_wait_for_a_worker_closes_the_connection(own_server: NatsServer) -> None:
    """A board that stops while it starts leaves no connection open."""
    async with SandboxServer(organizations=1, calls_per_organization=0) as sandbox, asyncio.timeout(30):
        async with working(own_server, sandbox):
            pass
        feed = FleetFeed(own_server.url, name="wall")
        entering = asyncio.ensure_future(feed.__aenter__())
        while not feed.calls:
            await asyncio.sleep(0.01)
        await asyncio.sleep(2 * fleet_feed._CHECK)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert not feed._view._log.jetstream.is_connected


async def test_a_fleet_that_does_not_exist_is_an_error(own_server: NatsServer) -> None:
    """The error names the fleet."""
    with pytest.raises(FleetError, match="'absent'"):
        async with FleetFeed(own_server.url, name="absent"):
            pass


def test_arguments_are_checked_at_once() -> None:
    """A wrong name raises before anything is served."""
    with pytest.raises(InvalidRequestError, match="name must be"):
        FleetFeed("nats://127.0.0.1:1", name="a.*")
