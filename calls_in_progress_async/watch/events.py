"""What a watch tells. Events are frozen, compare by what they say, and match by position.

A call's record is made when it is first asked for, from the JSON that the event holds: events that nobody looks into
cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TypeAlias

from attrs import define, field, frozen, setters

from ..organization import Organization
from ..records import Call
from .call_state import CallState
from .changes import Change, changes_between
from .event_queue import PendingCall, PendingOutage


def _record(call: Call | CallState | None) -> Call | None:
    return call if call is None or isinstance(call, Call) else call.call()


# Events of calls are frozen by on_setattr: with attrs.frozen they would take three times as long to make, and a busy
# watch makes thousands a second.


@define(match_args=False, repr=False, unsafe_hash=True, on_setattr=setters.frozen)
class _OfCall:
    organization: Organization
    """Whose call."""
    _call: Call | CallState = field(eq=_record)

    @cached_property
    def call(self) -> Call:
        """The call."""
        return self._call if isinstance(self._call, Call) else self._call.call()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.organization)!r}, {self.call!r})"


@define(match_args=False, repr=False, unsafe_hash=True, on_setattr=setters.frozen)
class CallStarted(_OfCall):
    """A call is in progress that was not before."""

    __match_args__ = ("organization", "call")


@define(match_args=False, repr=False, unsafe_hash=True, on_setattr=setters.frozen)
class CallEnded(_OfCall):
    """A call is no longer in progress: good answers no longer list it.

    ``call`` is its last known state. Of a call that was only known from a checkpoint, that is its id.
    """

    __match_args__ = ("organization", "call")


@define(match_args=False, repr=False, unsafe_hash=True, on_setattr=setters.frozen)
class CallChanged(_OfCall):
    """Something about a call is different.

    Of a call that was only known from a checkpoint, which holds no payloads, ``previous`` is None and ``changes`` is
    empty.
    """

    __match_args__ = ("organization", "call", "previous", "changes")

    _previous: Call | CallState | None = field(eq=_record)
    _changes: Mapping[str, Change] | None = field(default=None, eq=False)

    @cached_property
    def previous(self) -> Call | None:
        """The call as the last event had it."""
        known = self._previous is None or isinstance(self._previous, Call) or self._previous.json is not None
        return _record(self._previous) if known else None

    @cached_property
    def changes(self) -> Mapping[str, Change]:
        """What is different: ``{"custom_data.utm_source": (old, new)}``."""
        if self._changes is not None:
            return self._changes
        return {} if self.previous is None else changes_between(self.previous, self.call)

    def __repr__(self) -> str:
        return (
            f"{super().__repr__()[:-1]}, changed: {', '.join(self.changes)})"  # not the values: they may be a caller's
        )


@frozen
class OrganizationFailed:
    """Finds for an organization have begun to fail. It is told once, until one succeeds again."""

    organization: Organization
    error: Exception
    """Why, after the client's own retries."""


@frozen
class OrganizationRecovered:
    """Finds for an organization succeed again, after a failure or a restart."""

    organization: Organization
    gap: float
    """Seconds between good answers, in which short calls may have come and gone unseen."""


CallEvent: TypeAlias = CallStarted | CallChanged | CallEnded | OrganizationFailed | OrganizationRecovered
"""Anything that a watch tells."""


def event_of(pending: PendingCall | PendingOutage) -> CallEvent:
    """Make the event that a pending one is to be told as."""
    if isinstance(pending, PendingCall):
        if pending.after is None:
            assert pending.before is not None  # noqa: S101 - for the type checker: it has one or the other
            return CallEnded(pending.organization, pending.before)
        if pending.before is None:
            return CallStarted(pending.organization, pending.after)
        return CallChanged(pending.organization, pending.after, pending.before)
    if pending.error is not None:
        return OrganizationFailed(pending.organization, pending.error)
    return OrganizationRecovered(pending.organization, pending.gap)
