"""Events of payloads that cannot be told in plain JSON."""

from __future__ import annotations

import json

import pytest

from calls_in_progress_async import Organization
from calls_in_progress_async.fleet.log_values import Stored
from calls_in_progress_async.fleet.state import FleetState
from calls_in_progress_async.records.codec import Json
from calls_in_progress_async.watch.listing import read


def events_of(state: FleetState, sequence: int, *calls: bytes) -> list[dict[str, object]]:
    """Poll a list of calls, and return the events as they are committed."""
    listing = read(b'{"current_calls": [%b]}' % b", ".join(calls), state.calls.listing, strict=False)
    draft = state.draft([state.event_of(delta) for delta in state.apply(listing, 1.0)], "me", 5.0)
    state.accept(draft, sequence, 5.0)
    events: list[dict[str, object]] = json.loads(draft.body)["events"]
    return events


def test_a_call_with_a_payload_that_is_no_json_is_told_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start, changes and end are all told, and no later event takes an older payload for the last one."""

    def plain_payload(payload: bytes) -> Json | None:
        return None if b"x" in payload else Json(payload)

    monkeypatch.setattr("calls_in_progress_async.fleet.state.plain_payload", plain_payload)
    state = FleetState(organization=Organization.advertiser(25), added_at=0.0, subject="cip.t.events.0.advertiser.25")
    (started,) = events_of(state, 10, b'{"transaction_id": "A", "call_status": "ringing"}')
    (changed,) = events_of(state, 11, b'{"transaction_id": "A", "call_status": "bridged", "x": 1}')
    (again,) = events_of(state, 12, b'{"transaction_id": "A", "call_status": "bridged", "x": 2}')
    (ended,) = events_of(state, 13)
    events = (started, changed, again, ended)
    assert [each["kind"] for each in events] == ["call_started", "call_changed", "call_changed", "call_ended"]
    assert ["call" in each for each in events] == [True, False, False, False]
    assert [each.get("previous_at") for each in events] == [None, 10, 11, None]
    assert [each.get("call_at") for each in events] == [None, None, None, 12]


def test_a_reload_keeps_the_time_of_the_last_poll_of_this_process() -> None:
    """A gap counts from the last good response, even if the last message of the log is older."""
    state = FleetState(organization=Organization.advertiser(25), added_at=0.0, subject="cip.t.events.0.advertiser.25")
    listing = read(b'{"current_calls": []}', None, strict=False)
    state.apply(listing, 50.0)
    draft = state.draft([], "me", 5.0)
    state.learn(Stored(3, draft.body), 0.0)
    assert (state.last_response_at, state.resumed, state.sequence, state.rev) == (50.0, True, 3, 1)
