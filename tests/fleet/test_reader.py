"""The reading side of the log, on a log in memory."""

from __future__ import annotations

from typing import Any, cast

import pytest
from attrs import define, field

from calls_in_progress_async.fleet.errors import EventsLostError, LogUnavailableError
from calls_in_progress_async.fleet.jetstream import JetStream
from calls_in_progress_async.fleet.log_values import Consumer, Delivery, StreamState
from calls_in_progress_async.fleet.reader import LogReader

MODULE = "calls_in_progress_async.fleet.reader"


async def ignore() -> None:
    """Acknowledge nothing."""


STATE = StreamState(1, first=7, last=7, bytes=2, max_age=60.0)
DELIVERY = Delivery(7, b"{}", 0, 0, ignore)


@define
class MemoryLog:
    """A log with one message, and its groups."""

    groups: dict[str, Consumer] = field(factory=dict)
    responds: bool = True

    async def state(self) -> StreamState:
        if not self.responds:
            raise LogUnavailableError("away")
        return STATE

    async def consumer(self, group: str) -> Consumer | None:
        return self.groups.get(group)

    async def create_consumer(self, group: str, *, begins_at: int, **settings: Any) -> None:
        self.groups[group] = Consumer(group, 1, 0, 0, begins_at)

    async def pull(self, group: str) -> Any:
        async def fetch(number: int) -> list[Delivery]:
            assert group in self.groups
            return [DELIVERY]

        return fetch


def reader_of(log: MemoryLog, *, accept_loss: bool = False) -> LogReader:
    return LogReader(cast(JetStream, log), "g", ack_wait=30.0, accept_loss=accept_loss)


async def test_a_group_begins_at_the_first_message() -> None:
    """Messages trimmed before the group began are no loss."""
    log = MemoryLog()
    reader = reader_of(log)
    assert await reader.fetch(5) == [DELIVERY]
    assert await reader.fetch(5) == [DELIVERY]
    assert log.groups["g"].begins_at == 7


async def test_a_group_deleted_by_hand_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader creates the group anew at its next check."""
    monkeypatch.setattr(f"{MODULE}._CHECK", -1.0)
    log = MemoryLog()
    reader = reader_of(log)
    await reader.fetch(5)
    log.groups.clear()
    assert await reader.fetch(5) == [DELIVERY]
    assert set(log.groups) == {"g"}


async def test_a_log_that_does_not_respond_gives_no_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader goes on once the log responds."""
    monkeypatch.setattr(f"{MODULE}._AGAIN", 0.0)
    log = MemoryLog(responds=False)
    reader = reader_of(log)
    assert await reader.fetch(5) == []
    log.responds = True
    assert await reader.fetch(5) == [DELIVERY]


async def test_trimmed_messages_are_an_error_unless_accepted() -> None:
    """The error names the first and the last lost message."""
    log = MemoryLog(groups={"g": Consumer("g", 1, 0, 3, 1)})
    with pytest.raises(EventsLostError, match="Messages 4 to 6 were trimmed") as caught:
        await reader_of(log).fetch(5)
    assert (caught.value.first, caught.value.last) == (4, 6)
    assert await reader_of(log, accept_loss=True).fetch(5) == [DELIVERY]
