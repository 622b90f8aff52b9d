"""Pending events, merged to their net effect. Pure.

The queue holds no more about one call than a reader needs: a start with the latest state, a change from the oldest to
the latest state, an end, or an end and the events after it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from attrs import define, field

from ..organization import Organization
from .call_set import Delta
from .call_state import CallState, equivalent
from .events import CallEvent, OrganizationFailed, OrganizationRecovered, OrganizationResumed, event_of


@define(eq=False, repr=False)
class QueuedCall:
    """A start (no ``before``), a change, or an end (no ``after``) of a call."""

    organization: Organization
    identity: str
    before: CallState | None
    after: CallState | None
    since: float

    def merge(self, newer: Delta) -> bool:
        """Merge a newer change in. Return False if the two undo each other."""
        self.after = newer.after
        return self.before is None or newer.after is None or not equivalent(self.before, newer.after)

    def event(self) -> CallEvent:
        """Make the event."""
        return event_of(self.organization, Delta(self.identity, self.before, self.after))


@define(eq=False, repr=False)
class QueuedFailure:
    """The beginning of an outage."""

    organization: Organization
    error: Exception
    since: float
    gap: float = 0.0
    """Seconds of earlier outages with a recovery merged away; the next recovery includes them."""

    def merge(self, newer: QueuedFailure) -> None:
        """Replace the failure by a newer one."""
        self.error = newer.error

    def event(self) -> CallEvent:
        """Make the event."""
        return OrganizationFailed(self.organization, self.error)


@define(eq=False, repr=False)
class QueuedGap:
    """The end of an outage, or of the time between two runs."""

    organization: Organization
    kind: type[OrganizationRecovered | OrganizationResumed]
    gap: float
    since: float

    def merge(self, newer: QueuedGap) -> None:
        """Add a newer gap."""
        self.gap += newer.gap

    def event(self) -> CallEvent:
        """Make the event."""
        return self.kind(self.organization, self.gap)


QueueEntry: TypeAlias = QueuedCall | QueuedFailure | QueuedGap
"""A pending event, still open to merges with newer events. ``since`` is the time of the last good response before."""


@define(eq=False, repr=False)
class _Pending:
    """The entries of one organization."""

    entries: dict[QueueEntry, None] = field(factory=dict)
    latest: dict[str, QueuedCall] = field(factory=dict)
    """The latest entry of each call."""
    outages: list[QueuedFailure | QueuedGap] = field(factory=list)
    """Failures and gaps, alternating, two at most."""


class EventQueue:
    """A queue of events. Events of one call come out in order; so do those of an organization, except for merges."""

    def __init__(self) -> None:
        self.merges: int = 0
        """Number of events merged into another event, or undone, before anybody took them."""
        self._queue: OrderedDict[QueueEntry, None] = OrderedDict()  # a dict is slow at its beginning after deletions
        self._pending: dict[Organization, _Pending] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[QueueEntry]:
        """Iterate over the entries, oldest first, without taking them."""
        return iter(self._queue)

    def add(self, organization: Organization, deltas: Iterable[Delta], since: float) -> None:
        """Add the deltas of a response about one organization."""
        pending = self._pending_of(organization)
        for delta in deltas:
            identity, before, after = delta
            entry = pending.latest.get(identity)
            if entry is None or before is None or after is None:
                entry = pending.latest[identity] = QueuedCall(organization, identity, before, after, since)
                self._queue[entry] = pending.entries[entry] = None
                continue
            self.merges += 1
            if not entry.merge(delta):
                self.merges += 1
                self._remove(pending, entry)
        self._forget_if_empty(organization, pending)

    def add_failure(self, organization: Organization, error: Exception, since: float) -> None:
        """Add the beginning of an outage."""
        self._add_outage(QueuedFailure(organization, error, since))

    def add_recovery(self, organization: Organization, gap: float, since: float) -> None:
        """Add the end of an outage, with the seconds between good responses."""
        self._add_outage(QueuedGap(organization, OrganizationRecovered, gap, since))

    def add_resumption(self, organization: Organization, gap: float, since: float) -> None:
        """Add the first good response after a restart, with the seconds since the last good response before it."""
        self._add_outage(QueuedGap(organization, OrganizationResumed, gap, since))

    def _add_outage(self, newer: QueuedFailure | QueuedGap) -> None:
        pending = self._pending_of(newer.organization)
        match pending.outages, newer:
            case [QueuedFailure() as failure, QueuedGap() as gap], QueuedFailure():
                # Failed, recovered and failed again before anybody read: one failure, with both gaps in its recovery.
                failure.merge(newer)
                failure.gap = gap.gap
                self._merge_away(pending, gap)
            case [QueuedGap() as gap, QueuedFailure() as failure], QueuedGap():
                gap.merge(newer)
                self._merge_away(pending, failure)
            case [*_, QueuedFailure() as failure], QueuedGap():
                newer.gap += failure.gap
                self._append(pending, newer)
            case _:
                self._append(pending, newer)

    def _merge_away(self, pending: _Pending, entry: QueuedFailure | QueuedGap) -> None:
        self.merges += 2
        self._remove(pending, entry)

    def take(self) -> CallEvent | None:
        """Take the oldest event; return None if there is none."""
        if not self._queue:
            return None
        entry = next(iter(self._queue))
        pending = self._pending[entry.organization]
        self._remove(pending, entry)
        self._forget_if_empty(entry.organization, pending)
        return entry.event()

    def drop(self, organizations: Iterable[Organization]) -> None:
        """Remove all events of some organizations."""
        for organization in organizations:
            pending = self._pending.pop(organization, None)
            for entry in pending.entries if pending else ():
                del self._queue[entry]

    def _pending_of(self, organization: Organization) -> _Pending:
        pending = self._pending.get(organization)
        if pending is None:
            pending = self._pending[organization] = _Pending()
        return pending

    def _append(self, pending: _Pending, outage: QueuedFailure | QueuedGap) -> None:
        self._queue[outage] = pending.entries[outage] = None
        pending.outages.append(outage)

    def _remove(self, pending: _Pending, entry: QueueEntry) -> None:
        del self._queue[entry], pending.entries[entry]
        if isinstance(entry, QueuedCall):
            if pending.latest[entry.identity] is entry:
                del pending.latest[entry.identity]
        else:
            pending.outages.remove(entry)

    def _forget_if_empty(self, organization: Organization, pending: _Pending) -> None:
        if not pending.entries:
            self._pending.pop(organization, None)
