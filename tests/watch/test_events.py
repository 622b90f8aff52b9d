"""Events match by position, compare, pickle, and show no caller in their repr."""

from __future__ import annotations

import pickle
from typing import Any, get_args, get_type_hints

import pytest
from attrs.exceptions import FrozenError
from watch.scripted_calls import ACME, GLOBEX

from calls_in_progress_async import (
    Call,
    CallChanged,
    CallEnded,
    CallEvent,
    CallStarted,
    InvalidRequestError,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
)
from calls_in_progress_async.watch.call_set import Delta
from calls_in_progress_async.watch.call_state import CheckpointedCall, ListedCall
from calls_in_progress_async.watch.events import EVENT_TYPES, event_of

OLD = ListedCall("A", b'{"transaction_id":"A","calling_phone_number":"+18005551234","city":"Goleta"}')
NEW = ListedCall("A", b'{"transaction_id":"A","calling_phone_number":"+18005559876","city":"Ventura"}')
EVENTS = [
    CallStarted(ACME, NEW),
    CallChanged(ACME, NEW, OLD),
    CallEnded(ACME, OLD),
    OrganizationFailed(ACME, InvalidRequestError("no")),
    OrganizationRecovered(ACME, 12.5),
    OrganizationResumed(ACME, 60.5),
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
        case OrganizationRecovered(organization, gap) | OrganizationResumed(organization, gap):
            return organization, gap


def test_events_match_by_position() -> None:
    """The patterns of the documentation bind the documented fields."""
    assert [told(event) for event in EVENTS] == [
        (ACME, "Ventura"),
        (ACME, "Ventura", "Goleta", ("Goleta", "Ventura")),
        (ACME, "Goleta"),
        (ACME, "no"),
        (ACME, 12.5),
        (ACME, 60.5),
    ]


def test_records_are_made_once() -> None:
    """A record is made on first access, and stays the same object."""
    event = CallChanged(ACME, NEW, OLD)
    assert event.call is event.call
    assert event.previous is event.previous
    assert event.changes is event.changes


@pytest.mark.parametrize("event", EVENTS[:3] + EVENTS[4:])
def test_events_are_values(event: Any) -> None:
    """Events are frozen, pickle, compare by content, and hash."""
    again = pickle.loads(pickle.dumps(event))
    assert again == event
    assert hash(again) == hash(event)
    assert event != EVENTS[3]
    with pytest.raises(FrozenError):
        event.organization = GLOBEX


def test_events_can_be_made_of_records() -> None:
    """Users make events of `Call` records in their own tests."""
    old, new = Call.from_payload(OLD.json), Call.from_payload(NEW.json)
    assert CallStarted(ACME, new) == CallStarted(ACME, NEW) != CallEnded(ACME, new)
    assert CallStarted(ACME, new).call is new
    assert CallChanged(ACME, new, old) == CallChanged(ACME, NEW, OLD)
    assert CallChanged(ACME, new, old) != CallChanged(ACME, NEW, NEW)
    assert CallChanged(ACME, new, old).previous is old
    assert CallChanged(ACME, new, old, {"city": (1, 2)}).changes == {"city": (1, 2)}
    assert CallChanged(ACME, new, None).changes == {}


def test_events_after_a_restart() -> None:
    """A change of a call from a checkpoint has no previous state; its end has the id."""
    event = CallChanged(ACME, NEW, CheckpointedCall("A", "digest"))
    assert (event.previous, event.changes) == (None, {})
    assert CallEnded(ACME, CheckpointedCall("A", "digest")).call.transaction_id == "A"


@pytest.mark.parametrize("event", EVENTS)
def test_reprs_are_harmless(event: Any) -> None:
    """No repr shows a phone number; a change's repr names the changed fields."""
    assert "555" not in repr(event)
    assert "25" in repr(event)
    if isinstance(event, CallChanged):
        assert "changed: calling_phone_number, city" in repr(event)


def test_every_event_has_a_distinct_kind() -> None:
    """Kinds are the names of the classes in snake case, and the tuple of classes is the union of events."""
    assert get_args(CallEvent) == EVENT_TYPES
    assert [each.kind for each in EVENT_TYPES] == [
        "call_started",
        "call_changed",
        "call_ended",
        "organization_failed",
        "organization_recovered",
        "organization_resumed",
    ]
    assert [type(event) for event in EVENTS] == list(EVENT_TYPES)


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_type_hints_resolve_at_run_time(kind: Any) -> None:
    """Dependency-injection containers and pydantic read the hints of classes and of their constructors."""
    assert get_type_hints(kind)
    assert get_type_hints(kind.__init__)


@pytest.mark.parametrize(("before", "after"), [(None, NEW), (OLD, NEW), (OLD, None)])
def test_a_delta_is_an_event(before: Any, after: Any) -> None:
    """A start, a change and an end are told by the states before and after."""
    event = event_of(ACME, Delta("A", before, after))
    assert (
        event
        == {(True, False): EVENTS[0], (False, False): EVENTS[1], (False, True): EVENTS[2]}[
            before is None, after is None
        ]
    )
