"""The findings of polls, written to a log in memory. The log refuses outdated ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field

from calls_in_progress_async import Organization
from calls_in_progress_async.errors import ServerError
from calls_in_progress_async.fleet.errors import SupersededCommitError
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.fleet.log_values import Stored
from calls_in_progress_async.fleet.message import decode
from calls_in_progress_async.fleet.sink import CommittingSink
from calls_in_progress_async.fleet.state import FleetState
from calls_in_progress_async.watch.listing import Listing, read
from calls_in_progress_async.watch.organization_state import OrganizationState

ORGANIZATION = Organization.advertiser(25)
SUBJECT = "cip.t.events.0.advertiser.25"
INTERVAL = 1.0


@define
class MemoryLog:
    """The messages of one subject; the sequence of a message is its number."""

    messages: list[bytes] = field(factory=list)
    responds: bool = True
    max_payload: int = 2000
    max_age: float = 7 * 86400.0
    on_commit: Callable[[], object] = bool
    settings: LogSettings = field(factory=lambda: LogSettings(servers="nats://127.0.0.1:1", name="t", shards=1))

    async def last(self, subject: str) -> Stored:
        return Stored(len(self.messages), self.messages[-1]) if self.messages else Stored()

    async def commit(self, subject: str, body: bytes, after: int) -> int:
        self.on_commit()
        if after != len(self.messages):
            raise SupersededCommitError
        self.messages.append(body)
        return len(self.messages)


class World:
    """A sink on a log in memory, and the state of one organization."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.is_fresh = True
        self.refused: list[FleetState] = []
        log: Any = self.log
        self.sink = CommittingSink(
            log, by="me", interval=INTERVAL, is_fresh=lambda: self.is_fresh, on_refused=self.refused.append
        )
        self.state = new_state()

    async def poll(self, now: float, *names: str) -> None:
        listing = listing_of(*names, last=self.state.calls.listing)
        if (writing := self.sink.on_listing(self.state, listing, now)) is not None:
            await writing

    @property
    def kinds(self) -> list[list[str]]:
        """The kinds of events of each message."""
        return [[event["kind"] for event in json.loads(body)["events"]] for body in self.log.messages]


def new_state() -> FleetState:
    return FleetState(organization=ORGANIZATION, added_at=0.0, subject=SUBJECT)


def listing_of(*names: str, last: Listing | None = None) -> Listing:
    calls = [{"transaction_id": name} for name in names]
    return read(json.dumps({"current_calls": calls}).encode(), last, strict=False)


async def test_a_poll_is_written_if_anything_is_new() -> None:
    """The first poll is written in any case, and an unchanged organization costs no message."""
    world = World()
    await world.poll(1.0)
    await world.poll(2.0)
    await world.poll(3.0, "A")
    await world.poll(4.0, "A")
    assert world.kinds == [[], ["call_started"]]
    counters = world.sink.counters
    assert (counters.commits, counters.events, counters.refused) == (2, 1, 0)
    assert counters.bytes == sum(map(len, world.log.messages))


async def test_a_quiet_organization_is_written_before_its_last_message_is_trimmed() -> None:
    """A message older than half of the log's age is followed by another without events."""
    world = World()
    await world.poll(1.0, "A")
    world.state.written_at -= world.log.max_age / 2 + 1
    await world.poll(2.0, "A")
    await world.poll(3.0, "A")
    assert world.kinds == [["call_started"], []]


async def test_a_large_poll_takes_several_messages() -> None:
    """Each message follows the one before, and the last one has the whole state."""
    world = World()
    await world.poll(1.0, "A", "B", "C", "D", "E")
    assert len(world.log.messages) > 1
    assert [kind for kinds in world.kinds for kind in kinds] == ["call_started"] * 5
    assert set(decode(world.log.messages[-1]).calls) == {"A", "B", "C", "D", "E"}


async def test_an_outage_begins_and_ends() -> None:
    """The beginning names the class of the error, and the end the seconds without good responses."""
    world = World()
    await world.poll(1.0)
    error = ServerError("down")
    assert world.state.fail(error)
    await world.sink.on_failure(world.state, error, 2.0)
    await world.poll(4.5)
    assert world.kinds == [[], ["organization_failed"], ["organization_recovered"]]
    failed, recovered = (decode(body) for body in world.log.messages[1:])
    assert (failed.failed, failed.events[0].error) == (True, "ServerError")
    assert (recovered.failed, recovered.events[0].gap) == (False, 3.5)


async def test_a_successor_tells_of_a_long_gap_only() -> None:
    """More than 2.5 intervals since the last message are a gap in what the fleet saw."""
    for gap, kinds in ((2.5, []), (2.6, ["organization_resumed"])):
        world = World()
        world.state.resumed = True
        await world.poll(gap)
        assert world.kinds == [kinds]


async def test_a_refused_write_is_followed_by_a_reload() -> None:
    """Another worker has written: the organization is doubtful, is polled again soon, and goes on from the log."""
    world = World()
    await world.poll(1.0, "A")
    world.log.messages.append(world.log.messages[-1])
    await world.poll(2.0, "A", "B")
    assert world.refused == [world.state]
    assert (world.sink.counters.refused, world.state.is_doubtful, world.state.must_write) == (1, True, True)
    await world.sink.settle(world.state)
    assert (world.sink.counters.reloads, world.state.is_doubtful, world.state.sequence) == (1, False, 2)
    await world.poll(3.0, "A", "B")
    assert world.kinds == [["call_started"], ["call_started"], ["call_started"]]
    assert set(decode(world.log.messages[-1]).calls) == {"A", "B"}


async def test_a_finding_is_written_however_late() -> None:
    """A poll from before a silence of the log is news as long as nobody else has written; else the log refuses it."""
    world = World()
    await world.poll(1.0)
    world.is_fresh = False
    await world.poll(2.0, "A")
    assert world.kinds == [[], ["call_started"]]
    world.log.messages.append(world.log.messages[-1])
    await world.poll(3.0)
    assert (len(world.log.messages), world.refused) == (3, [world.state])


async def test_no_outage_is_told_after_a_freeze() -> None:
    """A frozen worker fails its own requests; the organization is reloaded, and then written."""
    world = World()
    world.is_fresh = False
    await world.sink.on_failure(world.state, ServerError("down"), 1.0)
    assert (world.log.messages, world.refused) == ([], [])
    assert (world.state.is_doubtful, world.state.must_write) == (True, True)


async def test_a_doubt_outlives_a_commit_on_its_way() -> None:
    """A message of before the doubt does not outdate a successor's late write, so the next poll is written too."""
    world = World()
    await world.poll(1.0)
    world.log.on_commit = lambda: world.state.doubt(write=True)
    await world.poll(2.0, "A")
    world.log.on_commit = bool
    await world.sink.settle(world.state)
    await world.poll(3.0, "A")
    await world.poll(4.0, "A")
    assert world.kinds == [[], ["call_started"], []]


async def test_commits_on_their_way_are_counted() -> None:
    """A worker that leaves waits for them; a refused one is over as well."""
    world = World()
    counts: list[int] = []
    world.log.on_commit = lambda: counts.append(world.sink.committing)
    await world.poll(1.0, "A")
    world.log.messages.append(world.log.messages[-1])
    await world.poll(2.0, "B")
    assert (counts, world.sink.committing) == ([1, 1], 0)


async def test_a_refused_message_is_the_last_of_its_poll() -> None:
    """The other messages of a large poll would be refused too, and the organization is polled again once."""
    world = World()
    await world.poll(1.0)
    world.log.messages.append(world.log.messages[-1])
    await world.poll(2.0, "A", "B", "C", "D", "E")
    assert world.refused == [world.state]
    assert world.sink.counters.refused == 1
    assert world.kinds == [[], []]


async def test_polls_pause_while_writing_is_impossible() -> None:
    """A worker polls only while the log responds and its own beats come back."""
    world = World()
    paused = []
    for world.log.responds, world.is_fresh in ((True, True), (True, False), (False, True), (False, False)):
        paused.append(world.sink.paused)
    assert paused == [False, True, True, True]


async def test_a_doubtful_organization_is_settled_before_its_poll() -> None:
    """The fetch compares with the listing after the reload."""
    world = World()
    fetched: list[tuple[bool, Listing | None]] = []

    async def fetch(state: OrganizationState, wanted: Callable[[], bool] | None = None) -> Listing:
        fetched.append((world.state.is_doubtful, state.calls.listing))
        return listing_of("A")

    settled_fetch = world.sink.settle_before(fetch)
    world.state.calls.listing = old = listing_of("B")
    await settled_fetch(world.state)
    world.state.doubt(write=False)
    await settled_fetch(world.state)
    assert fetched == [(False, old), (False, None)]
    assert world.sink.counters.reloads == 1


@pytest.mark.parametrize("is_doubtful", [False, True])
async def test_a_poll_is_unwanted_once_its_organization_is_given_up(is_doubtful: bool) -> None:
    """It must not follow another worker's poll."""
    world = World()
    world.state.is_doubtful = is_doubtful
    wanted_while: list[bool] = []

    async def fetch(state: OrganizationState, wanted: Callable[[], bool] | None = None) -> Listing:
        assert wanted is not None
        for world.state.is_held in (True, False):
            wanted_while.append(wanted())
        return listing_of()

    await world.sink.settle_before(fetch)(world.state)
    assert wanted_while == [True, False]


async def test_the_error_that_ends_polling_is_kept() -> None:
    """The worker raises the error later."""
    world = World()
    error = RuntimeError("bug")
    world.sink.on_end(error)
    assert world.sink.error is error


async def test_a_poll_too_large_for_any_message_is_an_error_in_the_log_file(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is written; once the server takes more, the next poll is written."""
    world = World()
    world.log.max_payload = 50
    await world.poll(1.0, "A")
    assert world.log.messages == []
    (record,) = caplog.records
    assert "The calls in progress of advertiser:25 (1) need a message of" in record.message
    assert "raise its max_payload" in record.message
    world.log.max_payload = 2000
    await world.sink.settle(world.state)
    await world.poll(2.0, "A")
    assert [each.kind for each in decode(world.log.messages[0]).events] == ["call_started"]
