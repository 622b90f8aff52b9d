"""One worker of a fleet: its shards, its organizations and its end. The log and the poller are fakes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fleet.memory_log import MemoryLog
from watch.scripted_calls import body_of, call

from calls_in_progress_async import Organization, ServerError, WatchLevels, clock
from calls_in_progress_async.fleet import FleetError
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.fleet.log_values import Stored
from calls_in_progress_async.fleet.membership import Membership
from calls_in_progress_async.fleet.shares import RateShares
from calls_in_progress_async.fleet.sink import CommitCounters
from calls_in_progress_async.fleet.state import FleetState
from calls_in_progress_async.fleet.worker import Worker
from calls_in_progress_async.limits.snapshots import LimiterSnapshot
from calls_in_progress_async.testing.virtual_clock import run
from calls_in_progress_async.watch.listing import read
from calls_in_progress_async.watch.poller import PollCounters
from calls_in_progress_async.watch.schedule import Schedule

ORGANIZATIONS = [Organization.advertiser(number) for number in range(1, 121)]
SETTLED = 2.0
"""Seconds after which a lone worker holds its shards."""


class RecordingPoller:
    """Keeps the states to poll, and polls none."""

    def __init__(self) -> None:
        self.counters = PollCounters()
        self.polled: dict[Organization, FleetState] = {}
        self.added: list[FleetState] = []
        self.at_once: set[Organization] = set()
        self.wakes = 0
        self.on_add: Callable[[], object] = bool
        self.drained = asyncio.Event()
        self.drained.set()

    def start(self) -> None: ...

    async def close(self) -> None: ...

    def add(self, state: FleetState, *, at_once: bool = True) -> None:
        assert state.organization not in self.polled
        if at_once:
            self.at_once.add(state.organization)
        self.polled[state.organization] = state
        self.added.append(state)
        self.on_add()

    def remove(self, organization: Organization) -> None:
        del self.polled[organization]

    async def drain(self, organizations: Iterable[Organization]) -> None:
        for organization in organizations:
            self.polled.pop(organization, None)
        await self.drained.wait()

    def wake(self) -> None:
        self.wakes += 1


class QuietSink:
    """Commits nothing."""

    def __init__(self) -> None:
        self.counters = CommitCounters()
        self.paused = False
        self.error: BaseException | None = None
        self.committing = 0


class NoLimits:
    """A rate limit without a rate."""

    def set_share(self, fraction: float, *, token: str | None = None) -> None: ...

    def snapshot(self) -> LimiterSnapshot:
        return LimiterSnapshot(shared={}, organizations=0, organizations_waiting=0)


class Bench:
    """A worker between its fakes."""

    def __init__(self, shards: int) -> None:
        self.log = MemoryLog(LogSettings(servers="nats://unused", name="bench", shards=shards))
        self.poller, self.sink = RecordingPoller(), QuietSink()
        self.sent = 0
        membership = Membership("me", shards, 3.0)
        self.worker = Worker(self.log, membership, RateShares(NoLimits(), None), sent=lambda: self.sent)  # type: ignore[arg-type]
        self.worker.use(self.poller, self.sink, Schedule(5.0, 4))  # type: ignore[arg-type]

    @property
    def held(self) -> set[Organization]:
        """The organizations held. The poller polls exactly these."""
        held = {state.organization for state in self.worker.states()}
        assert held == self.poller.polled.keys()
        return held

    def of_shard(self, shard: int) -> set[Organization]:
        return {each for each in ORGANIZATIONS if self.log.settings.shard_of(each) == shard}

    def state_of(self, organization: Organization) -> FleetState:
        return next(each for each in self.worker.states() if each.organization == organization)

    async def hear(self, member: str, **more: Any) -> None:
        """Pass a beat of another worker on."""
        await self.worker.on_beat({"by": member, "sent": clock.time_with_sleep(), "stale": 0.0, **more})

    def message(self, organization: Organization, *, age: float) -> tuple[str, Stored]:
        """Return the subject of an organization, and a message without events."""
        subject, at = self.log.settings.subject_of(organization), clock.unix_time() - age
        state = FleetState(organization=organization, added_at=0.0, subject=subject)
        return subject, Stored(7, state.draft([], "other", at).body)


@asynccontextmanager
async def open_bench(shards: int = 1, organizations: list[Organization] = ORGANIZATIONS) -> AsyncIterator[Bench]:
    """Run the beats of a worker, and let the worker leave at the end."""
    bench = Bench(shards)
    await bench.worker.set_organizations(organizations)
    await bench.log.hear_beats(bench.worker.on_beat)
    bench.worker.start()
    beating = asyncio.create_task(bench.worker.beat_regularly())
    try:
        yield bench
    finally:
        beating.cancel()
        await bench.worker.leave()


def test_organizations_can_change_while_a_shard_is_held() -> None:
    """New organizations are polled, those of before keep their states, and the others are dropped."""

    async def main() -> None:
        async with open_bench(organizations=ORGANIZATIONS[:3]) as bench:
            await asyncio.sleep(SETTLED)
            dropped, kept = map(bench.state_of, ORGANIZATIONS[:2])
            assert dropped.is_held
            await bench.worker.set_organizations(ORGANIZATIONS[1:5])
            await asyncio.sleep(0.1)
            assert bench.held == set(ORGANIZATIONS[1:5])
            assert kept.is_held
            assert not dropped.is_held
            await bench.worker.set_organizations(ORGANIZATIONS[1:2])
            await asyncio.sleep(0.1)
            assert bench.held == {ORGANIZATIONS[1]}
            assert len(bench.poller.added) == 5
        assert not kept.is_held

    run(main)


def test_the_gauges_show_the_organizations_held() -> None:
    """Another thread reads them; a worker without organizations shows nothing."""

    async def main() -> None:
        async with open_bench(organizations=ORGANIZATIONS[:3]) as bench:
            assert bench.worker.levels() is None
            await asyncio.sleep(SETTLED)
            state, began = bench.state_of(ORGANIZATIONS[0]), clock.now()
            state.apply(read(body_of(call("A"), call("B")), None, strict=False), began)
            bench.state_of(ORGANIZATIONS[1]).fail(ServerError("HTTP 500", status=500))
            await asyncio.sleep(60.0)
            levels = await asyncio.to_thread(bench.worker.levels)
            assert levels == WatchLevels(3, 1, 2, levels.max_staleness if levels else 0.0)
            assert 60.0 < levels.max_staleness < 60.0 + SETTLED
        assert bench.worker.levels() is None

    run(main)


def test_organizations_can_change_while_a_shard_is_taken() -> None:
    """An organization that leaves the fleet before its turn is not polled."""

    async def main() -> None:
        async with open_bench() as bench:
            changes: list[asyncio.Task[None]] = []

            def change_after_fifty() -> None:
                if len(bench.poller.added) == 50:
                    changes.append(asyncio.create_task(bench.worker.set_organizations(ORGANIZATIONS[:50])))

            bench.poller.on_add = change_after_fifty
            await asyncio.sleep(SETTLED)
            assert [task.done() for task in changes] == [True]
            assert bench.held == set(ORGANIZATIONS[:50])
            assert bench.poller.wakes > 0

    run(main)


def test_a_shard_given_up_before_the_log_responds_is_not_polled() -> None:
    """Another worker appears while the log is slow; only the remaining shard is polled."""

    async def main() -> None:
        async with open_bench(shards=2) as bench:
            bench.log.readable.clear()
            await asyncio.sleep(SETTLED)
            assert bench.log.beats[-1]["shards"] == 2
            await bench.hear("other")
            bench.log.readable.set()
            await asyncio.sleep(0.1)
            assert bench.log.beats[-1]["shards"] == 1
            assert bench.held in (bench.of_shard(0), bench.of_shard(1))

    run(main)


def test_a_shard_is_taken_where_the_log_ends() -> None:
    """The last good response is at least as late as the last message of the organization."""

    async def main() -> None:
        async with open_bench(organizations=ORGANIZATIONS[:2]) as bench:
            bench.log.stored = dict([bench.message(ORGANIZATIONS[0], age=30.0)])
            written_at = clock.now() - 30.0
            await asyncio.sleep(SETTLED)
            known, new = (bench.state_of(each) for each in ORGANIZATIONS[:2])
            assert bench.poller.at_once == {known.organization, new.organization}
            assert (known.sequence, known.rev, known.last_response_at) == (7, 1, pytest.approx(written_at, abs=0.01))
            assert known.written_at == pytest.approx(written_at, abs=0.01)
            assert (new.sequence, new.rev) == (0, 0)

    run(main)


def test_a_shard_comes_back_from_a_worker_that_leaves() -> None:
    """The other worker's last beat tells the age of its oldest good response, which is later than the last message."""

    async def main() -> None:
        async with open_bench(shards=2) as bench:
            bench.log.stored = dict(bench.message(each, age=30.0) for each in ORGANIZATIONS)
            await asyncio.sleep(SETTLED)
            assert bench.held == set(ORGANIZATIONS)
            await bench.hear("other")
            await asyncio.sleep(0.1)
            given_up = set(ORGANIZATIONS) - bench.held
            assert given_up in (bench.of_shard(0), bench.of_shard(1))
            polled_at = clock.now() - 5.0
            await bench.hear("other", stale=5.0, leaving=True)
            await asyncio.sleep(0.1)
            assert bench.held == set(ORGANIZATIONS)
            for organization in given_up:
                assert bench.state_of(organization).last_response_at == pytest.approx(polled_at, abs=0.01)

    run(main)


@pytest.mark.parametrize(
    ("leaving", "since_point", "at_once"), [(True, 3.0, False), (True, 0.4, True), (False, 3.0, True)]
)
def test_an_organization_of_a_living_worker_keeps_its_rhythm(
    monkeypatch: pytest.MonkeyPatch, leaving: bool, since_point: float, at_once: bool
) -> None:
    """The organizations of a worker that leaves are polled at their points, unless nobody polled at the last one.

    Those of a dead worker are polled at once.
    """
    monkeypatch.setattr(Schedule, "since_point", lambda *_: since_point)

    async def main() -> None:
        async with open_bench(shards=2) as bench:
            await asyncio.sleep(SETTLED)
            await bench.hear("other")
            await asyncio.sleep(0.1)
            given_up = set(ORGANIZATIONS) - bench.held
            bench.log.stored = dict(bench.message(each, age=30.0) for each in given_up)
            bench.poller.at_once.clear()
            if leaving:
                await bench.hear("other", leaving=True)
            await asyncio.sleep(4.0)
            assert bench.held == set(ORGANIZATIONS)
            assert bench.poller.at_once == (given_up if at_once else set())

    run(main)


def test_a_worker_that_leaves_takes_nothing_more() -> None:
    """The log responds while the worker hands over: the organizations in the response are not polled any more."""

    async def main() -> None:
        async with open_bench() as bench:
            bench.log.readable.clear()
            await asyncio.sleep(SETTLED)
            asyncio.get_running_loop().call_later(0.01, bench.log.readable.set)
        assert bench.poller.added == []
        assert bench.worker.error is None

    run(main)


def test_a_worker_can_leave_before_the_log_responds() -> None:
    """The reading of the log is cancelled, and the last beat says goodbye."""

    async def main() -> None:
        async with open_bench() as bench:
            bench.log.readable.clear()
            await asyncio.sleep(SETTLED)
        assert bench.log.beats[-1]["leaving"] is True
        bench.log.readable.set()
        await asyncio.sleep(0.1)
        assert bench.poller.added == []
        assert bench.worker.error is None

    run(main)


@pytest.mark.parametrize(("responds_after", "warnings"), [(9.0, 0), (60.0, 1)])
def test_a_worker_that_leaves_waits_for_an_election(
    responds_after: float, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Findings wait for the log as long as an election takes, and nobody takes over meanwhile; then a warning tells."""

    async def main() -> None:
        async with open_bench() as bench:
            await asyncio.sleep(SETTLED)
            bench.sink.committing = 3
            asyncio.get_running_loop().call_later(responds_after, setattr, bench.sink, "committing", 0)
            beats = len(bench.log.beats)
            left_at = clock.now()
        sent = [beat["sent"] for beat in bench.log.beats[beats:]]
        assert all(after - before < 1.5 for before, after in itertools.pairwise(sent))  # half of the lease
        assert bench.log.beats[-1]["leaving"] is True
        assert not any(beat.get("leaving") for beat in bench.log.beats[:-1])
        assert clock.now() - left_at == pytest.approx(min(responds_after, 12.0), abs=0.2)

    with caplog.at_level("WARNING"):
        run(main)
    assert caplog.text.count("the last findings about 3 organizations are lost") == warnings


@pytest.mark.parametrize(("sent", "seconds"), [(0, 0.0), (1, 2.0)])
def test_a_worker_that_leaves_waits_for_responses(sent: int, seconds: float) -> None:
    """Cancel polls in the queue of the rate limit at once, and hanging polls soon."""

    async def main() -> None:
        async with open_bench() as bench:
            await asyncio.sleep(SETTLED)
            bench.poller.drained.clear()
            bench.sent = sent
            left_at = clock.now()
        assert clock.now() - left_at == pytest.approx(seconds, abs=0.1)

    run(main)


def test_a_log_that_cannot_be_read_ends_the_worker() -> None:
    """The first error is kept for the caller."""

    async def main() -> None:
        async with open_bench(shards=2) as bench:
            bench.log.errors = {0: FleetError("shard 0"), 1: FleetError("shard 1")}
            await bench.worker.ended.wait()
            first = bench.worker.error
            bench.sink.error = ValueError("later")
            await asyncio.sleep(1.0)
            assert isinstance(first, FleetError)
            assert bench.worker.error is first

    run(main)


def test_the_end_of_all_polling_ends_the_worker() -> None:
    """The sink holds the error of a closed client."""

    async def main() -> None:
        async with open_bench() as bench:
            bench.sink.error = ValueError("closed")
            await bench.worker.ended.wait()
            assert bench.worker.error is bench.sink.error

    run(main)


def test_polling_goes_on_after_a_pause() -> None:
    """The poller is woken once, at the end of the pause."""

    async def main() -> None:
        async with open_bench() as bench:
            await asyncio.sleep(SETTLED)
            bench.sink.paused = True
            wakes = bench.poller.wakes
            await asyncio.sleep(1.0)
            assert bench.poller.wakes == wakes
            bench.sink.paused = False
            await asyncio.sleep(1.0)
            assert bench.poller.wakes == wakes + 1

    run(main)


@pytest.mark.parametrize("reconnected", [False, True])
def test_a_change_of_the_log_wakes_the_poller(reconnected: bool) -> None:
    """After a reconnect each organization is read anew before its next poll."""

    async def main() -> None:
        async with open_bench() as bench:
            await asyncio.sleep(SETTLED)
            wakes = bench.poller.wakes
            bench.worker.on_log_change(reconnected)
            assert bench.poller.wakes == wakes + 1
            assert {state.is_doubtful for state in bench.worker.states()} == {reconnected}

    run(main)


def test_a_foreign_message_is_noticed() -> None:
    """Every minute the sequences are compared, and the organization with another sequence is read anew."""

    async def main() -> None:
        async with open_bench() as bench:
            verifying = asyncio.create_task(bench.worker.verify_regularly())
            await asyncio.sleep(SETTLED)
            changed, same = (bench.state_of(each) for each in ORGANIZATIONS[:2])
            bench.log.stored = {changed.subject: Stored(7), same.subject: Stored(3)}
            same.sequence = 3
            await asyncio.sleep(57.0)
            assert not any(state.is_doubtful for state in bench.worker.states())
            await asyncio.sleep(2.0)
            assert [state for state in bench.worker.states() if state.is_doubtful] == [changed]
            verifying.cancel()

    run(main)


def test_a_worker_without_shards_compares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question without subjects would be about all of them."""

    async def main() -> None:
        bench, asked = Bench(1), list[object]()
        monkeypatch.setattr(bench.log, "last_sequences", asked.append)
        verifying = asyncio.create_task(bench.worker.verify_regularly())
        await asyncio.sleep(61.0)
        assert not verifying.done()
        assert asked == []
        verifying.cancel()

    run(main)


@pytest.mark.parametrize(("doubtful", "polls"), [(True, 2), (False, 1)])
def test_an_organization_is_polled_again_after_a_refused_commit(doubtful: bool, polls: int) -> None:
    """The poll comes soon, unless the organization was read anew meanwhile."""

    async def main() -> None:
        async with open_bench(organizations=ORGANIZATIONS[:1]) as bench:
            await asyncio.sleep(SETTLED)
            state = bench.state_of(ORGANIZATIONS[0])
            state.is_doubtful = doubtful
            bench.worker.poll_again(state)
            await asyncio.sleep(0.19)
            assert bench.poller.added == [state]
            await asyncio.sleep(0.02)
            assert bench.poller.added == [state] * polls

    run(main)


def test_a_worker_that_was_frozen_trusts_the_log() -> None:
    """A beat that comes back too late means others may have written."""

    async def main() -> None:
        async with open_bench() as bench:
            await asyncio.sleep(SETTLED)
            assert not any(state.is_doubtful for state in bench.worker.states())
            asyncio.get_running_loop().advance(10.0)  # type: ignore[attr-defined]
            await asyncio.sleep(0.2)
            assert all(state.is_doubtful and state.must_write for state in bench.worker.states())

    run(main)
