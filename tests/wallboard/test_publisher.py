"""The publisher turns events and time into messages."""

from __future__ import annotations

import re

import pytest
from wallboard.feeds import ACME, BOLT, ScriptedFeed, make_call

from calls_in_progress_async import CallStarted, clock
from calls_in_progress_async.wallboard import BoardSettings
from calls_in_progress_async.wallboard.publisher import Publisher


async def messages(publisher: Publisher) -> list[str]:
    """Read the names of the messages since the last call."""
    (subscription,) = publisher.broadcast.subscriptions
    return re.findall(r"event: (\w+)", (await subscription.take()).decode())


async def test_requests_per_second_are_measured_between_two_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ticks at the same moment do not divide by zero."""
    now = 100.0
    monkeypatch.setattr(clock, "now", lambda: now)
    feed = ScriptedFeed()
    publisher = Publisher(feed, BoardSettings(), "v")
    subscription = publisher.broadcast.subscribe("", lambda: None)
    await subscription.take()
    told: list[str] = []
    for now, feed.requests in ((100.0, 0), (102.0, 20), (102.0, 25), (104.0, 26)):  # noqa: B007 - read by the clock
        publisher.tick()
        told += re.findall(r'"requests":([\d.]+)', (await subscription.take()).decode())
    assert told == ["0.0", "10.0", "10.0", "3.0"]


async def test_an_event_that_changes_nothing_is_not_published() -> None:
    """A repeated start publishes nothing; real changes of one batch become one update."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(1)]}
    publisher = Publisher(feed, BoardSettings(batch_seconds=0.001, status_seconds=0.01), "v")
    publisher.start()
    publisher.broadcast.subscribe("", lambda: None)
    assert await messages(publisher) == ["status", "snapshot"]
    feed.put(CallStarted(ACME, feed.calls[ACME][0]))
    seen: list[str] = []
    while seen.count("status") < 5:
        seen += await messages(publisher)
    assert "update" not in seen
    feed.start(make_call(2), make_call(3))
    while "update" not in seen:
        seen += await messages(publisher)
    assert seen.count("update") == 1
    await publisher.close()


async def test_calls_of_an_organization_that_left_do_not_come_back() -> None:
    """The pending update of a removed organization is dropped too."""
    feed = ScriptedFeed()
    publisher = Publisher(feed, BoardSettings(), "v")
    publisher.tick()
    publisher.broadcast.subscribe("", lambda: None)
    await messages(publisher)
    publisher.board.apply(CallStarted(BOLT, make_call(1)), clock.unix_time())
    feed.organizations = [ACME]
    publisher.tick()
    assert (await messages(publisher))[0] == "snapshot"
    assert publisher.board.take_update() is None
    assert publisher.board.snapshot()["calls"] == []


async def test_runs_of_the_server_have_different_names() -> None:
    """The number of a message means nothing to the next run."""
    assert len({Publisher(ScriptedFeed(), BoardSettings(), "v").broadcast.name for _ in range(9)}) == 9
