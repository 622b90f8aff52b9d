"""The watch: organizations go in, events come out."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import attrs

from .. import clock, errors
from ..cancellation import CheckUsable
from ..instrumentation import WatchLevels
from ..organization import Organization
from ..organizations import check_organization, check_organizations
from ..records import Call
from . import checkpoint
from .call_set import CallSet
from .checkpoint import Entry
from .events import CallEvent
from .fetch import FetchCalls
from .organization_state import OrganizationState
from .poller import Poller
from .queue_sink import QueueSink
from .recorder import Recorder
from .schedule import Schedule
from .settings import WatchSettings
from .stats import SecondsByOrganization, WatchStats, effective_intervals, levels, mean

_EVENTS_AT_ONCE = 100
"""Number of events after which a busy consumer lets other tasks run."""
_AT_ONCE = 25
"""Number of organizations after which other tasks run: half a millisecond's worth."""
_DIGESTS_AT_ONCE = 50
"""Number of digests of calls after which other tasks run: a millisecond's worth."""


class Watch:
    """Polls organizations, and emits events about their calls. `CallsInProgressClient.watch` makes a watch.

    Enter the watch, then iterate over it; both can be done once::

        async with client.watch(organizations) as watch:
            async for event in watch:
                ...

    A cancelled ``__anext__`` (under `asyncio.timeout`, say) loses no event, and the next call carries on. Leaving the
    block ends all requests and forgets pending events. When the client is closed, iteration raises
    `ClientClosedError` after the pending events are taken.
    """

    def __init__(
        self,
        fetch: FetchCalls[OrganizationState],
        organizations: Iterable[Organization],
        settings: WatchSettings,
        *,
        check_usable: CheckUsable,
        resume_from: Any = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._settings = settings
        self._recorder = recorder
        self._sink = QueueSink(settings.max_pending)
        self._schedule: Schedule[OrganizationState] = Schedule(settings.interval, settings.max_in_flight)
        self._poller = Poller(
            fetch,
            self._schedule,
            self._sink,
            check_usable=check_usable,
            max_retry_after=settings.max_retry_after,
        )
        self._states: dict[Organization, OrganizationState] = {}
        self._snapshots = {} if resume_from is None else checkpoint.read(resume_from)
        self._unscheduled: OrderedDict[Organization, None] = OrderedDict()
        self._stage = "new"
        self._now = clock.now
        """Returns the loop's time. Once the block is entered, any thread can call it."""
        self._taken_in_a_row = 0
        self._polls_due_of_removed = 0.0
        self._note(map(check_organization, check_organizations(organizations)))

    # Organizations.

    def add(self, *organizations: Organization) -> None:
        """Watch more organizations from now on. Organizations under watch already stay as they are.

        Raises:
            InvalidRequestError: An argument is not an `Organization`; none is added.
        """
        self._note(map(check_organization, organizations))
        self._schedule_noted()
        self._poller.wake()

    def remove(self, *organizations: Organization) -> None:
        """Stop watching organizations. No further event of theirs comes, not even a pending one.

        Raises:
            InvalidRequestError: An argument is not an `Organization`; none is removed.
        """
        leaving = list(map(check_organization, organizations))
        self._schedule_noted()
        for organization in leaving:
            self._snapshots.pop(organization, None)
            state = self._states.pop(organization, None)
            if state is not None:
                self._polls_due_of_removed += self._polls_due(state, clock.now())
                self._poller.remove(organization)
        self._sink.queue.drop(leaving)
        self._poller.wake()

    def _note(self, organizations: Iterable[Organization]) -> None:
        """Note organizations to schedule later, because scheduling thousands takes its time."""
        noted = list(organizations)
        self._unscheduled.update((each, None) for each in noted if each not in self._states)

    def _schedule_noted(self, most: int | None = None) -> None:
        """Schedule noted organizations: all, or some number of them."""
        now, epoch = clock.now(), checkpoint.epoch()
        self._schedule.epoch = epoch
        for _ in range(min(len(self._unscheduled), most or len(self._unscheduled))):
            organization, _ = self._unscheduled.popitem(last=False)
            state = OrganizationState(organization, now, CallSet(self._settings.missed_polls_before_end))
            if (snapshot := self._snapshots.pop(organization, None)) is not None:
                state.resume(snapshot, epoch)
            self._states[organization] = state
            self._poller.add(state)

    # Events.

    async def __aenter__(self) -> Self:
        if self._stage != "new":
            raise errors.ClientStateError("A watch can be entered once; make a new one.")
        self._now = clock.reader()
        if self._recorder is not None:
            self._recorder.open()
        self._stage = "entered"
        while self._unscheduled:
            self._schedule_noted(_AT_ONCE)
            await asyncio.sleep(0)
        self._poller.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the watch, as leaving its block does. Idempotent."""
        self._stage = "closed"
        self._sink.arrived.set()
        if self._recorder is not None:
            self._recorder.close()
        await self._poller.close()

    def _end_with_client(self) -> None:
        """End the watch because its client is closed."""
        self._poller.end(errors.ClientClosedError("The client was closed while the watch was running."))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CallEvent:
        # Nothing is awaited after an event is taken, so a cancellation cannot lose one.
        self._taken_in_a_row += 1
        if self._taken_in_a_row % _EVENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
        while True:
            if self._stage == "new":
                raise errors.ClientStateError("Enter the watch first: async with client.watch(...) as watch.")
            if self._stage == "closed":
                raise StopAsyncIteration
            if (event := self._take()) is not None:
                return event
            if self._sink.error is not None:
                raise self._sink.error
            self._sink.arrived.clear()
            await self._sink.arrived.wait()

    def _take(self) -> CallEvent | None:
        event = self._sink.queue.take()
        if event is not None and self._sink.just_resumed:
            self._poller.wake()
        if event is not None and self._recorder is not None:
            self._recorder.record(event)
        return event

    # State.

    @property
    def calls(self) -> Mapping[Organization, tuple[Call, ...]]:
        """The calls in progress of each organization in the last good response; a live view.

        The view may be ahead of the events taken so far. A call known from a checkpoint alone has its id and no other
        field.
        """
        self._schedule_noted()
        return _Calls(self._states)

    @property
    def stats(self) -> WatchStats:
        """The numbers of the watch at this moment."""
        self._schedule_noted()
        now, states = clock.now(), self._states.values()
        intervals = effective_intervals(states)
        ages = SecondsByOrganization({each.organization: now - each.last_response_at for each in states})
        due = self._polls_due_of_removed + sum(self._polls_due(each, now) for each in states)
        counters = self._poller.counters
        return WatchStats(
            organizations=len(states),
            failing=sum(each.failed for each in states),
            interval=self._settings.interval,
            effective_interval=mean(intervals.values(), self._settings.interval),
            effective_intervals=intervals,
            staleness=mean(ages.values(), 0.0),
            max_staleness=max(ages.values(), default=0.0),
            staleness_by_organization=ages,
            requests_saved=max(0, int(due) - counters.requests),
            events=self._sink.events,
            pending=len(self._sink.queue),
            merges=self._sink.queue.merges,
            paused=self._sink.paused,
            **attrs.asdict(counters),
        )

    def _polls_due(self, state: OrganizationState, now: float) -> float:
        return (now - state.added_at) / self._settings.interval

    def levels(self) -> WatchLevels | None:
        """Return the numbers for a gauge, from any thread; None before the block is entered and after polling ended."""
        if self._stage != "entered" or self._sink.error is not None:
            return None
        return levels(list(self._states.values()), self._now())

    def checkpoint(self) -> dict[str, Any]:
        """Return the knowledge of the events taken so far as a small JSON value, for ``resume_from``.

        An event counts as taken once iteration has returned it: take the checkpoint after handling the event. The
        first checkpoint takes about 20 us a call, later ones only for calls that are new or have changed; beside other
        work, `acheckpoint` is kinder.
        """
        return checkpoint.write(self._entries())

    async def acheckpoint(self) -> dict[str, Any]:
        """Return the same as `checkpoint` does now, and let other tasks run meanwhile."""
        written: list[Entry] = []
        for number, entry in enumerate(self._entries(), 1):
            if entry is not None:
                written.append(entry)
            if number % _DIGESTS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return checkpoint.write(written)

    def _entries(self) -> Iterator[Entry | None]:
        self._schedule_noted()
        return checkpoint.entries(self._states.values(), self._sink.queue, self._snapshots)

    def __repr__(self) -> str:
        return f"<Watch of {len(self._states) + len(self._unscheduled)} organizations, {self._stage}>"


class _Calls(Mapping[Organization, tuple[Call, ...]]):
    """A view of the known calls. Records are made on access."""

    def __init__(self, states: Mapping[Organization, OrganizationState]) -> None:
        self._states = states

    def __getitem__(self, organization: Organization) -> tuple[Call, ...]:
        return tuple(call.call() for call in self._states[organization].calls.calls.values())

    def __iter__(self) -> Iterator[Organization]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)
