"""Reading a body with the help of the last one gives the same as reading it afresh, for less."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watch.scripted_calls import body_of, call

from calls_in_progress_async.records.codec import PayloadError
from calls_in_progress_async.records.results import structure_calls
from calls_in_progress_async.watch import listing as module
from calls_in_progress_async.watch.call_state import ListedCall
from calls_in_progress_async.watch.listing import read

A, B, C, D = (call(f"CALL-{letter}") for letter in "ABCD")
LONG = [call(f"CALL-{number:03}", city="x" * 50) for number in range(40)]
DATA = sorted((Path(__file__).parents[1] / "data").glob("*/get_calls*.response-200.json"))


def entries(body: bytes, last: Any = None, *, strict: bool = False) -> list[tuple[str | None, bytes]]:
    return [(entry.identity, entry.json) for entry in read(body, last, strict=strict).entries]


@pytest.mark.parametrize("layout", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("now", [[], [A], [A, B, C], LONG], ids=len)
def test_the_same_body_is_the_same_listing(now: list[Any], layout: tuple[str, str]) -> None:
    """If nothing has changed, the very same listing comes back."""
    body = json.dumps({"current_calls": now}, separators=layout).encode()
    first = read(body, None, strict=False)
    assert first.layout is not None
    assert read(bytes(bytearray(body)), first, strict=False) is first


@pytest.mark.parametrize("path", DATA, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_published_examples(path: Path) -> None:
    """The vendor's examples, pretty-printed, are read, and recognized when they come again."""
    body = path.read_bytes()
    first = read(body, None, strict=False)
    assert read(bytes(bytearray(body)), first, strict=False) is first
    assert [json.loads(entry.json) for entry in first.entries] == next(iter(json.loads(body).values()))


BEFORE = [A, B, C, D]
CHANGED = {**B, "call_status": "ended?"}
LATER = {
    "one changed": [A, CHANGED, C, D],
    "the first changed": [{**A, "city": "Goleta"}, B, C, D],
    "the last changed": [A, B, C, {**D, "city": "Goleta"}],
    "one new in front": [call("NEW"), A, B, C, D],
    "one new at the end": [A, B, C, D, call("NEW")],
    "one new within": [A, B, call("NEW"), C, D],
    "the first gone": [B, C, D],
    "the last gone": [A, B, C],
    "the two last gone": [A, B],
    "two within gone": [A, D],
    "all gone": [],
    "turned around": [D, C, B, A],
    "all new": [call("NEW"), call("NEWER")],
    "twice the same": [A, B, B, C, D],
    "an entry that is no call": [A, None, B, 7, C, "D", D],
    "one after the only one": [A, {**B, "city": "Goleta"}],
}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
@pytest.mark.parametrize("before", [BEFORE, [A]], ids=len)
@pytest.mark.parametrize("layout", [(",", ":"), (", ", ": ")])
def test_what_has_changed_is_read_as_if_afresh(before: list[Any], later: list[Any], layout: tuple[str, str]) -> None:
    """Every change is seen, and nothing else."""
    earlier, now = (json.dumps({"current_calls": each}, separators=layout).encode() for each in (before, later))
    first = read(earlier, None, strict=False)
    assert entries(now, first) == entries(now)


def test_only_what_has_changed_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If one of 40 calls changed, one started and one ended, two are parsed."""
    parsed: list[bytes] = []
    for name in ("identity_of", "call_at"):
        parse: Callable[[bytes], object] = getattr(module, name)
        monkeypatch.setattr(module, name, lambda payload, parse=parse: parsed.append(payload) or parse(payload))
    first = read(body_of(*LONG), None, strict=False)
    parsed.clear()
    later = [call("NEW"), *LONG[:10], {**LONG[10], "city": "y"}, *LONG[11:20], *LONG[21:]]
    assert len(read(body_of(*later), first, strict=False).entries) == 40
    assert len(parsed) == 2


@pytest.mark.parametrize(("calls", "made"), [(200, False), (12_000, True)])
def test_digests_are_made_for_many_changed_calls_only(calls: int, made: bool) -> None:
    """A digest costs several comparisons, so that usual responses do without."""
    before = [call(f"CALL-{number}") for number in range(calls)]
    first = read(body_of(*before), None, strict=False)
    later = read(body_of(*({**each, "city": "y"} for each in before)), first, strict=False)
    assert {entry.has_digest for entry in (*first.entries, *later.entries)} == {made}


def test_the_walk_is_given_up_if_most_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the whole body costs less than looking for forty changed entries."""
    looked: list[int] = []
    find_next: Callable[..., Any] = module._find_next
    monkeypatch.setattr(module, "_find_next", lambda *given: looked.append(given[3]) or find_next(*given))
    first = read(body_of(*LONG), None, strict=False)
    later = body_of(*({**each, "city": "y"} for each in LONG))
    assert entries(later, first) == entries(later)
    assert 0 < len(looked) < 15


ODD = {
    "another key beside the list": b'{"page":1,"current_calls":[{"transaction_id":"A"}]}',
    "a key after the list": b'{"current_calls":[{"transaction_id":"A"}],"page":1}',
    "irregular spaces": b'{"current_calls":[{"transaction_id":"A"}, {"transaction_id":"B"},{"transaction_id":"C"}]}',
    "one call, not a list": b'{"current_call":{"transaction_id":"A"}}',
    "the list twice": b'{"current_calls":[{"transaction_id":"A"}],"current_calls":[{"transaction_id":"B"}]}',
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_odd_bodies_are_split_whole(body: bytes) -> None:
    """A body with another layout is read whole each time, and its calls are recognized."""
    first = read(body, None, strict=False)
    assert first.layout is None
    again = read(body, first, strict=False)
    assert [entry.json for entry in again.entries] == [entry.json for entry in first.entries]
    assert first.entries


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_from_plain_to_odd(odd: bytes) -> None:
    """The layout of a plain body does not mislead for an odd body with the same beginning and end."""
    first = read(body_of({"transaction_id": "A"}, {"transaction_id": "B"}), None, strict=False)
    assert entries(odd, first) == entries(odd)


def test_a_second_list_within_a_piece() -> None:
    """The last of two lists of one name counts, even if both hold known entries."""
    first = read(body_of(A, B, C), None, strict=False)
    middle = json.dumps(B, separators=(",", ":")).encode()
    for replaced, by in ((b"," + middle, b'],"current_calls":[7'), (middle, b'{}],"current_calls":[7')):
        twice = body_of(A, B, C).replace(replaced, by)
        assert entries(twice, first) == entries(twice)
        assert len(entries(twice)) == 2


BROKEN = {
    "HTML": b"<html>",
    "nothing": b"",
    "no list": b"{}",
    "null for a list": b'{"current_calls":null}',
    "cut off": body_of(A, B)[:-9],
    "cut off within the tail": body_of(A, B)[:-1],
    "a comma too many": body_of(A, B)[:-2] + b",]}",
    "no comma": body_of(A, B).replace(b"},{", b"}{"),
    "no comma before something": body_of(A, B).replace(b"},{", b"} {"),
    "no comma after a changed one": body_of({**A, "city": "x"}, B, C).replace(b'"x"},{', b'"x"};{'),
    "half an entry changed": body_of(A, B).replace(b'"transaction_id":"CALL-B",', b'"transaction_id":'),
    "shorter than its frame": b'{"current_calls":[}',
    "a string that does not end": body_of(A, B).replace(b'CALL-B"', b"CALL-B"),
}


@pytest.mark.parametrize("last", [None, body_of(), body_of(A), body_of(A, B), body_of(A, B, C)])
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_broken_bodies_are_errors(body: bytes, last: bytes | None) -> None:
    """A body without a list of calls is an error, never an empty list, whatever came before."""
    known = None if last is None else read(last, None, strict=False)
    with pytest.raises(PayloadError):
        read(body, known, strict=False)


def test_a_strict_poll_rejects_unreadable_fields() -> None:
    """In strict mode an unreadable field makes the response unreadable, and its path is named."""
    first = read(body_of(A, B, C, D), None, strict=True)
    body = body_of(A, {**B, "bridge_start_time": "noon"}, C, D)
    for known in (first, None):
        with pytest.raises(PayloadError, match="ISO 8601") as caught:
            read(body, known, strict=True)
        assert caught.value.path == "current_calls[1].bridge_start_time"
    assert len(read(body_of(A, CHANGED, C, D), first, strict=True).entries) == 4
    assert len(read(body, None, strict=False).entries) == 4


def test_layouts_are_shared_and_do_not_pile_up() -> None:
    """Organizations of one server share one layout object, and endless variations do not pile up."""
    one, other = (read(body_of(each), None, strict=False) for each in (A, B))
    assert one.layout is other.layout
    for spaces in range(200):
        read(b'{"current_calls":' + b" " * spaces + b"[]}", None, strict=False)
    assert len(module._layouts) <= 65


calls = st.lists(
    st.one_of(
        st.builds(
            lambda number, text: {"transaction_id": f"C{number}", "city": text},
            st.integers(0, 12),
            st.text('"\\]},[{:é\u2028', max_size=12),
        ),
        st.sampled_from([None, 1, "x", [], {}, [{}], {"call_record_id": "R"}]),
    ),
    max_size=12,
)


@given(history=st.lists(calls, min_size=1, max_size=4), spaced=st.booleans(), ascii_only=st.booleans())
def test_any_history_reads_as_if_afresh(history: list[list[Any]], spaced: bool, ascii_only: bool) -> None:
    """Every body in any sequence is read as if it were the first."""
    last = None
    for each in history:
        separators = (", ", ": ") if spaced else (",", ":")
        body = json.dumps({"current_calls": each}, separators=separators, ensure_ascii=ascii_only).encode()
        assert entries(body, last) == entries(body)
        last = read(body, last, strict=False)
        assert all(isinstance(entry, ListedCall) for entry in last.entries)


@given(history=st.lists(calls, min_size=1, max_size=3), cut=st.integers(0, 200), insert=st.binary(max_size=3))
def test_any_damage_is_seen(history: list[list[Any]], cut: int, insert: bytes) -> None:
    """A damaged body is read, or rejected, as if it were the first."""
    last = None
    for each in history:
        last = read(body_of(*each), last, strict=False)
    whole = body_of(*history[-1])
    damaged = whole[:cut] + insert + whole[cut + 1 :]
    try:
        expected = entries(damaged)
    except PayloadError:
        with pytest.raises(PayloadError):
            entries(damaged, last)
    else:
        assert entries(damaged, last) == expected


SAYINGS = st.one_of(
    st.sampled_from([None, 1, "x", [], {}, [None], [{}], [{"transaction_id": "A"}, 5], {"transaction_id": "A"}]),
    st.lists(st.sampled_from([None, {}, {"transaction_id": "A"}, {"transaction_id": 5, "start_time": "noon"}])),
)
BODIES = st.one_of(
    st.dictionaries(st.sampled_from(["current_calls", "calls_in_progress", "current_call", "other"]), SAYINGS),
    SAYINGS,
)


@given(body=BODIES, before=st.one_of(st.none(), BODIES), strict=st.booleans())
def test_a_poll_rejects_what_a_find_rejects(body: Any, before: Any, strict: bool) -> None:
    """A find and a poll take the same bodies and reject the same bodies, whatever the poll read before."""
    raw = json.dumps(body, separators=(",", ":")).encode()
    last = None
    with contextlib.suppress(PayloadError):
        last = read(json.dumps(before, separators=(",", ":")).encode(), None, strict=strict)
    try:
        calls = structure_calls(raw, strict=strict).calls
    except PayloadError:
        with pytest.raises(PayloadError):
            read(raw, last, strict=strict)
    else:
        listing = read(raw, last, strict=strict)
        assert sum(entry.identity is not None for entry in listing.entries) == len(calls)
