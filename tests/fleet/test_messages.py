"""Messages of the log: their events, ids and sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from calls_in_progress_async import Organization
from calls_in_progress_async.fleet import FleetError
from calls_in_progress_async.fleet.log_values import Stored
from calls_in_progress_async.fleet.message import LogEvent, LogMessage, decode, plain_payload, split
from calls_in_progress_async.fleet.state import FleetState
from calls_in_progress_async.watch.listing import read

ORGANIZATION = Organization.advertiser(25)


def new_state() -> FleetState:
    return FleetState(organization=ORGANIZATION, added_at=0.0, subject="cip.t.events.0.advertiser.25")


def commit(state: FleetState, sequence: int, *calls: dict[str, Any]) -> dict[str, Any]:
    """Poll a list of calls, and return the message as it is committed."""
    listing = read(json.dumps({"current_calls": calls}).encode(), state.calls.listing, strict=False)
    events = [state.event_of(delta) for delta in state.apply(listing, 1.0)]
    draft = state.draft(events, "me", 5.0)
    state.accept(draft, sequence, 5.0)
    decode(draft.body)
    message: dict[str, Any] = json.loads(draft.body)
    return message


def call(name: str, **fields: str) -> dict[str, str]:
    return {"transaction_id": name, **fields}


def successor(state: FleetState, message: dict[str, Any], sequence: int) -> FleetState:
    """Return the state of another worker, from the last message alone."""
    other = new_state()
    other.learn(Stored(sequence, json.dumps(message).encode()), 0.0)
    return other


def test_a_call_is_started_changed_and_ended() -> None:
    """Each event has the payload as the API sent it, and a change names the message of the payload before."""
    state = new_state()
    (started,) = commit(state, 10, call("A", call_status="ringing"))["events"]
    (changed,) = commit(state, 12, call("A", call_status="bridged"))["events"]
    (ended,) = commit(state, 15)["events"]
    assert [each["kind"] for each in (started, changed, ended)] == ["call_started", "call_changed", "call_ended"]
    assert started["call"] == {"transaction_id": "A", "call_status": "ringing"}
    assert changed["previous_at"] == 10
    assert ended["call"]["call_status"] == "bridged"
    assert (state.rev, state.sequence, state.known, state.must_write) == (3, 15, {}, False)


def test_a_successor_tells_the_rest_of_the_story() -> None:
    """From one message a successor knows the calls; it names the messages that hold payloads it never saw."""
    state = new_state()
    message = commit(state, 10, call("A", call_status="ringing"), call("B"))
    other = successor(state, message, 10)
    assert (other.rev, other.sequence, other.must_write, other.resumed) == (1, 10, True, True)
    ended, changed = commit(other, 11, call("A", call_status="bridged"))["events"]
    assert (ended["kind"], ended["call_id"], ended["call_at"]) == ("call_ended", "B", 10)
    assert "call" not in ended
    assert (changed["kind"], changed["previous_at"]) == ("call_changed", 10)


def test_an_equal_call_keeps_its_payload_after_a_reload() -> None:
    """A state that reads its own last message has the payloads still."""
    state = new_state()
    message = commit(state, 10, call("A"))
    state.doubt(write=False)
    state.learn(Stored(10, json.dumps(message).encode()), 0.0)
    assert not state.is_doubtful
    assert not state.must_write
    assert "call" in commit(state, 11)["events"][0]


def test_another_last_message_is_followed_by_a_write() -> None:
    """Somebody else has written, or the log has gone back: the next poll is written whatever it finds."""
    state = new_state()
    message = commit(state, 10, call("A"))
    state.learn(Stored(9, json.dumps(message).encode()), 0.0)
    assert state.must_write
    state.learn(Stored(), 0.0)
    assert (state.rev, state.known, dict(state.calls.calls), state.sequence) == (0, {}, {}, 0)


def test_a_call_that_comes_back_has_other_ids() -> None:
    """The number of a call's events goes on after its end, also in another worker."""
    state = new_state()
    messages = [commit(state, number, *calls) for number, calls in enumerate([[call("A")], [], [call("A")]], 1)]
    other = successor(state, messages[-1], 3)
    messages.append(commit(other, 4))
    ids = [each["events"][0]["id"] for each in messages]
    assert len(set(ids)) == 4
    assert [each.split("/")[2] for each in ids] == ["0", "1", "2", "3"]


def test_the_counts_of_sixteen_ended_calls_are_kept() -> None:
    """A busy organization does not make its messages grow."""
    state = new_state()
    commit(state, 1, *[call(str(number)) for number in range(40)])
    assert len(commit(state, 2)["ended"]) == 16


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"a": 1}', b'{"a": 1}'),
        (b'{"a": [NaN, 1.5, -Infinity, {"b": 1e999}]}', b'{"a": [null, 1.5, null, {"b": null}]}'),
        (b'{"a": "\\ud800"}', b'{"a": "\\ud800"}'),
        (b'{"a": "\xff"}', b'{"a": "\\ufffd"}'),
        (b'{"a": ', None),
    ],
)
def test_payloads_are_plain_json(payload: bytes, expected: bytes | None) -> None:
    """A message can be read by any JSON parser, whatever the API sent."""
    found = plain_payload(payload)
    assert (None if found is None else bytes(found)) == expected


def event_of_size(size: int, name: str = "1") -> LogEvent:
    return LogEvent(id=name, kind="call_started", call_id=name, call=plain_payload(b'"' + b"x" * size + b'"') or b"")


def test_a_large_poll_is_split() -> None:
    """No message is larger than the server takes; a payload larger than any message is left out."""
    events = [
        LogEvent(id=str(n), kind="call_started", call_id=str(n), call=plain_payload(b'"' + b"x" * 800 + b'"') or b"")
        for n in range(10)
    ]
    chunks = list(split(events, {}, 4096))
    assert [event for chunk in chunks for event in chunk] == events
    assert max(map(len, chunks)) == 3
    huge = event_of_size(8000)
    small = event_of_size(800)
    assert list(split([huge, small], {}, 4096)) == [[huge, small]]  # without its payload, the first leaves room
    assert list(split([], {}, 4096)) == [[]]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"v": 1}'])
def test_something_else_in_the_log_is_an_error(body: bytes) -> None:
    """A message of another program is named as such."""
    with pytest.raises(FleetError, match="something else than a message"):
        decode(body)


def test_a_later_version_is_an_error() -> None:
    """An old consumer does not misread a new log."""
    message = commit(new_state(), 1, call("A"))
    with pytest.raises(FleetError, match="upgrade"):
        decode(json.dumps({**message, "v": 2}).encode())


def test_messages_follow_the_schema() -> None:
    """Consumers in other languages read by the schema, which is a file of the documentation."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(__file__).parents[2] / "docs" / "fleet-event.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    state = new_state()
    messages = [
        commit(state, number, *calls) for number, calls in enumerate([[], [call("A"), call("B")], [call("A")]], 1)
    ]
    messages.append(commit(successor(state, messages[-1], 3), 4))
    for kind, fields in {
        "organization_failed": {"error": "ServerError"},
        "organization_recovered": {"gap": 12.5},
        "organization_resumed": {"gap": 0.5},
    }.items():
        draft = state.draft([LogEvent(id="", kind=kind, **fields)], "me", 5.0)  # type: ignore[arg-type]
        messages.append(json.loads(draft.body))
    for message in messages:
        validator.validate(message)
    fields = set(schema["properties"]) | set(schema["$defs"]["event"]["properties"])
    assert fields == {*LogMessage.__struct_fields__, *LogEvent.__struct_fields__}
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**messages[0], "v": 2})
