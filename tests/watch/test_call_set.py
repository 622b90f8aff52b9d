"""Two responses about one organization, and what happened in between."""

from __future__ import annotations

import json
from typing import Any

import pytest
from watch.scripted_calls import body_of, call

from calls_in_progress_async.watch.call_set import CallSet
from calls_in_progress_async.watch.call_state import CheckpointedCall
from calls_in_progress_async.watch.listing import read

A, B, C = (call(letter, city="Goleta") for letter in "ABC")
CALLER, START = "+18005551234", "2024-02-01T10:00:00-07:00"


class Story:
    """The responses of one organization, in order. Events are "+A" for a start, "*A" for a change, "-A" for an end."""

    def __init__(self, missed_polls_before_end: int = 1) -> None:
        self.calls = CallSet(missed_polls_before_end)

    def tell(self, body: bytes) -> list[str]:
        events = []
        for identity, before, after in self.calls.apply(read(body, self.calls.listing, strict=False)):
            events.append(("+" if before is None else "-" if after is None else "*") + identity)
        return events

    def __call__(self, *calls: Any) -> list[str]:
        return self.tell(body_of(*calls))


def test_starts_changes_and_ends() -> None:
    """Ends come first, then changes, then starts, oldest (last in the list) first."""
    story = Story()
    assert story(B, A) == ["+A", "+B"]
    assert story(B, A) == []
    assert story(C, {**B, "city": "Ventura"}) == ["-A", "*B", "+C"]
    assert story() == ["-C", "-B"]


def test_the_order_of_the_list_means_nothing() -> None:
    """A list in another order is no event."""
    story = Story()
    story(A, B, C)
    assert story(C, A, B) == []


@pytest.mark.parametrize("later", [[A, A], [{**A, "city": "x"}, A], [A, {**A, "city": "x"}]])
def test_an_id_listed_twice_is_one_call(later: list[Any]) -> None:
    """Among several entries with one id the known state wins."""
    story = Story()
    story(A)
    assert story(*later) == []
    assert [known.call().city for known in story.calls.calls.values()] == ["Goleta"]


def test_a_new_id_listed_twice() -> None:
    """Among several new entries with one id the first (the newest) wins."""
    story = Story()
    assert story({**A, "city": "x"}, A) == ["+A"]
    assert [known.call().city for known in story.calls.calls.values()] == ["x"]
    assert story(A) == ["*A"]


def test_entries_that_are_not_objects_never_start() -> None:
    """Only objects are calls, as for a find."""
    story = Story()
    assert story(A, None, 7) == ["+A"]


def test_a_call_ends_after_missed_polls() -> None:
    """With missed_polls_before_end of 3 a call may return after two responses; unchanged responses count."""
    story = Story(missed_polls_before_end=3)
    story(A, B)
    assert [story(A), story(A)] == [[], []]
    assert story(A, B) == []
    assert [story(A), story(A), story(A), story(A)] == [[], [], ["-B"], []]
    assert set(story.calls.calls) == {"A"}


def test_a_call_that_returns_changed() -> None:
    """A missing call returning with another city has changed."""
    story = Story(missed_polls_before_end=2)
    story(A, B)
    story(A)
    assert story(A, {**B, "city": "x"}) == ["*B"]


# Meaning.

MEANINGS: dict[str, tuple[str, str, bool]] = {
    "the same": ('{"city":"x"}', '{"city":"x"}', True),
    "another value": ('{"city":"x"}', '{"city":"y"}', False),
    "white space": ('{"city":"x"}', '{ "city" : "x" }', True),
    "the order of keys": ('{"city":"x","region":"y"}', '{"region":"y","city":"x"}', True),
    "an escape": ('{"city":"\\u0041"}', '{"city":"A"}', True),
    "an escaped slash": ('{"city":"a\\/b"}', '{"city":"a/b"}', True),
    "null and left out": ('{"city":null}', "{}", True),
    "empty and null": ('{"city":""}', '{"city":null}', True),
    "empty and left out, a fast field": ('{"call_status":""}', "{}", True),
    "a number and its text": ('{"keypress_1":1}', '{"keypress_1":"1"}', True),
    "another number": ('{"keypress_1":1}', '{"keypress_1":"2"}', False),
    "a flag and its text": ('{"repeat_calling_phone_number":false}', '{"repeat_calling_phone_number":"false"}', True),
    "a flag for a text": ('{"call_status":true}', '{"call_status":"true"}', True),
    "digits in another order": ('{"zip_code":"93101"}', '{"zip_code":"93110"}', False),
    "a repeated key": ('{"city":"y","city":"x"}', '{"city":"x"}', True),
    "a custom value": ('{"custom_data":{"a":{"value":"1"}}}', '{"custom_data":{"a":{"value":"2"}}}', False),
    "a custom value left out": (
        '{"custom_data":{"a":{"value":"1","source":null}}}',
        '{"custom_data":{"a":{"value":"1"}}}',
        True,
    ),
    "a list": ('{"x":[1,2]}', '{"x":[2,1]}', False),
    "a list respelled": ('{"x":[1, "a"]}', '{"x":[1,"\\u0061"]}', True),
    "not a number": ('{"x":NaN}', '{"x": NaN}', True),
}


def named(fields: str) -> bytes:
    """Write the body of one call with an id and the fields of a JSON object."""
    return b'{"current_calls":[{"transaction_id":"A",%b}]}' % (fields[1:-1] or '"x":null').encode()


@pytest.mark.parametrize(("one", "other", "same"), MEANINGS.values(), ids=MEANINGS)
def test_calls_are_compared_by_meaning(one: str, other: str, same: bool) -> None:
    """Spelling is no change, in either direction; every real difference is one."""
    for first, second in ((one, other), (other, one)):
        story = Story()
        story.tell(named(first))
        assert story.tell(named(second)) == ([] if same else ["*A"])


def test_a_respelled_response_hides_no_change() -> None:
    """If every entry is spelled otherwise, the one real change is still told, and nothing else."""
    calls = [call(f"C{number}", city="Goleta") for number in range(10)]
    story = Story()
    story(*calls)
    respelled = [dict(reversed(each.items())) for each in calls]
    respelled[1]["city"] = "Ventura"
    assert story.tell(json.dumps({"current_calls": respelled}, indent=1).encode()) == ["*C1"]
    assert len(story(*[{**each, "city": "Oxnard"} for each in calls])) == 10


def test_fields_nested_too_deeply_to_compare_are_compared_by_their_bytes() -> None:
    """No depth of nesting raises; the same bytes are no change."""
    deep = "[" * 400 + "]" * 400
    story = Story()
    one = b'{"current_calls":[{"transaction_id":"A","x":%s}]}' % deep.encode()
    assert story.tell(one) == ["+A"]
    assert story.tell(one.replace(b'"A"', b'"A" ')) == []


def test_after_a_restart_only_a_difference_is_an_event() -> None:
    """A call from a checkpoint with the same digest is no event."""
    listed = read(body_of(A, B), None, strict=False).entries
    story = Story()
    story.calls.calls = {
        "A": CheckpointedCall("A", listed[0].digest),
        "B": CheckpointedCall("B", "another"),
        "C": CheckpointedCall("C", "another"),
    }
    assert story(A, B) == ["-C", "*B"]
    assert story(A, B) == []


# Entries with an unreadable id.

NAMED = call("A", call_record_id="R", calling_phone_number=CALLER, start_time=START)
BLURRED: dict[str, Any] = {
    "null": None,
    "a number": 7,
    "text": "x",
    "an empty object": {},
    "an id of another type": {**NAMED, "transaction_id": ["A"]},
    "no id at all": {"calling_phone_number": CALLER, "start_time": START},
    "the record id alone": {"call_record_id": "R"},
    "one number alone": {"calling_phone_number": CALLER},
    "an empty id": {**NAMED, "transaction_id": ""},
    "half a character for an id": {**NAMED, "transaction_id": "\ud800", "call_record_id": None},
}


@pytest.mark.parametrize("blurred", BLURRED.values(), ids=BLURRED)
def test_an_entry_that_cannot_be_identified_is_neither_an_end_nor_a_start(blurred: Any) -> None:
    """The call stays as it was until its entry can be read again, and ends when the entry has gone."""
    story = Story()
    assert story(NAMED, B) == ["+B", "+A"]
    assert [story(blurred, B), story(blurred, B), story(B, blurred)] == [[], [], []]
    assert story.calls.calls["A"].call().calling_phone_number == CALLER
    assert story(NAMED, B) == []
    assert story(blurred) == []  # either of the two
    assert sorted(story()) == ["-A", "-B"]


@pytest.mark.parametrize(
    "other",
    [
        {"call_record_id": "S", "city": "x"},
        {"calling_phone_number": "+18005559999", "start_time": START},
        {"call_record_id": "R", "calling_phone_number": CALLER, "start_time": "2024-02-01T11:00:00-07:00"},
    ],
)
def test_an_entry_that_is_another_call_hides_no_end(other: dict[str, Any]) -> None:
    """An entry without a transaction id is a call of its own if it contradicts the missing call."""
    story = Story()
    story(NAMED)
    ended, started = story(other)
    assert (ended, started[:2]) == ("-A", "+~")
    assert story(other) == []


def test_an_id_outside_utf_8_is_no_id() -> None:
    """It would be the same as another's; the call goes on by its numbers, and is told apart by them."""
    story = Story()
    story(NAMED)
    garbled = json.dumps(NAMED).encode().replace(b'"A"', b'"\xff"').replace(b'"R"', b'"\xfe"')
    assert story.tell(b'{"current_calls":[%b]}' % garbled) == []
    assert story(NAMED) == []


def test_an_entry_that_stood_beside_the_call_is_not_the_call() -> None:
    """Permanent junk in a list does not keep calls alive, however calls come and go."""
    story = Story()
    assert story(A, None, {"call_status": "?"}) == ["+~whole:" + story_digest({"call_status": "?"}), "+A"]
    assert story(None, {"call_status": "?"}) == ["-A"]
    assert story(B, None, {"call_status": "?"}) == ["+B"]
    assert story(None, {"call_status": "?"}, C) == ["-B", "+C"]


def story_digest(fields: dict[str, Any]) -> str:
    (entry,) = read(body_of(fields), None, strict=False).entries
    return str(entry.identity).removeprefix("~whole:")


def test_a_second_piece_of_junk_may_be_the_call() -> None:
    """Entries are counted: one null more than before may be a call, and both may come and go."""
    story = Story()
    story(A, None)
    assert story(None, None) == []
    assert story(None) == []
    assert story() == ["-A"]


def test_a_call_whose_id_comes_later_is_the_same_call() -> None:
    """A call first seen without its ids keeps its identity, and the id is told as a change."""
    story = Story()
    nameless = {name: value for name, value in NAMED.items() if name not in ("transaction_id", "call_record_id")}
    (started,) = story(nameless)
    assert started.startswith("+~traits:")
    assert story(B, NAMED) == ["*" + started[1:], "+B"]
    assert story(NAMED, B) == []
    assert story(B) == ["-" + started[1:]]


def test_missed_polls_count_identified_responses_only() -> None:
    """A response in which a call cannot be identified is not a missed poll."""
    story = Story(missed_polls_before_end=2)
    story(NAMED)
    assert [story(), story({}), story({}), story()] == [[], [], [], ["-A"]]


@pytest.mark.timeout(20)  # comparing pair by pair takes minutes
def test_junk_takes_bounded_time() -> None:
    """Thousands of unreadable entries beside thousands of missing calls are not compared pair by pair."""
    story = Story()
    story(*(call(f"C{number}") for number in range(3000)))
    assert story(*({"call_status": f"{number}"} for number in range(3000))) == []
    assert len(story.calls.calls) == 3000
