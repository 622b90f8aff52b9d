"""A broadcast catches up without a gap, and never waits for a browser."""

from __future__ import annotations

from typing import Any

import pytest

from calls_in_progress_async.wallboard import BoardSettings
from calls_in_progress_async.wallboard.broadcast import Broadcast, Subscription, encode_message


def make_broadcast(**settings: Any) -> Broadcast:
    return Broadcast("run", BoardSettings(**settings), lambda: "everything", lambda: "status")


def connect(broadcast: Broadcast, after: str = "") -> Subscription:
    return broadcast.subscribe(after, lambda: None)


async def events(subscription: Subscription) -> list[str]:
    """Read the names and numbers of the queued messages, such as ``update 3``."""
    found = []
    for message in (await subscription.take()).decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in message.splitlines())
        if "event" in lines:
            found.append(" ".join(filter(None, (lines["event"], lines.get("id", "").removeprefix("run-")))))
    return found


def test_a_message_is_one_line_of_data() -> None:
    """Line ends, quotes and lone surrogates of a value cannot end it."""
    hostile = "a\nevent: snapshot\ndata: {}\r\n\r\n\u2028\ud800"
    encoded = encode_message("update", hostile, "run-1")
    assert encoded.decode() == (
        'id: run-1\nevent: update\ndata: "a\\nevent: snapshot\\ndata: {}\\r\\n\\r\\n\\u2028\\ud800"\n\n'
    )


@pytest.mark.parametrize(
    ("after", "first"),
    [
        ("run-3", []),
        ("run-1", ["update 2", "update 3"]),
        ("run-2", ["update 3"]),
        ("", ["snapshot 3"]),
        ("run-0", ["snapshot 3"]),
        ("run-4", ["snapshot 3"]),
        ("other-2", ["snapshot 3"]),
        ("run-x", ["snapshot 3"]),
        ("run--1", ["snapshot 3"]),
        ("run-²", ["snapshot 3"]),
        ("run-" + "9" * 5000, ["snapshot 3"]),
    ],
)
async def test_a_returning_browser_gets_the_missed_messages_or_a_snapshot(after: str, first: list[str]) -> None:
    """The ring holds two of three messages here: older, unknown or malformed ids get the snapshot."""
    broadcast = make_broadcast(ring_messages=2)
    for number in range(3):
        broadcast.publish("update", number)
    subscription = connect(broadcast, after)
    assert await events(subscription) == ["status", *first]
    broadcast.publish("update", 3)
    assert await events(subscription) == ["update 4"]


async def test_the_ring_is_bounded_in_bytes() -> None:
    """One large message pushes the others out."""
    broadcast = make_broadcast(ring_bytes=190)
    broadcast.publish("update", "small")
    broadcast.publish("update", "x" * 120)
    assert await events(connect(broadcast, "run-0")) == ["status", "snapshot 2"]
    broadcast.publish("update", "x" * 300)
    assert await events(connect(broadcast, "run-2")) == ["status", "snapshot 3"]


async def test_the_snapshot_is_made_once_for_many_browsers() -> None:
    """One snapshot serves 200 browsers; the next message makes it stale."""
    made = []
    broadcast = make_broadcast()
    broadcast.make_snapshot = lambda: made.append(1)
    for _ in range(200):
        connect(broadcast)
    broadcast.announce("status", None)
    assert len(made) == 1
    broadcast.publish("update", 1)
    connect(broadcast)
    assert len(made) == 2


async def test_a_status_has_no_number() -> None:
    """A status carries no id, so a browser reconnecting after it misses nothing."""
    broadcast = make_broadcast()
    subscription = connect(broadcast)
    await events(subscription)
    broadcast.announce("status", 1)
    broadcast.publish("update", 1)
    assert await events(subscription) == ["status", "update 1"]


async def test_a_slow_browser_is_disconnected_and_the_others_go_on() -> None:
    """A message beyond the full queue is not lost: the browser reconnects and gets it."""
    broadcast = make_broadcast(queue_bytes=300)
    disconnected: list[int] = []
    slow = broadcast.subscribe("", lambda: disconnected.append(1))
    quick = connect(broadcast)
    await quick.take()
    for number in range(1, 9):
        broadcast.publish("update", "x" * 100)
        assert await events(quick) == [f"update {number}"]
    assert disconnected == [1]
    assert broadcast.subscriptions == {quick}
    taken = await events(slow)
    assert await slow.take() == b""
    missed = await events(connect(broadcast, f"run-{taken[-1].split()[1]}"))
    assert taken[1:] == ["snapshot 0", *(f"update {number}" for number in range(1, len(taken) - 1))]
    assert [*taken[2:], *missed[1:]] == [f"update {number}" for number in range(1, 9)]


async def test_a_large_snapshot_is_not_slowness() -> None:
    """The limit is for later messages only."""
    broadcast = make_broadcast(queue_bytes=10)
    broadcast.make_snapshot = lambda: "x" * 5000
    subscription = connect(broadcast)
    broadcast.publish("update", 1)
    assert subscription in broadcast.subscriptions
    assert await events(subscription) == ["status", "snapshot 0", "update 1"]
    assert not subscription.is_slow


async def test_closing_ends_every_stream_after_its_queued_messages() -> None:
    """Closing twice is the same as closing once."""
    broadcast = make_broadcast()
    subscription = connect(broadcast)
    broadcast.close()
    broadcast.close()
    assert await events(subscription) == ["status", "snapshot 0"]
    assert await subscription.take() == b""
    assert not broadcast.subscriptions
