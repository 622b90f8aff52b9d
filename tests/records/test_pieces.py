"""A large body is cut into pieces, and says the same as a small one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calls_in_progress_async.records.bodies import split_any
from calls_in_progress_async.records.codec import BoundsError, PayloadError
from calls_in_progress_async.records.pieces import PIECE, cut
from calls_in_progress_async.records.results import structure_calls, structure_update
from calls_in_progress_async.watch.listing import read as read_listing

LONG = "x" * 1000
CALLS = [{"transaction_id": f"T{number}", "city": LONG, "advertiser_id": number} for number in range(1200)]


def body_of(*entries: Any, indent: int | None = None, **beside: Any) -> bytes:
    return json.dumps({"current_calls": entries, **beside}, indent=indent).encode()


def loose(*entries: bytes) -> bytes:
    return b'{"current_calls":[' + b",".join(entries) + b"]}"


def json_of(call: Any) -> bytes:
    return json.dumps(call).encode()


LAYOUTS: dict[str, bytes] = {
    "compact": json.dumps({"current_calls": CALLS}, separators=(",", ":")).encode(),
    "usual": body_of(*CALLS),
    "indented": body_of(*CALLS, indent=2),
    "white space": body_of(*CALLS)
    .replace(b"[{", b"[" + b" \n" * 400_000 + b"{")
    .replace(b"}]", b"}" + b"\t" * 90 + b"]"),
    "a mark": b"\xef\xbb\xbf" + body_of(*CALLS),
    "the beta's key": body_of(*CALLS).replace(b"current_calls", b"calls_in_progress"),
    "a member before": b'{"page": {"current_calls": 1}, ' + body_of(*CALLS)[1:],
    "a member behind": body_of(*CALLS, page=[1, 2], error=None, errors=[]),
    "objects within": body_of(*({**each, "keypresses": [{"a": 1}, {"b": 2}, {"c": 3}]} for each in CALLS)),
    "many objects within": body_of(*({**each, "x": [{}] * 300} for each in CALLS)),
    "text like entries": body_of(*({**each, "x": "},{" * 20} for each in CALLS)),
    "other characters": body_of(*CALLS).replace(b"xxxx", "\u00fc\u20ac".encode()),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("body", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_of_a_large_body_is_read(body: bytes, strict: bool) -> None:
    """A find, an update and a poll have every call, each with its exact JSON."""
    assert len(body) > 2 * PIECE
    if b'"page": {' in body:
        body = body.replace(b'"current_calls": 1', b'"calls": 1')
    calls = structure_calls(body, strict=strict).calls
    assert [call.transaction_id for call in calls] == [call["transaction_id"] for call in CALLS]
    assert all(call.raw["advertiser_id"] == number for number, call in enumerate(calls))
    assert calls[1100].path.endswith("[1100]")
    assert structure_update(body, strict=strict).calls == calls
    listed = read_listing(body, None, strict=strict).entries
    assert [entry.json for entry in listed] == [call.raw_json for call in calls]
    assert [entry.identity for entry in listed] == [call.transaction_id for call in calls]


def test_no_piece_is_larger_than_a_step_of_a_parser() -> None:
    """Each run has a part of the entries, and all together have them all."""
    name, runs = cut(LAYOUTS["usual"], lambda rest: ("current_calls", []) if rest else None, strict=False) or ("", [])
    assert name == "current_calls"
    assert all(len(run.json) <= PIECE + 2 for run in runs)
    assert [call for run in runs for call in json.loads(run.json)] == CALLS


def test_a_bad_field_costs_that_field_only() -> None:
    """The other calls of a body of any size are read, and so is the rest of the bad one."""
    bad = [{**each, "region": []} if number == 700 else each for number, each in enumerate(CALLS)]
    found = structure_calls(body_of(*bad), strict=False)
    assert len(found.calls) == len(CALLS)
    assert [problem.path for call in found.calls for problem in call.problems] == ["current_calls[700].region"]
    assert found.calls[700].city == LONG
    with pytest.raises(PayloadError, match="is a list, not text"):
        structure_calls(body_of(*bad), strict=True)


@pytest.mark.parametrize("odd", [b"null", b"5", b'"x"', b"[1, 2]"])
def test_an_entry_other_than_a_call_is_a_problem(odd: bytes) -> None:
    """The problem names the entry, and every call is there."""
    entries = list(map(json_of, CALLS))
    for place in (0, 600, 1200):
        body = loose(*entries[:place], odd, *entries[place:])
        found = structure_calls(body, strict=False)
        assert [problem.path for problem in found.problems] == [f"current_calls[{place}]"]
        assert len(found.calls) == len(CALLS)
        assert [entry.identity for entry in read_listing(body, None, strict=False).entries].count(None) == 1


@pytest.mark.parametrize("odd", [b'{"transaction_id":"odd","x":NaN}', b'{"transaction_id":"odd","x":"\xff"}'])
def test_loose_json_in_one_entry_costs_nothing_else(odd: bytes) -> None:
    """A value that a strict parser rejects leaves all calls readable; strict mode rejects the body."""
    entries = list(map(json_of, CALLS))
    for place in (0, 600, 1200):
        body = loose(*entries[:place], odd, *entries[place:])
        calls = structure_calls(body, strict=False).calls
        assert [call.raw_json for call in calls] == [*entries[:place], odd, *entries[place:]]
        assert [entry.identity for entry in read_listing(body, None, strict=False).entries][place] == "odd"
        for read in (structure_calls, structure_update):
            with pytest.raises(PayloadError, match="the body is not JSON"):
                read(body, strict=True)
        with pytest.raises(PayloadError, match="the body is not JSON"):
            read_listing(body, None, strict=True)


TOO_MUCH = json_of({"transaction_id": "T", "city": "x" * PIECE})
NO_JSON = "the body is not JSON"
REFUSED: dict[str, tuple[bytes, str]] = {
    "a large entry": (loose(json_of(CALLS[0]), TOO_MUCH, json_of(CALLS[1])), "not JSON, or of more than 524,288 bytes"),
    "a large entry at the end": (loose(json_of(CALLS[0]), TOO_MUCH), "not JSON, or of more than 524,288 bytes"),
    "a large member": (body_of(*CALLS, page="x" * PIECE), "has more than 524,288 bytes beside its list of calls"),
    "no list": (json_of({"x": "x" * PIECE}), "no list of calls, but more than 524,288 bytes"),
    "null for a list": (json_of({"current_calls": None, "x": "x" * PIECE}), "no list of calls, but more than"),
    "nested deeply": (body_of(*CALLS)[:-2] + b',{"x":' + b"[" * 150_000 + b"]" * 150_000 + b"}]}", "nested too deeply"),
    "cut off": (body_of(*CALLS)[:-40], NO_JSON),
    "cut off early": (body_of(*CALLS)[: PIECE + 3000], NO_JSON),
    "a comma at the end": (body_of(*CALLS)[:-2] + b",]}", NO_JSON),
    "no comma": (body_of(*CALLS).replace(b"}, {", b"} {"), "not JSON"),
    "more behind": (body_of(*CALLS) + b"x", NO_JSON),
    "an error": (body_of(*CALLS, error="x"), "reports an error"),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=REFUSED)
def test_other_bodies_are_refused(body: bytes, reason: str, strict: bool) -> None:
    """A find, an update and a poll give the same reason."""
    for read in (structure_calls, structure_update):
        with pytest.raises(PayloadError, match=reason):
            read(body, strict=strict)
    with pytest.raises(PayloadError, match=reason):
        read_listing(body, None, strict=strict)


def test_a_list_within_another_member_is_not_the_list() -> None:
    """An update has no call then, and a find says that there is no list."""
    body = json_of({"page": {"current_calls": CALLS}})
    assert structure_update(body, strict=False).calls == ()
    assert split_any(body, strict=False) is None
    with pytest.raises(PayloadError, match="no list of calls"):
        structure_calls(body, strict=False)


def test_the_last_of_two_lists_counts() -> None:
    """JSON parsers take the last member with a name, in a body of any size."""
    body = body_of(*CALLS)[:-1] + b',"current_calls":[{"transaction_id":"last"}]}'
    assert [call.transaction_id for call in structure_calls(body, strict=False).calls] == ["last"]


def test_an_empty_list_with_much_white_space_is_empty() -> None:
    """White space is no content, however much there is."""
    for body in (b'{"current_calls":[' + b" " * PIECE + b"]}", b'{"current_calls":[]' + b" " * (PIECE - 30) + b"}"):
        assert structure_calls(body, strict=True).calls == ()
        assert read_listing(body, None, strict=True).entries == []


def test_too_many_entries_are_counted_over_all_pieces() -> None:
    """The 20,001st entry is one too many."""
    entry = b'{"transaction_id":"A","city":"%b"}' % (b"x" * 60)
    assert len(structure_calls(loose(*[entry] * 20_000), strict=False).calls) == 20_000
    with pytest.raises(BoundsError, match="has more than 20,000 entries"):
        structure_calls(loose(*[entry] * 20_001), strict=False)
