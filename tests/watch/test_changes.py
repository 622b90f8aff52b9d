"""Changes: names and values of the differing fields of two states of a call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls_in_progress_async import Call
from calls_in_progress_async.watch.call_state import ListedCall, equivalent
from calls_in_progress_async.watch.changes import changes_between

NOON, ONE = "2024-02-01T12:00:00Z", "2024-02-01T13:00:00Z"
SOURCE = {"value": "a", "source": "VirtualLine"}
TABLE: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "nothing": ({"city": "Goleta"}, {"city": "Goleta"}, {}),
    "text": ({"city": "Goleta"}, {"city": "Ventura"}, {"city": ("Goleta", "Ventura")}),
    "new text": ({}, {"city": "Ventura"}, {"city": (None, "Ventura")}),
    "gone text": ({"city": "Goleta"}, {"city": None}, {"city": ("Goleta", None)}),
    "three ways to say nothing": ({"city": "", "region": None}, {"region": "", "zip_code": None}, {}),
    "a flag": (
        {"repeat_calling_phone_number": None},
        {"repeat_calling_phone_number": False},
        {"repeat_calling_phone_number": (None, False)},
    ),
    "a time": (
        {"start_time": NOON},
        {"start_time": ONE},
        {"start_time": (datetime(2024, 2, 1, 12, tzinfo=UTC), datetime(2024, 2, 1, 13, tzinfo=UTC))},
    ),
    "the same time, spelled otherwise": (
        {"start_time": NOON},
        {"start_time": "2024-02-01T13:00:00+01:00"},
        {"start_time": (NOON, "2024-02-01T13:00:00+01:00")},
    ),
    "what cannot be read": ({"start_time": "x"}, {"start_time": "y"}, {"start_time": ("x", "y")}),
    "an unknown field": ({"mood": 1}, {"mood": 2}, {"mood": (1, 2)}),
    "keypresses as printed": ({"key presses": "1"}, {"key presses": "1,2"}, {"keypresses": ("1", "1,2")}),
    "a custom field": (
        {"custom_data": {"utm_source": {"value": "a", "source": "x"}, "other": SOURCE}},
        {"custom_data": {"utm_source": {"value": "b", "source": "x"}, "other": SOURCE}},
        {"custom_data.utm_source": ("a", "b")},
    ),
    "custom data for the first time": (
        {"custom_data": None},
        {"custom_data": {"utm_source": SOURCE}},
        {"custom_data.utm_source": (None, "a")},
    ),
    "another source": (
        {"custom_data": {"utm_source": SOURCE}},
        {"custom_data": {"utm_source": {"value": "a", "source": "DynamicAttribution"}}},
        {"custom_data.utm_source.source": ("VirtualLine", "DynamicAttribution")},
    ),
    "the caller": (
        {"custom_data": {"demographics_data": {"gender_data_append": "", "age_data_append": "1"}}},
        {"custom_data": {"demographics_data": {"gender_data_append": "f", "age_data_append": "1"}}},
        {"demographics_data.gender_data_append": (None, "f")},
    ),
    "custom data that cannot be read": ({"custom_data": 1}, {"custom_data": 2}, {"custom_data": (1, 2)}),
    "an empty custom field less": (
        {"custom_data": {"utm_source": {"value": None}}},
        {"custom_data": {}},
        {},
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), TABLE.values(), ids=TABLE)
def test_changes(old: dict[str, Any], new: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each difference has the name of its field, and the values of the records."""
    assert changes_between(Call.from_payload(old), Call.from_payload(new)) == expected


SPELLINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an empty demographic": (
        {"custom_data": {"demographics_data": {"x_data_append": ""}}},
        {"custom_data": {"demographics_data": {"x_data_append": None}}},
    ),
    "a number and its text": ({"advertiser_id": 83, "zip_code": 1}, {"advertiser_id": "83", "zip_code": "1"}),
    "a flag in another word": ({"repeat_calling_phone_number": "yes"}, {"repeat_calling_phone_number": "true"}),
    "an empty source": (
        {"custom_data": {"a": {"value": "1", "source": ""}}},
        {"custom_data": {"a": {"value": "1"}}},
    ),
}


@pytest.mark.parametrize(("old", "new"), SPELLINGS.values(), ids=SPELLINGS)
def test_another_spelling_is_no_change(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Two ways to write the same meaning make no difference."""
    assert changes_between(Call.from_payload(old), Call.from_payload(new)) == {}


values = st.recursive(
    st.sampled_from([None, "", "a", "b", 1, "1", True, "true", 1.5]),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("xy"), inner, max_size=2)),
    max_leaves=6,
)
payloads = st.dictionaries(
    st.sampled_from(
        ["city", "start_time", "custom_data", "mood", "key presses", "keypresses", "repeat_calling_phone_number"]
    ),
    values,
    max_size=4,
)


@given(old=payloads, new=payloads)
def test_changes_are_empty_exactly_if_the_meaning_is_the_same(old: dict[str, Any], new: dict[str, Any]) -> None:
    """An emitted change always names a field; a mere respelling never does."""
    one, other = Call.from_payload(old), Call.from_payload(new)
    same = equivalent(ListedCall("A", one.raw_json), ListedCall("A", other.raw_json))
    assert (changes_between(one, other) == {}) is same
