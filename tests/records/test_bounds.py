"""Bodies of any content are read without holding the event loop: there in little, else in a thread and in pieces."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from function_calls import count_function_calls

from calls_in_progress_async import UnexpectedResponseError
from calls_in_progress_async.endpoints.current_calls import CurrentCallsRequest
from calls_in_progress_async.endpoints.error_responses import error_of
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.organization import Organization
from calls_in_progress_async.records import lenient_json
from calls_in_progress_async.records.codec import BoundsError, PayloadError
from calls_in_progress_async.records.reported_errors import ReportedError
from calls_in_progress_async.records.results import structure_calls, structure_update
from calls_in_progress_async.slow_reading import SlowReadingError
from calls_in_progress_async.transport.wire import WireResponse
from calls_in_progress_async.watch.listing import read as read_listing

MIB = 2**20
NESTED = b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


def listing(entry: bytes, size: int) -> bytes:
    count = max(1, size // (len(entry) + 1))
    return b'{"current_calls":[' + b",".join([entry] * count) + b"]}"


MOST_IN_LOOP = 600_000
"""Functions called in one step of the event loop."""


def count_calls_of(read: Callable[[], object]) -> int:
    """Return the number of functions called while a body is read, refused or left."""

    def try_to_read() -> None:
        with suppress(PayloadError, SlowReadingError):
            read()

    return count_function_calls(try_to_read)


FLOODS: list[tuple[str, bytes, int]] = [
    ("NaN", b'{"x":NaN}', 4 * MIB),
    ("NaN in little", b'{"x":NaN}', MIB - 100),
    ("empty objects", b"{}", 32 * MIB),
    ("empty objects in little", b"{}", MIB),
    ("numbers", b"1", 8 * MIB),
    ("nulls", b"null", 8 * MIB),
    ("empty lists", b"[]", 8 * MIB),
    ("lists in a list", b'{"keypresses":[' + b"1," * MIB + b"1]}", 1),
    ("bad fields", b'{"city":[]}', 8 * MIB),
    ("numeric ids", b'{"advertiser_id":1}', 16 * MIB),
    ("custom fields", b'{"custom_data":{' + b",".join(b'"%d":{}' % n for n in range(10**6)) + b"}}", 1),
    ("nested entries", NESTED, 2 * MIB),
    ("nested whole", b"[" * (32 * MIB), 1),
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("entry", "size"), [each[1:] for each in FLOODS], ids=[each[0] for each in FLOODS])
async def test_a_flood_leaves_the_event_loop(entry: bytes, size: int, strict: bool) -> None:
    """In the event loop, a body of any content takes few calls of functions until it is read, refused or left."""
    for body in (listing(entry, size), *(listing(entry, 2**n - 100) for n in (14, 15, 17, 19))):
        for read in READERS:
            assert count_calls_of(partial(read, body, strict)) < MOST_IN_LOOP


READERS: list[Callable[[bytes, bool], object]] = [
    lambda body, strict: structure_calls(body, strict=strict),
    lambda body, strict: structure_update(body, strict=strict),
    lambda body, strict: read_listing(body, None, strict=strict),
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("entry", "size"), [each[1:] for each in FLOODS], ids=[each[0] for each in FLOODS])
def test_a_find_and_a_poll_reject_the_same_floods(entry: bytes, size: int, strict: bool) -> None:
    """A body of any content is read by both or by neither, with the same reason."""
    body, reasons = listing(entry, size), []
    for read in READERS:
        try:
            read(body, strict)
        except PayloadError as error:
            reasons.append((error.path, error.reason))
    assert len(reasons) in (0, len(READERS))
    assert len(set(reasons)) <= 1


def test_entries_that_are_nested_too_deeply_are_refused_at_once() -> None:
    """An entry of 500,000 levels makes the whole body unreadable. Python 3.14 reads 200,000 in a stack of 8 MiB."""
    body = b'{"current_calls":[{"a":' + b"[" * 500_000
    for strict in (False, True):
        with pytest.raises(PayloadError, match="nested too deeply"):
            structure_calls(body, strict=strict)


def test_many_calls_are_no_flood() -> None:
    """A body of full calls up to the default cap is decoded, and so are 20,000 short ones."""
    full = {f"field_{n:02}_of_a_call": f"a value of some length {n}" for n in range(40)}
    full["custom_data"] = {f"name_{n}": {"value": "v" * 20, "source": "VirtualLine"} for n in range(5)}  # type: ignore[assignment]
    body = listing(json.dumps(full).encode(), 31 * MIB)
    assert len(structure_calls(body, strict=False).calls) > 10_000
    short = listing(b'{"transaction_id":"ABCD1234-ABCD1234","call_status":"bridged"}', 63 * 20_000)
    assert len(structure_calls(short, strict=False).calls) == 20_000


ONE_CALL = b'{"current_calls":[%b]}'


def test_a_long_entry_among_known_ones_is_read() -> None:
    """The listing has both the known entry and the new one of 60 kB."""
    known = b'{"transaction_id":"A","x":"%b"}' % (b"y" * 200_000)
    new = b'{"transaction_id":"B","x":"%b"}' % (b"y" * 60_000)
    before = read_listing(ONE_CALL % known, None, strict=False)
    after = read_listing(ONE_CALL % (known + b"," + new), before, strict=False)
    assert [entry.identity for entry in after.entries] == ["A", "B"]


@pytest.mark.parametrize("structure", [structure_calls, structure_update])
def test_an_error_in_a_long_response_is_found(structure: Callable[..., object]) -> None:
    """The update is not reported as done, nor does a find list the calls."""
    for calls in (b"", b'"current_calls": [], '):
        body = b'{"errors": {"class": "RecordInvalid"}, %b"x": "%b"}' % (calls, b"y" * 2**18)
        with pytest.raises(ReportedError, match="reports an error"):
            structure(body, strict=False)
    assert structure_update(b'{"x": "%b"}' % (b"y" * 2**18), strict=False).calls == ()


def many_fields(value: bytes) -> bytes:
    """Make the body of a call with 20,001 custom fields."""
    return ONE_CALL % b'{"custom_data":{%b}}' % b",".join(b'"%d":%b' % (n, value) for n in range(20_001))


def test_custom_data_of_too_many_unreadable_values_are_a_problem() -> None:
    """The fields are not read; strict mode refuses the call."""
    body = many_fields(b"[]")
    (call,) = structure_calls(body, strict=False).calls
    assert not call.custom_data
    assert [(each.path, each.reason) for each in call.problems] == [
        ("current_calls[0].custom_data", "has more than 20,000 values")
    ]
    with pytest.raises(PayloadError, match="has more than 20,000 values"):
        structure_calls(body, strict=True)


@pytest.mark.parametrize("strict", [False, True])
def test_plain_custom_data_are_read_however_many(strict: bool) -> None:
    """Plain fields take a tenth of the time."""
    (call,) = structure_calls(many_fields(b'{"value":"x"}'), strict=strict).calls
    assert call.custom_data is not None
    assert (len(call.custom_data), call.problems) == (20_001, ())


@pytest.mark.parametrize("strict", [False, True])
def test_a_byte_order_mark_is_no_part_of_the_json(strict: bool) -> None:
    """Strict mode takes it as well, since no field is unreadable."""
    body = b"\xef\xbb\xbf" + listing(b'{"city":"x"}', 1)
    (call,) = structure_calls(body, strict=strict).calls
    assert (call.city, call.raw_json) == ("x", b'{"city":"x"}')


def test_raw_json_is_exact_beside_a_call_that_only_a_tolerant_parser_takes() -> None:
    """NaN or a byte that is not UTF-8 in one call changes nothing in the JSON of another, nor in its own."""
    exact = b'{ "b" : 1.50 ,"a":"\\u0041" }'
    odd = b'{"x" : NaN, "y":"\xff"}'
    found = structure_calls(b'{"current_calls": [ ' + exact + b" , " + odd + b' ] , "page": [1]}', strict=False)
    assert [call.raw_json for call in found.calls] == [exact, odd]


def test_times_are_equal_on_both_decoding_paths() -> None:
    """Sub-microsecond digits are rounded alike beside an unreadable field."""
    for text in ("2023-04-03T16:02:36.1234567Z", "2023-04-03T16:02:36.9999999-07:00", "2023-04-03T16:02:36.1234564Z"):
        plain, beside = structure_calls(
            b'{"current_calls":[{"start_time":"%b"}, {"start_time":"%b","city":[]}]}' % (text.encode(), text.encode()),
            strict=False,
        ).calls
        assert plain.start_time == beside.start_time is not None
        (alone,) = structure_calls(b'{"current_calls":[{"start_time":"%b"}]}' % text.encode(), strict=False).calls
        assert alone.start_time == beside.start_time


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b'{"a":1,}', b'{"a":[1 2]}', b'{"a":[1,]}', b"{1:2}",
     b"{} {}", b'{"a":[1}', b"\xff", b"[1", b'{"a":[}'],
)  # fmt: skip
def test_what_is_no_json_is_not_cut(body: bytes) -> None:
    """The cutter raises ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own messages
        lenient_json.cut(body)


@pytest.mark.parametrize(
    "value", [{}, [], {"a": [], "b": {}}, {"a": [1, "x,]", {"b": [2]}, None], 'c"]': "d"}, 5, "x", None]
)
@pytest.mark.parametrize("indent", [None, 1])
def test_cutting_agrees_with_the_parser(value: Any, indent: int | None) -> None:
    """The fields of an object and the entries of its lists are those that json.loads finds."""
    found = lenient_json.cut(json.dumps(value, indent=indent).encode())
    read = {
        name: [json.loads(entry) for entry in each] if isinstance(each, list) else json.loads(each)
        for name, each in found.items()
    }
    assert read == (value if isinstance(value, dict) else {})


def test_the_body_of_an_error_is_read_as_far_as_an_error_needs() -> None:
    """Megabytes of nonsense in a 500 are not parsed."""
    body = b'{"error": "RecordInvalid", "errors": [' + b'{"x":NaN},' * (3 * MIB) + b"1]}"
    assert str(error_of(WireResponse(500, {}, body))) == "HTTP 500: the body of 30720 KiB is too long to read"


def test_a_find_says_which_bound_was_exceeded() -> None:
    """The message reaches the caller."""
    request = CurrentCallsRequest(organization=Organization.network(1))
    with pytest.raises(UnexpectedResponseError, match=r"^HTTP 200: current_calls: has more than 20,000 entries$"):
        request.read(WireResponse(200, {}, listing(b"{}", 4 * MIB)), WireFormat())


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    "entry", [b"{}", b'{"transaction_id":"ABCD1234-ABCD1234","call_status":"bridged"}', b"1", b'{"city":[],"x":1e999}']
)
def test_a_list_of_one_too_many_is_refused_in_a_body_of_any_size(entry: bytes, strict: bool) -> None:
    """20,001 entries are too many, be they empty objects in 60 kB or calls in 1 MB."""
    for read in READERS:
        with pytest.raises(PayloadError, match=r"has more than 20,000 entries|city: is a list"):
            read(listing(entry, (len(entry) + 1) * 20_001), strict)


def test_a_walk_beside_a_full_list_refuses_one_more() -> None:
    """A poll refuses the list that a find refuses, also if all but one entry are known."""
    known = b",".join(b'{"transaction_id":"%d"}' % number for number in range(20_000))
    before = read_listing(ONE_CALL % known, None, strict=False)
    assert len(before.entries) == 20_000
    with pytest.raises(BoundsError, match="has more than 20,000 entries"):
        read_listing(ONE_CALL % (known + b',{"transaction_id":"A"}'), before, strict=False)
