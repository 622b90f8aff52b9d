"""Events match by position, compare, pickle, and tell nothing of a caller in their repr."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from attrs.exceptions import FrozenError
from watch.worlds import ACME, GLOBEX

from calls_in_progress_async import (
    Call,
    CallChanged,
    CallEnded,
    CallStarted,
    InvalidRequestError,
    OrganizationFailed,
    OrganizationRecovered,
)
from calls_in_progress_async.watch.call_state import CheckpointedCall, ListedCall

OLD = ListedCall("A", b'{"transaction_id":"A","calling_phone_number":"+18005551234","city":"Goleta"}')
NEW = ListedCall("A", b'{"transaction_id":"A","calling_phone_number":"+18005559876","city":"Ventura"}')
EVENTS = [
    CallStarted(ACME, NEW),
    CallChanged(ACME, NEW, OLD),
    CallEnded(ACME, OLD),
    OrganizationFailed(ACME, InvalidRequestError("no")),
    OrganizationRecovered(ACME, 12.5),
]


def told(event: Any) -> Any:
    match event:
        case CallStarted(organization, call):
            return organization, call.city
        case CallChanged(organization, call, previous, changes):
            return organization, call.city, previous.city, changes["city"]
        case CallEnded(organization, call):
            return organization, call.city
        case OrganizationFailed(organization, error):
            return organization, str(error)
        case OrganizationRecovered(organization, gap):
            return organization, gap


def test_events_match_by_position() -> None:
    """The patterns of the documentation bind what they say."""
    assert [told(event) for event in EVENTS] == [
        (ACME, "Ventura"),
        (ACME, "Ventura", "Goleta", ("Goleta", "Ventura")),
        (ACME, "Goleta"),
        (ACME, "no"),
        (ACME, 12.5),
    ]


def test_records_are_made_once() -> None:
    """A record is made when it is asked for, and the same one is given again."""
    event = CallChanged(ACME, NEW, OLD)
    assert event.call is event.call
    assert event.previous is event.previous
    assert event.changes is event.changes


@pytest.mark.parametrize("event", EVENTS[:3] + EVENTS[4:])
def test_events_are_values(event: Any) -> None:
    """Events are frozen, pickle, compare by what they say, and hash."""
    again = pickle.loads(pickle.dumps(event))
    assert again == event
    assert hash(again) == hash(event)
    assert event != EVENTS[3]
    with pytest.raises(FrozenError):
        event.organization = GLOBEX


def test_events_can_be_made_of_records() -> None:
    """Tests of a user's own make events of calls."""
    old, new = Call.from_payload(OLD.json), Call.from_payload(NEW.json)
    assert CallStarted(ACME, new) == CallStarted(ACME, NEW) != CallEnded(ACME, new)
    assert CallStarted(ACME, new).call is new
    assert CallChanged(ACME, new, old) == CallChanged(ACME, NEW, OLD)
    assert CallChanged(ACME, new, old) != CallChanged(ACME, NEW, NEW)
    assert CallChanged(ACME, new, old).previous is old
    assert CallChanged(ACME, new, old, {"city": (1, 2)}).changes == {"city": (1, 2)}
    assert CallChanged(ACME, new, None).changes == {}


def test_what_is_not_known_after_a_restart() -> None:
    """Of a call from a checkpoint, a change has no previous state, and an end has the id."""
    event = CallChanged(ACME, NEW, CheckpointedCall("A", "digest"))
    assert (event.previous, event.changes) == (None, {})
    assert CallEnded(ACME, CheckpointedCall("A", "digest")).call.transaction_id == "A"


@pytest.mark.parametrize("event", EVENTS)
def test_reprs_are_harmless(event: Any) -> None:
    """No repr shows a phone number; that of a change names what changed."""
    assert "555" not in repr(event)
    assert "25" in repr(event)
    if isinstance(event, CallChanged):
        assert "changed: calling_phone_number, city" in repr(event)
