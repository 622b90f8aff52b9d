"""The events of a watch. Events are frozen, compare by content, and match by position.

A call's record is made on first access, from the JSON in the event: an event costs next to nothing until somebody looks
into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, TypeAlias

from attrs import define, field, frozen, setters

from ..organization import Organization
from ..records import Call
from .call_set import Delta
from .call_state import CallState
from .changes import Change, changes_between


def _record(call: Call | CallState | None) -> Call | None:
    return call if call is None or isinstance(call, Call) else call.call()


# Events of calls are frozen by on_setattr: attrs.frozen would make them take three times as long to construct, and a
# busy watch constructs thousands a second.


@define(match_args=False, repr=False, unsafe_hash=True, on_setattr=setters.frozen)
class _OfCall:
    organization: Organization
    """The organization of the call."""
    _call: Call | CallState = field(eq=_record)

    @cached_property
    def call(self) -> Call:
        """The call."""
        return self._call if isinstance(self._call, Call) else self._call.call()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.organization)!r}, {self.call!r})"


class CallStarted(_OfCall):
    """A call has started: the last good response did not list it, this one does."""

    __slots__ = ()
    kind: ClassVar[str] = "call_started"
    __match_args__ = ("organization", "call")


class CallEnded(_OfCall):
    """A call has ended: good responses no longer list it.

    ``call`` is its last known state, or its id alone if the call was only known from a checkpoint.
    """

    __slots__ = ()
    kind: ClassVar[str] = "call_ended"
    __match_args__ = ("organization", "call")


@define(match_args=False, repr=False, unsafe_hash=True, on_setattr=setters.frozen)
class CallChanged(_OfCall):
    """Some field of a call means something else than before.

    If the call was only known from a checkpoint, which holds no payloads, ``previous`` is None and ``changes`` empty.
    """

    kind: ClassVar[str] = "call_changed"
    __match_args__ = ("organization", "call", "previous", "changes")

    _previous: Call | CallState | None = field(eq=_record)
    _changes: Mapping[str, Change] | None = field(default=None, eq=False)

    @cached_property
    def previous(self) -> Call | None:
        """The call as of the last event."""
        known = self._previous is None or isinstance(self._previous, Call) or self._previous.json is not None
        return _record(self._previous) if known else None

    @cached_property
    def changes(self) -> Mapping[str, Change]:
        """Old and new value of each changed field: ``{"custom_data.utm_source": (old, new)}``."""
        if self._changes is not None:
            return self._changes
        return {} if self.previous is None else changes_between(self.previous, self.call)

    def __repr__(self) -> str:
        # Names only: values may be a caller's.
        return f"{super().__repr__()[:-1]}, changed: {', '.join(self.changes)})"


@frozen
class OrganizationFailed:
    """Polls of an organization have begun to fail. Told once, until a poll succeeds again."""

    kind: ClassVar[str] = "organization_failed"

    organization: Organization
    """The failing organization."""
    error: Exception
    """The reason, after the client's own retries."""


@frozen
class OrganizationRecovered:
    """Polls of an organization succeed again, after an `OrganizationFailed`."""

    kind: ClassVar[str] = "organization_recovered"

    organization: Organization
    """The recovered organization."""
    gap: float
    """Seconds between good responses. Short calls may have come and gone unseen in between."""


@frozen
class OrganizationResumed:
    """The first poll of an organization after a restart from a checkpoint has succeeded.

    If the polls after a restart fail first, `OrganizationFailed` and `OrganizationRecovered` come instead, and the
    gap of the latter reaches back to before the restart.
    """

    kind: ClassVar[str] = "organization_resumed"

    organization: Organization
    """The resumed organization."""
    gap: float
    """Seconds since the last good response before the restart. Short calls may have come and gone unseen since."""


CallEvent: TypeAlias = (
    CallStarted | CallChanged | CallEnded | OrganizationFailed | OrganizationRecovered | OrganizationResumed
)
"""Any event of a watch."""
EVENT_TYPES: tuple[type[CallEvent], ...] = (
    CallStarted,
    CallChanged,
    CallEnded,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
)
"""The classes of all events, in the order of `CallEvent`."""


def event_of(organization: Organization, delta: Delta) -> CallStarted | CallChanged | CallEnded:
    """Make the event of a delta."""
    _, before, after = delta
    if after is None:
        assert before is not None  # noqa: S101 - for the type checker: a delta has at least one state
        return CallEnded(organization, before)
    if before is None:
        return CallStarted(organization, after)
    return CallChanged(organization, after, before)
