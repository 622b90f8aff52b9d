"""The names and values of what differs between two states of a call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from calls_in_progress_async import Call
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
        {"custom_data": ({"utm_source": {"value": None}}, {})},
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), TABLE.values(), ids=TABLE)
def test_changes(old: dict[str, Any], new: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each difference has the name of its field, and the values that the records have."""
    assert changes_between(Call.from_payload(old), Call.from_payload(new)) == expected


def test_demographics_that_change_in_their_emptiness_only() -> None:
    """What stays None in the record is told by its payload, so that a change is never without a name."""
    old = Call.from_payload({"custom_data": {"demographics_data": {"x_data_append": ""}}})
    new = Call.from_payload({"custom_data": {"demographics_data": {"x_data_append": None}}})
    assert list(changes_between(old, new)) == ["custom_data"]
