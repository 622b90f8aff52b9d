"""An organization under watch of a fleet: the state of a watch, and the place of the organization in the log. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from attrs import define, field

from ..organization import Organization  # noqa: F401 - attrs copies the annotation of the base class
from ..watch.call_set import CallSet, Delta
from ..watch.organization_state import OrganizationState, Snapshot
from .log_values import Stored
from .message import VERSION, KnownCall, LogEvent, LogMessage, decode, encode, plain_payload

_ENDED_KEPT = 16
"""Number of ended calls whose last event's number is kept."""


class Draft(NamedTuple):
    """A message to commit, and the state after it."""

    body: bytes
    calls: dict[str, KnownCall]
    ended: dict[str, int]


@define(eq=False, kw_only=True)
class FleetState(OrganizationState):
    """The knowledge about one organization, and about its last message in the log."""

    subject: str
    """The organization's subject in the log."""
    sequence: int = 0
    """Sequence of the last message; 0 for none."""
    rev: int = 0
    """Number of messages so far."""
    known: dict[str, KnownCall] = field(factory=dict)
    """Calls in progress, as the last message tells them."""
    ended: dict[str, int] = field(factory=dict)
    """Numbers of the last events of calls that have ended lately."""
    written_at: float = -math.inf
    """Loop time of the last message."""
    is_doubtful: bool = False
    """True if the last message must be read before the next poll."""
    is_held: bool = True
    """True until this worker gives the organization up."""
    must_write: bool = True
    """True if the next poll is written even without events: the log refuses older writes from then on."""

    def doubt(self, *, write: bool) -> None:
        """Trust the log, and no longer this state."""
        self.is_doubtful = True
        self.must_write = self.must_write or write

    def learn(self, stored: Stored, epoch: float) -> None:
        """Take the last message for the truth, whatever this process remembers.

        Args:
            stored: The last message of the subject.
            epoch: The Unix time at which the loop's clock read 0.
        """
        watched: OrganizationState = self  # type checkers find the attributes there
        before, missed = self.calls.calls, self.calls.missed_polls_before_end
        self.must_write = self.must_write or stored.sequence != self.sequence
        self.is_doubtful, self.sequence = False, stored.sequence
        if not stored.body:
            self.rev, self.known, self.ended = 0, {}, {}
            watched.failed, watched.calls = False, CallSet(missed)
            return
        message = decode(stored.body)
        self.rev, self.ended, self.written_at = message.rev, message.ended, message.at - epoch
        watched.failed = message.failed
        self.known = {name: call.stored_at(stored.sequence) for name, call in message.calls.items()}
        seen = self.last_response_at
        digests = {name: call.digest for name, call in self.known.items()}
        was_known = self.responses > 0
        self.resume(Snapshot(message.at, digests), epoch)
        if was_known:  # polled by this very process lately
            self.last_response_at = seen
        kept = {name: call for name, call in before.items() if digests.get(name) == call.digest}
        self.calls.calls = {**self.calls.calls, **kept}

    def event_of(self, delta: Delta) -> LogEvent:
        """Make the event of a delta. `draft` completes its id."""
        name, before, after = delta
        call = after or before
        assert call is not None  # noqa: S101 - for the type checker: a delta has at least one state
        known = self.known.get(name)
        kind = "call_ended" if after is None else "call_started" if known is None else "call_changed"
        event = LogEvent(id=call.digest, kind=kind, call_id=name)
        payload = None if call.json is None else plain_payload(call.json)
        if payload is not None:
            event.call = payload
        elif after is None and known is not None:
            event.call_at = known.at
        if kind == "call_changed" and known is not None:
            event.previous_at = known.at
        return event

    def draft(self, events: Sequence[LogEvent], by: str, at: float) -> Draft:
        """Make the message of some events, to follow the last one.

        Args:
            events: Events of `event_of`, and others.
            by: The id of this worker.
            at: Unix time in seconds.
        """
        calls, ended = dict(self.known), dict(self.ended)
        for event in events:
            if not event.call_id:
                event.id = f"{self.organization}/{self.rev + 1}/{event.kind}"
                continue
            name, digest = event.call_id, event.id
            number = calls[name].events + 1 if name in calls else ended.pop(name, -1) + 1
            event.id = f"{self.organization}/{name}/{number}/{event.kind}/{digest[:8]}"
            if event.kind == "call_ended":
                calls.pop(name, None)
                ended[name] = number
            else:
                calls[name] = KnownCall(digest, number)
        for name in list(ended)[:-_ENDED_KEPT]:
            del ended[name]
        message = LogMessage(
            v=VERSION,
            organization=str(self.organization),
            rev=self.rev + 1,
            by=by,
            at=round(at, 3),
            failed=self.failed,
            events=list(events),
            calls=calls,
            ended=ended,
        )
        return Draft(encode(message), calls, ended)

    def accept(self, draft: Draft, sequence: int, now: float) -> None:
        """Take note that a message is in the log.

        A doubt raised meanwhile stays: the message may be older than the writes that the next poll is to outdate.
        """
        self.sequence, self.rev, self.ended, self.written_at = sequence, self.rev + 1, draft.ended, now
        self.known = {name: call.stored_at(sequence) for name, call in draft.calls.items()}
        self.must_write = self.must_write and self.is_doubtful
