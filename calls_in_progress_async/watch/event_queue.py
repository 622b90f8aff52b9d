"""Events that nobody has taken yet, merged to their net effect. Pure.

Of one call there are never more than it takes to tell the truth: a start with the latest state, a change from the
oldest to the latest state, an end, or an end and what came after it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import define

from ..organization import Organization
from .call_set import Delta
from .call_state import CallState, alike

if TYPE_CHECKING:
    from .events import CallEvent


@define(eq=False, repr=False)
class PendingCall:
    """What is to be told of a call: a start (no ``before``), a change, or an end (no ``after``)."""

    organization: Organization
    identity: str
    before: CallState | None
    after: CallState | None
    since: float
    """When the last good answer before this had come: what came later is not told yet."""
    latest: dict[str, PendingCall]
    """The latest event of each call of the organization."""


@define(eq=False, repr=False)
class PendingOutage:
    """What is to be told of an organization: a failure (``error``) or a recovery."""

    organization: Organization
    error: Exception | None
    gap: float
    """Of a recovery: its gap. Of a failure: the gaps of recoveries before it that were never told."""
    since: float


class EventQueue:
    """A queue of events. Those of one call come out in order; those of an organization too, but for merges."""

    def __init__(self) -> None:
        self.merges = 0
        """Events that became part of another one, or were undone, before anybody took them."""
        self._event_of: Callable[[PendingCall | PendingOutage], CallEvent] | None = None
        self._queue: OrderedDict[PendingCall | PendingOutage, None] = OrderedDict()
        self._latest: dict[Organization, dict[str, PendingCall]] = {}
        self._outages: dict[Organization, list[PendingOutage]] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, organization: Organization, differences: Iterable[Delta], since: float) -> None:
        """Add what an answer says has happened to the calls of an organization."""
        latest = self._latest.setdefault(organization, {})
        for identity, before, after in differences:
            event = latest.get(identity)
            if event is None or before is None or after is None:
                event = latest[identity] = PendingCall(organization, identity, before, after, since, latest)
                self._queue[event] = None
            else:
                self._merge(event, after)

    def _merge(self, event: PendingCall, after: CallState) -> None:
        self.merges += 1
        event.after = after
        if event.before is not None and alike(event.before, after):
            del self._queue[event], event.latest[event.identity]
            self.merges += 1

    def add_failure(self, organization: Organization, error: Exception, since: float) -> None:
        """Add that an organization has failed."""
        outages = self._outages.setdefault(organization, [])
        if len(outages) < 2:
            self._append(PendingOutage(organization, error, 0.0, since))
            return
        failure, recovery = outages
        failure.error = error
        failure.gap = recovery.gap
        self._unsay(recovery)

    def add_recovery(self, organization: Organization, gap: float, since: float) -> None:
        """Add that an organization has recovered, after ``gap`` seconds."""
        outages = self._outages.setdefault(organization, [])
        if len(outages) < 2:
            untold = sum(failure.gap for failure in outages)
            self._append(PendingOutage(organization, None, untold + gap, since))
            return
        recovery, failure = outages
        recovery.gap += gap
        self._unsay(failure)

    def _append(self, outage: PendingOutage) -> None:
        self._outages[outage.organization].append(outage)
        self._queue[outage] = None

    def _unsay(self, outage: PendingOutage) -> None:
        """Take back the second of two outages, which a third makes part of the first."""
        del self._queue[outage]
        self._outages[outage.organization].remove(outage)
        self.merges += 2

    def take(self) -> CallEvent | None:
        """Take the oldest event, if there is one."""
        if not self._queue:
            return None
        event, _ = self._queue.popitem(last=False)
        if isinstance(event, PendingCall):
            if event.latest[event.identity] is event:
                del event.latest[event.identity]
        else:
            self._outages[event.organization].remove(event)
            if not self._outages[event.organization]:
                del self._outages[event.organization]
        if self._event_of is None:
            # With all else that a watch imports it would be a long stop of the loop.
            from .events import event_of  # noqa: PLC0415

            self._event_of = event_of
        return self._event_of(event)

    def drop(self, organizations: Collection[Organization]) -> None:
        """Forget all events of some organizations."""
        dropped = frozenset(organizations)
        for event in [each for each in self._queue if each.organization in dropped]:
            del self._queue[event]
        for organization in dropped:
            self._latest.pop(organization, None)
            self._outages.pop(organization, None)

    def __iter__(self) -> Iterator[PendingCall | PendingOutage]:
        """The events, oldest first, without taking them."""
        return iter(self._queue)
