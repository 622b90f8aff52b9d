"""The identity of a call, and what is known of a call after a restart."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from records.test_meaning import DIFFERENT, SAME

from calls_in_progress_async.records import call as records_of_calls
from calls_in_progress_async.watch.call_identity import identity_of
from calls_in_progress_async.watch.call_state import CheckpointedCall, ListedCall, equivalent, identical, list_calls

TRAITS = {"calling_phone_number": "+18005551234", "start_time": "2024-02-01T10:00:00-07:00"}


def identity(**fields: Any) -> str | None:
    return identity_of(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"transaction_id": "A-1", "call_record_id": "R"}, "A-1"),
        ({"transaction_id": "", "call_record_id": "R"}, "~record:R"),
        ({"transaction_id": None, "call_record_id": "R"}, "~record:R"),
        ({"transaction_id": ["A"], "call_record_id": "R"}, "~record:R"),
        ({"transaction_id": 12, "call_record_id": "R"}, "12"),
        ({"transaction_id": 0}, "0"),
        ({"transaction_id": 12.5}, "12.5"),
        ({"transaction_id": True}, "true"),
        ({"call_record_id": 7}, "~record:7"),
        ({"call_record_id": 7.5}, "~record:7.5"),
        ({"transaction_id": "~record:R"}, "~:~record:R"),
    ],
)
def test_ids_are_identities(fields: dict[str, Any], expected: str) -> None:
    """The transaction id comes before the call record id; a number is its text; no id looks like another kind."""
    assert identity(**fields) == expected
    body = json.dumps({"current_calls": [fields, fields]}).encode()
    calls = list_calls(body, [json.dumps(fields).encode()] * 2, keep_glances=False)
    assert [call.identity for call in calls] == [expected] * 2


def test_the_last_of_two_keys_counts() -> None:
    """The 2024-02 examples repeat transaction_id inside one object: the last one wins."""
    assert identity_of(b'{"transaction_id":"A","transaction_id":"B"}') == "B"


def test_calls_without_ids_keep_their_identity() -> None:
    """Numbers and times tell a call without ids from others while the rest changes, and the digest hides them."""
    one = identity(**TRAITS, call_status="bridged")
    assert one == identity(**TRAITS, call_status="changed")
    assert one != identity(**{**TRAITS, "calling_phone_number": "+18005551235"})
    assert one is not None
    assert one.startswith("~traits:")
    assert "5551234" not in one


def test_calls_without_any_trait() -> None:
    """A call without ids, numbers and times is known by all of its JSON."""
    assert identity(city="Goleta") == identity(city="Goleta") != identity(city="Ventura")


@pytest.mark.parametrize(("one", "other"), SAME, ids=range(len(SAME)))
def test_calls_with_the_same_meaning_are_equivalent(one: bytes, other: bytes) -> None:
    """The short cut for likely changes knows both spellings of a field."""
    assert equivalent(ListedCall("A", one), ListedCall("A", other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_calls_with_another_meaning_are_not_equivalent(one: bytes, other: bytes) -> None:
    """Compared by JSON, and by digest."""
    calls = ListedCall("A", one), ListedCall("A", other)
    assert not equivalent(*calls)
    assert calls[0].digest != calls[1].digest
    assert not equivalent(*calls)


@pytest.mark.parametrize("payload", [b"1", b"null", b'"text"', b"[]", b"{", b"[{}]"])
def test_payloads_that_are_not_objects_have_no_identity(payload: bytes) -> None:
    """Only objects are calls."""
    assert identity_of(payload) is None
    assert ListedCall(None, payload).names is None


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
def test_a_call_from_a_checkpoint_has_its_id(fields: dict[str, Any], shown: dict[str, Any]) -> None:
    """A call from a checkpoint has its id and no other field."""
    found = identity(**fields)
    assert found is not None
    assert CheckpointedCall(found, "digest").call().raw == shown


def test_identical() -> None:
    """Calls are identical byte for byte, or by the digest of their meaning if one comes from a checkpoint."""
    one, other = ListedCall("A", b'{"city":1}'), ListedCall("A", b'{"city":2}')
    assert identical(one, ListedCall("A", b'{"city":1}'))
    assert not identical(one, other)
    assert identical(CheckpointedCall("A", one.digest), one)
    assert not identical(CheckpointedCall("A", one.digest), other)
    assert identical(CheckpointedCall("A", one.digest), ListedCall("A", b'{ "city": "1", "b": null }'))


def test_equivalent() -> None:
    """Calls are equivalent if their JSON means the same; a call from a checkpoint is compared by digest."""
    one, respelled = ListedCall("A", b'{"a":1,"b":2}'), ListedCall("A", b'{"b": 2, "a": 1}')
    assert equivalent(one, respelled)
    assert not equivalent(one, ListedCall("A", b'{"a":2,"b":1}'))
    assert equivalent(CheckpointedCall("A", one.digest), respelled)
    assert not equivalent(CheckpointedCall("A", "another"), respelled)


@pytest.mark.parametrize("depth", [100, *range(800, 1001), 5000])
def test_a_payload_nested_too_deeply_has_a_digest(depth: int) -> None:
    """Equal bytes have equal digests, whichever parser or writer the depth is too much for."""
    deep = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    assert ListedCall("A", deep).digest == ListedCall("A", deep).digest
    assert not equivalent(ListedCall("A", deep), ListedCall("A", deep.replace(b"[]", b"[1]")))


def test_half_a_character_has_a_digest() -> None:
    """JSON can escape half a character, which no encoder of UTF-8 takes."""
    one, other = (ListedCall("A", b'{"city":"\\ud83%d"}' % number) for number in (0, 1))
    assert len(one.digest) == len(other.digest) == 20
    assert one.digest != other.digest
    assert one.digest == ListedCall("A", b'{ "city": "\\uD830" }').digest


def test_states_pickle() -> None:
    """Events hold states, and events pickle."""
    call = ListedCall("A", b'{"city":1}')
    again = pickle.loads(pickle.dumps(call))
    assert (again.identity, again.json, again.digest) == (call.identity, call.json, call.digest)


def test_a_call_nested_too_deeply_for_its_meaning_is_compared_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest differs if any byte does."""

    def give_up(*_: object) -> object:
        raise RecursionError

    monkeypatch.setattr(records_of_calls, "canonical", give_up)
    assert ListedCall("A", b'{"a": 1}').digest != ListedCall("A", b'{"a":1}').digest
