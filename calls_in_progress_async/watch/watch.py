"""The watch: organizations go in, events come out."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from .. import errors, validation
from ..organization import Organization
from ..records import Call
from . import checkpoint
from .checkpoint import Entry
from .event_queue import EventQueue
from .events import CallEvent
from .fetch import FetchCalls
from .organization_state import OrganizationState
from .poller import Clock, Poller, WatchSettings
from .stats import WatchStats, effective_intervals, mean

_EVENTS_AT_ONCE = 100
"""Events after which a consumer that never waits for anything lets others run."""
_AT_ONCE = 25
"""Organizations after which others run: half a millisecond's worth."""


class Watch:
    """Poller organizations and tells what happens to their calls. `CallsInProgressClient.watch` makes one.

    Enter it, then iterate over it; both can be done once::

        async with client.watch(organizations) as watch:
            async for event in watch:
                ...

    A cancelled ``__anext__`` (under `asyncio.timeout`, say) loses no event, and the next one carries on. Leaving the
    block ends all requests and forgets the events that were not taken. When the client is closed, iteration raises
    `ClientClosedError` once the events that had happened are taken.
    """

    def __init__(
        self,
        fetch: FetchCalls,
        organizations: Iterable[Organization],
        settings: WatchSettings,
        *,
        resume_from: Any = None,
        surroundings: Clock | None = None,
    ) -> None:
        self._fetch = fetch
        self._settings = settings
        self._surroundings = surroundings or Clock()
        self._watched: dict[Organization, OrganizationState] = {}
        self._events = EventQueue()
        self._arrived = asyncio.Event()
        self._polls = Poller(fetch, settings, self._events, self._surroundings, self._arrived.set)
        self._stage = "new"
        self._in_a_row = 0
        self._requests_due = 0.0  # of organizations that were removed
        self._began: dict[Organization, float] = {}
        self._remainders = {} if resume_from is None else checkpoint.read(resume_from)
        self._unplaced: OrderedDict[Organization, None] = OrderedDict()
        self._note(organizations)

    # Organizations.

    def add(self, *organizations: Organization) -> None:
        """Watch further organizations, from now on. Those that are watched already are left as they are."""
        self._note(organizations)
        self._place()
        self._polls.wake()

    def remove(self, *organizations: Organization) -> None:
        """Watch organizations no longer: no further event of theirs comes, not even those that had happened."""
        self._place()
        for organization in organizations:
            self._remainders.pop(organization, None)
            watched = self._watched.pop(organization, None)
            if watched is not None:
                self._requests_due += self._due(organization)
                del self._began[organization]
                self._polls.schedule.remove(watched)
        self._events.drop(organizations)
        self._polls.wake()

    def _note(self, organizations: Iterable[Organization]) -> None:
        """Have organizations watched once they are placed, which takes longer than to say so."""
        noted = list(organizations)
        for organization in noted:
            if not isinstance(organization, Organization):
                raise validation.invalid("organizations", f"{validation.describe(organization)} is not an Organization")
        self._unplaced.update((each, None) for each in noted if each not in self._watched)

    def _place(self, most: int | None = None) -> None:
        """Give those a place in the schedule that have none yet: all, or at most so many."""
        now = self._surroundings.clock()
        for _ in range(min(len(self._unplaced), most or len(self._unplaced))):
            organization, _ = self._unplaced.popitem(last=False)
            watched = OrganizationState(organization=organization, seen=now)
            if (remainder := self._remainders.pop(organization, None)) is not None:
                watched.resumed = watched.unsettled = True
                watched.seen = min(now, remainder.seen - self._offset)
                watched.picture.calls = remainder.calls()
            self._watched[organization] = watched
            self._began[organization] = now
            self._polls.schedule.add(watched, str(organization), now, self._surroundings.randomness)

    # Events.

    async def __aenter__(self) -> Self:
        if self._stage != "new":
            raise errors.ClientStateError("A watch can be entered once; make a new one.")
        self._stage = "entered"
        while self._unplaced:
            self._place(_AT_ONCE)
            await asyncio.sleep(0)
        self._polls.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the watch, as leaving its block does. Idempotent."""
        self._stage = "closed"
        self._arrived.set()
        await self._polls.close()

    def client_closed(self) -> None:
        """End the watch because its client is closed."""
        self._polls.end(errors.ClientClosedError("The client was closed while the watch was running."))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CallEvent:
        # An event is taken without any wait after it, so a cancellation never meets one that is on its way.
        self._in_a_row += 1
        if self._in_a_row % _EVENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
        while True:
            if self._stage == "new":
                raise errors.ClientStateError("Enter the watch first: async with client.watch(...) as watch.")
            if self._stage == "closed":
                raise StopAsyncIteration
            if (event := self._take()) is not None:
                return event
            if self._polls.error is not None:
                raise self._polls.error
            self._arrived.clear()
            await self._arrived.wait()

    def _take(self) -> CallEvent | None:
        event = self._events.take()
        if len(self._events) == self._settings.max_pending - 1:  # it has paused until this one was taken
            self._polls.wake()
        return event

    # What is known.

    @property
    def calls(self) -> Mapping[Organization, tuple[Call, ...]]:
        """The calls in progress of each organization, as the last good answers had them; a live view.

        It may be ahead of the events that have been taken. Of a call that is only known from a checkpoint it has the
        id.
        """
        self._place()
        return _Calls(self._watched)

    @property
    def stats(self) -> WatchStats:
        """How the watch is doing."""
        self._place()
        now = self._surroundings.clock()
        watched = self._watched.values()
        intervals = effective_intervals(watched)
        ages = {each.organization: now - each.seen for each in watched}
        due = self._requests_due + sum(map(self._due, self._watched))
        return WatchStats(
            organizations=len(watched),
            failing=sum(each.failed for each in watched),
            interval=self._settings.interval,
            effective_interval=mean(intervals.values(), self._settings.interval),
            effective_intervals=intervals,
            staleness=mean(ages.values(), 0.0),
            max_staleness=max(ages.values(), default=0.0),
            staleness_by_organization=ages,
            requests_saved=max(0, int(due) - self._polls.counts.requests),
            pending=len(self._events),
            merges=self._events.merges,
            paused=self._polls.paused,
            **vars(self._polls.counts),
        )

    def _due(self, organization: Organization) -> float:
        return (self._surroundings.clock() - self._began[organization]) / self._settings.interval

    def checkpoint(self) -> dict[str, Any]:
        """Write down, as a small JSON value, what the events taken so far have told; ``resume_from`` takes it.

        An event counts as taken once the iteration has returned it: take the checkpoint when it is dealt with. It
        takes about 20 us an organization; beside other work, `acheckpoint` is kinder.
        """
        return checkpoint.write(self._entries())

    async def acheckpoint(self) -> dict[str, Any]:
        """Write down what `checkpoint` would now, and let others run meanwhile."""
        entries = self._entries()
        written: list[Entry] = []
        while step := list(itertools.islice(entries, _AT_ONCE)):
            written += step
            await asyncio.sleep(0)
        return checkpoint.write(written)

    def _entries(self) -> Iterator[Entry]:
        self._place()
        return checkpoint.entries(self._watched.values(), self._events, self._offset, self._remainders)

    @property
    def _offset(self) -> float:
        return self._surroundings.wall_clock() - self._surroundings.clock()

    def __repr__(self) -> str:
        return f"<Watch of {len(self._watched) + len(self._unplaced)} organizations, {self._stage}>"


class _Calls(Mapping[Organization, tuple[Call, ...]]):
    """A view of the pictures, which makes records when they are looked at."""

    def __init__(self, watched: Mapping[Organization, OrganizationState]) -> None:
        self._watched = watched

    def __getitem__(self, organization: Organization) -> tuple[Call, ...]:
        return tuple(known.call() for known in self._watched[organization].picture.calls.values())

    def __iter__(self) -> Iterator[Organization]:
        return iter(self._watched)

    def __len__(self) -> int:
        return len(self._watched)
