"""One worker of a fleet: takes its shards, polls their organizations, and gives shards up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any

from .. import clock
from ..instrumentation import WatchLevels
from ..organization import Organization
from ..watch.call_set import CallSet
from ..watch.checkpoint import epoch
from ..watch.poller import Poller
from ..watch.schedule import Schedule
from ..watch.stats import levels
from .errors import FleetError
from .handover import hand_over
from .log import Log
from .log_settings import MAX_ORGANIZATIONS_PER_SHARD
from .membership import Membership, ShardNews
from .shares import RateShares
from .sink import CommittingSink
from .state import FleetState

logger: logging.Logger = logging.getLogger("calls_in_progress_async.fleet")

_TICK = 0.1
"""Seconds between two looks at the clock."""
_AGAIN = 0.2
"""Seconds until the next poll after a refused commit."""
_HANDOVER = 0.5
"""Seconds that a leaving worker may need from its last poll to its last beat."""
_VERIFY = 60.0
"""Seconds between two comparisons of the shards' sequences with the log."""
_AT_ONCE = 50
"""Number of organizations after which other tasks run."""


class Worker:
    """The organizations of one worker, by shard.

    Args:
        log: A connected log.
        membership: The workers of the fleet.
        shares: This worker's share of the rate.
        sent: Returns the number of requests without a response.
        missed_polls_before_end: As for a watch.
    """

    def __init__(
        self,
        log: Log,
        membership: Membership,
        shares: RateShares,
        *,
        sent: Callable[[], int],
        missed_polls_before_end: int = 1,
    ) -> None:
        self._log = log
        self._membership = membership
        self._shares = shares
        self._sent = sent
        self._missed = missed_polls_before_end
        self._organizations: dict[int, list[Organization]] = {}
        self._total = 0
        self._held: dict[int, dict[Organization, FleetState]] = {}
        self._news = ShardNews()
        self._tasks: set[asyncio.Task[None]] = set()
        self._was_paused = False
        self._now: Callable[[], float] = clock.now
        """Returns the loop's time. After the start, any thread can call it."""
        self._leaving = False
        self.error: BaseException | None = None
        """The error that ends the worker."""
        self.ended: asyncio.Event = asyncio.Event()
        """Set when the worker cannot go on."""

    def use(self, poller: Poller[FleetState], sink: CommittingSink, schedule: Schedule[FleetState]) -> None:
        """Take the parts that need this worker themselves. Called once, before anything else."""
        self._poller, self._sink, self._schedule = poller, sink, schedule

    def start(self) -> None:
        """Start polling the organizations of the shards held."""
        self._now = clock.reader()
        self._poller.start()

    # Organizations.

    def states(self) -> list[FleetState]:
        """Return the states of all organizations held."""
        return [state for held in self._held.values() for state in held.values()]

    async def set_organizations(self, organizations: Collection[Organization]) -> None:
        """Set the organizations of the whole fleet.

        Raises:
            FleetError: A shard would have too many.
        """
        by_shard: dict[int, list[Organization]] = {}
        for organization in organizations:
            by_shard.setdefault(self._log.settings.shard_of(organization), []).append(organization)
        most = max(map(len, by_shard.values()), default=0)
        if most > MAX_ORGANIZATIONS_PER_SHARD:
            raise FleetError(
                f"A shard must have at most {MAX_ORGANIZATIONS_PER_SHARD:,} organizations, got {most:,}: begin a fleet "
                "of another name with more shards."
            )
        await self._shares.learn(organizations)
        self._organizations, self._total = by_shard, len(organizations)
        for shard, held in list(self._held.items()):
            wanted = set(by_shard.get(shard, ()))
            self._drop([held.pop(each) for each in list(held) if each not in wanted])
            if wanted - held.keys():
                self._spawn(self._take(shard, held))

    # Time.

    async def beat_regularly(self) -> None:
        """Send beats, and take or give up shards, until cancelled."""
        while True:
            if self._membership.is_beat_due(clock.time_with_sleep()):
                await self.send_beat()
            self._share_out()
            if self._was_paused and not self._sink.paused:
                self._poller.wake()
            self._was_paused = self._sink.paused
            if self._sink.error is not None:
                self._end(self._sink.error)
            await asyncio.sleep(_TICK)

    async def on_beat(self, beat: dict[str, Any]) -> None:
        """Take a beat of any worker, this one included."""
        now, member = clock.time_with_sleep(), str(beat["by"])
        if member == self._membership.me and not self._membership.is_fresh(now):
            self.doubt(write=True)  # others may have taken over meanwhile
        is_new = self._membership.hear(member, float(beat["sent"]), now, leaving=bool(beat.get("leaving")))
        for shard, owner in self._membership.owners.items():
            if owner == member and shard not in self._held:
                self._news.note(shard, now, float(beat["stale"]))
        if is_new:
            await self.send_beat()
        self._share_out()

    async def send_beat(self, **more: Any) -> None:
        """Tell the fleet that this worker lives, and how it does."""
        counters, states = self._sink.counters, self.states()
        responding = _responding(states)
        await self._log.send_beat(
            {
                "by": self._membership.me,
                "sent": clock.time_with_sleep(),
                "lease": self._membership.lease,
                "interval": self._schedule.interval,
                "shards": len(self._held),
                "organizations": len(states),
                "failing": len(states) - len(responding),
                "share": round(self._shares.share, 4),
                "rate": self._shares.rate,
                "stale": round(_staleness(responding), 3),
                "polls": self._poller.counters.requests,
                "failures": self._poller.counters.failures,
                "commits": counters.commits,
                "events": counters.events,
                "refused": counters.refused,
                **more,
            }
        )

    def levels(self) -> WatchLevels | None:
        """Return the numbers for a gauge, from any thread; None while no organization is held."""
        states = [state for held in list(self._held.values()) for state in list(held.values())]
        return levels(states, self._now()) if states else None

    def doubt(self, *, write: bool) -> None:
        """Trust the log about every organization, and no longer this process."""
        for state in self.states():
            state.doubt(write=write)

    def on_log_change(self, reconnected: bool) -> None:
        """Take note that the log stopped or began to respond."""
        if reconnected:
            self.doubt(write=False)
        self._poller.wake()

    # Shards.

    def _share_out(self) -> None:
        own = self._membership.own(clock.time_with_sleep())
        if self._leaving or own is None or own == self._held.keys():
            return
        for shard in self._held.keys() - own:
            held = self._held.pop(shard)
            self._news.note(shard, clock.time_with_sleep(), _staleness(held.values()))
            self._drop(list(held.values()))
        for shard in own - self._held.keys():
            self._held[shard] = {}
            self._spawn(self._take(shard, self._held[shard]))
        self._update_shares()
        self._spawn(self.send_beat())
        logger.info("%d of %d shards, %d workers", len(own), self._membership.shards, len(self._membership.members))

    def _drop(self, states: list[FleetState]) -> None:
        """Stop polling, and commit the findings of running polls: the log knows if they still count."""
        for state in states:
            state.is_held = False
        self._spawn(self._poller.drain([state.organization for state in states]))

    async def _take(self, shard: int, held: dict[Organization, FleetState]) -> None:
        """Read the last message of each organization of a shard, and go on from there.

        An organization of a worker that still lives keeps its rhythm, unless its point was after that worker's last
        beat: a poll of all at once would take the rate from others.
        """
        last = await self._log.last_of_shard(shard)
        self._schedule.epoch = at = epoch()
        self._update_shares()  # before the first request
        now = clock.now()
        silence, age = self._news.of(shard, clock.time_with_sleep())
        is_orphan = silence > self._membership.lease / 2
        unsure = min(silence + _HANDOVER, self._schedule.interval / 2)
        wanted = self._organizations.get(shard, ())
        for number, organization in enumerate(wanted, 1):
            is_changed = self._held.get(shard) is not held or self._organizations.get(shard) is not wanted
            if is_changed or self._leaving:  # meanwhile
                break
            if organization not in held:
                subject = self._log.settings.subject_of(organization)
                state = FleetState(
                    organization=organization, added_at=now, calls=CallSet(self._missed), subject=subject
                )
                if subject in last:
                    state.learn(last[subject], at)
                    state.last_response_at = min(now, max(state.last_response_at, now - age))
                held[organization] = state
                may_be_missed = self._schedule.since_point(str(organization), now) < unsure
                self._poller.add(state, at_once=is_orphan or may_be_missed or not state.sequence)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        self._poller.wake()

    def _update_shares(self) -> None:
        """Set the shares for all organizations of the shards held, polled already or about to be."""
        held = [each for shard in self._held for each in self._organizations.get(shard, ())]
        self._shares.update(held, self._total)

    def poll_again(self, state: FleetState) -> None:
        """Poll an organization soon, after a refused commit."""
        asyncio.get_running_loop().call_later(_AGAIN, self._poll_again, state)

    def _poll_again(self, state: FleetState) -> None:
        if state.is_held and state.is_doubtful:
            self._poller.remove(state.organization)
            self._poller.add(state)
            self._poller.wake()

    async def verify_regularly(self) -> None:
        """Compare the sequences of all organizations with the log now and then, to notice foreign messages."""
        while True:
            await asyncio.sleep(_VERIFY)
            held = dict(self._held)
            last = await self._log.last_sequences(held) if held else None
            if last is not None:
                for state in (each for states in held.values() for each in states.values()):
                    if last.get(state.subject, 0) != state.sequence:
                        state.doubt(write=False)

    # The end.

    async def leave(self) -> None:
        """Stop polling, commit the findings of running polls, and say goodbye.

        Beats go on until the end: a successor that took over while the log is away could overtake the last commits.
        """
        self._leaving = True
        states = self.states()
        for state in states:
            state.is_held = False
        stale = _staleness(_responding(states))
        self._spawn(self.beat_regularly())
        await hand_over(self._poller, self._sink, [each.organization for each in states], self._sent)
        await self._poller.close()
        self._held.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.send_beat(leaving=True, stale=round(stale, 3))

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_end)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)

    def _end(self, error: BaseException) -> None:
        self.error = self.error or error
        self.ended.set()


def _responding(states: Iterable[FleetState]) -> list[FleetState]:
    """Return the states of organizations without an outage."""
    return [each for each in states if not each.failed]


def _staleness(states: Iterable[FleetState]) -> float:
    """Return the age of the oldest last good response in seconds."""
    now = clock.now()
    return now - min((each.last_response_at for each in states), default=now)
