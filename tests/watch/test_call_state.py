"""What tells one call from another, and what is known of a call after a restart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls_in_progress_async.watch.call_state import CheckpointedCall, ListedCall, alike, identity_of, same

TRAITS = {"calling_phone_number": "+18005551234", "start_time": "2024-02-01T10:00:00-07:00"}


def identity(**fields: Any) -> str | None:
    return identity_of(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"transaction_id": "A-1", "call_record_id": "R"}, "A-1"),
        ({"transaction_id": "", "call_record_id": "R"}, "~record:R"),
        ({"transaction_id": None, "call_record_id": "R"}, "~record:R"),
        ({"transaction_id": 12, "call_record_id": "R"}, "12"),
        ({"transaction_id": "~record:R"}, "~:~record:R"),
    ],
)
def test_ids_are_identities(fields: dict[str, Any], expected: str) -> None:
    """The transaction id counts, then the call record id; one that looks like another kind is not mistaken for it."""
    assert identity(**fields) == expected


def test_the_last_of_two_keys_counts() -> None:
    """The 2024-02 examples repeat transaction_id inside one object: the last one wins."""
    assert identity_of(b'{"transaction_id":"A","transaction_id":"B"}') == "B"


def test_calls_without_ids_keep_their_identity() -> None:
    """Numbers and times tell a call without ids from others while the rest changes, and cannot be read from it."""
    one = identity(**TRAITS, call_status="bridged")
    assert one == identity(**TRAITS, call_status="changed")
    assert one != identity(**{**TRAITS, "calling_phone_number": "+18005551235"})
    assert one is not None
    assert "555" not in one.removeprefix("~traits:") or "5551234" not in one
    assert one.startswith("~traits:")


def test_calls_with_nothing_to_go_by() -> None:
    """Without any of these, the whole of it is the identity."""
    assert identity(city="Goleta") == identity(city="Goleta") != identity(city="Ventura")


@pytest.mark.parametrize("payload", [b"1", b"null", b'"text"', b"[]"])
def test_what_is_no_object_is_no_call(payload: bytes) -> None:
    """An entry that is not an object has no identity."""
    assert identity_of(payload) is None


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"transaction_id": "A-1"}, {"transaction_id": "A-1"}),
        ({"transaction_id": "~whole:x"}, {"transaction_id": "~whole:x"}),
        ({"call_record_id": "R"}, {"call_record_id": "R"}),
        (TRAITS, {}),
        ({"city": "Goleta"}, {}),
    ],
)
def test_a_remembered_call_has_its_id(fields: dict[str, Any], shown: dict[str, Any]) -> None:
    """From a checkpoint a call comes back with its id, and nothing else."""
    found = identity(**fields)
    assert found is not None
    assert CheckpointedCall(found, "digest").call().raw == shown


def test_same() -> None:
    """Calls are the same byte for byte, or by digest where one is remembered only."""
    one, other = ListedCall("A", b'{"a":1}'), ListedCall("A", b'{"a":2}')
    assert same(one, ListedCall("A", b'{"a":1}'))
    assert not same(one, other)
    assert same(CheckpointedCall("A", one.digest), one)
    assert not same(CheckpointedCall("A", one.digest), other)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (b'{"a":1,"b":2}', b'{"a":1,"b":2}', True),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', True),
        (b'{"a":1,"b":2}', b'{"b":1,"a":2}', False),
        (b'{"a":1,"b":2}', b'{"a":1,"b":3}', False),
        (b'{"a":1,"b":2}', b'{"a":1}', False),
    ],
)
def test_alike(one: bytes, other: bytes, expected: bool) -> None:
    """Calls say the same where only the order of the keys differs; that is not asked of one that is remembered."""
    assert alike(ListedCall("A", one), ListedCall("A", other)) is expected
    assert alike(CheckpointedCall("A", ListedCall("A", one).digest), ListedCall("A", other)) is (one == other)
