"""Reading calls: tolerant and strict, whole and never indiscreet."""

from __future__ import annotations

import copy
import json
import logging
import math
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from raw_server import ACME, RawServer, reply
from rich.pretty import pretty_repr

from calls_in_progress_async import (
    Call,
    CallUpdate,
    CurrentCalls,
    CurrentCallsRequest,
    CustomDataField,
    InvalidRequestError,
    Problem,
    UnexpectedResponseError,
    UpdateCallRequest,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.records.call import CALL_FORMAT, call_reader
from calls_in_progress_async.records.codec import try_decode
from calls_in_progress_async.records.custom_data import read_custom_data
from calls_in_progress_async.transport.wire import WireResponse

STRICT = WireFormat(strict=True)
TIMES = ["start_time", "bridge_start_time", "call_start_time_utc", "transfer_start_time_utc"]
TEXTS = """transaction_id call_status external_unique_id calling_phone_number destination_phone_number
called_phone_number phone_type call_record_id advertiser_campaign_country advertiser_campaign_id
advertiser_campaign_id_from_network advertiser_campaign_name advertiser_id advertiser_id_from_network advertiser_name
affiliate_campaign_id_from_network affiliate_commissions_ranking affiliate_conversion_rate_ranking affiliate_id
affiliate_id_from_network affiliate_name affiliate_volume_ranking city keypress_1 keypress_2 keypress_3 keypress_4
keypresses media_type promo_number_description promo_number_id qualified_regions region source verified_zip_code
zip_code""".split()  # noqa: SIM905 - forty names, as the reference lists them
DOCUMENTED = [*TIMES, *TEXTS, "repeat_calling_phone_number", "custom_data"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def read(body: Any, *, strict: bool = False, status: int = 200) -> CurrentCalls:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = CurrentCallsRequest(organization=ACME)
    return request.read(WireResponse(status, {}, body), STRICT if strict else WireFormat(), ())


def calls(*payloads: Any, strict: bool = False) -> CurrentCalls:
    listed = b",".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in payloads)
    return read(b'{"current_calls": [' + listed + b"]}", strict=strict)


def call(payload: Any, *, strict: bool = False) -> Call:
    (only,) = calls(payload, strict=strict)
    return only


def everything(one: Call) -> list[Any]:
    """Read every public attribute of a call."""
    return [getattr(one, name) for name in dir(Call) if not name.startswith("_")] + [repr(one), hash(one)]


# No calls.


@pytest.mark.parametrize("key", ["current_calls", "calls_in_progress"])
@pytest.mark.parametrize("strict", [False, True])
def test_an_empty_list_means_no_calls(key: str, strict: bool) -> None:
    """An empty list under either key is an empty result."""
    assert list(read({key: []}, strict=strict)) == []


NOT_CALLS: list[Any] = [
    b"", b" ", b"null", b"{}", b"[]", b"true", b"5", b'"text"', b"{", b'{"current_calls": []',
    b'{"current_calls": []}}',
    b'{"current_calls": null}', b'{"current_calls": {}}', b'{"current_calls": ""}', b'{"current_calls": 5}',
    b'{"current_calls": NaN}',
    b'{"current_call": null}', b'{"calls_in_progress": null}', b'{"calls": []}', b'{"Current_calls": []}',
    b'{"errors": {"id": ["bad"]}}', b"<html></html>", b"\xff\xfe", "{\"current_calls\": []}".encode("utf-16"),
    b"[" * 100_000, b'{"current_calls":' * 5_000, b'{"current_calls": [01]}', b'{"current_calls": ["\x01"]}',
    b'{"current_calls": [{"a": "\\q"}]}', b"{'current_calls': []}", b'{"current_calls": [],}', b"\x00",
]  # fmt: skip


@pytest.mark.parametrize("body", [pytest.param(body, id=str(n)) for n, body in enumerate(NOT_CALLS)])
@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize("strict", [False, True])
def test_no_other_body_means_no_calls(body: bytes, status: int, strict: bool) -> None:
    """{}, null, an empty body, another shape or no JSON at all: UnexpectedResponseError."""
    with pytest.raises(UnexpectedResponseError) as raised:
        read(body, status=status, strict=strict)
    assert raised.value.status == status
    assert str(raised.value).startswith(f"HTTP {status}: ")
    assert str(raised.value).isprintable()


def test_the_error_says_where_the_list_should_be() -> None:
    """The error gives the path and the type of the value there."""
    with pytest.raises(UnexpectedResponseError, match=r"^HTTP 200: current_calls: expected array, got null$") as raised:
        read({"current_calls": None})
    assert raised.value.path == "current_calls"
    with pytest.raises(UnexpectedResponseError, match=r"has no list of calls \(current_calls\)") as raised:
        read({})
    assert raised.value.path == ""


@pytest.mark.parametrize("body", [b"", b" \r\n"])
@pytest.mark.parametrize("status", [200, 202, 204])
def test_an_empty_body_is_an_error_of_its_own(body: bytes, status: int) -> None:
    """It is not no calls."""
    with pytest.raises(UnexpectedResponseError, match=f"^HTTP {status}: the body is empty$"):
        read(body, status=status)


def test_calls_keep_the_servers_order() -> None:
    """Newest first, as sent."""
    found = calls(*({"transaction_id": str(n)} for n in (3, 1, 2)))
    assert [each.transaction_id for each in found] == ["3", "1", "2"]
    assert (found[0], found[-1], found[1:]) == (found[0], found[2], (found[1], found[2]))
    assert len(found) == 3
    assert found[1] in found
    assert found.index(found[2]) == 2


def test_a_list_of_calls_cannot_be_changed() -> None:
    """Neither its calls nor its attributes."""
    found = calls({"transaction_id": "1"})
    for name in ("_calls", "problems", "attempts", "other"):
        with pytest.raises(AttributeError):
            setattr(found, name, ())
    with pytest.raises(TypeError):
        found[0] = found[0]  # type: ignore[index]
    assert found == pickle.loads(pickle.dumps(found)) == copy.deepcopy(found)
    assert hash(found) == hash(pickle.loads(pickle.dumps(found)))


# Fields.


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name != "custom_data"])
@pytest.mark.parametrize("payload", [{}, {"": ""}, "null", '""'])
def test_a_field_without_a_value_is_none(name: str, payload: Any) -> None:
    """Left out, null and "" are the same, and no problem."""
    one = call({name: json.loads(payload)} if isinstance(payload, str) else payload, strict=True)
    assert getattr(one, name) is None
    assert one.problems == ()


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5"), (83, "83"), (-1, "-1"), (1.5, "1.5"), (True, "true"), (False, "false"), (0, "0"), (10**30, str(10**30))],
)
def test_a_scalar_in_a_text_field_is_its_json_text(name: str, value: Any, text: str) -> None:
    """Ids and rankings in JSON numbers are read as text, and are no problem."""
    for one in (call({name: value}), call({name: value}, strict=True), Call.from_payload({name: value})):
        assert (getattr(one, name), one.problems, one.raw) == (text, (), {name: value})


@pytest.mark.parametrize("name", ["keypresses", "qualified_regions"])
@pytest.mark.parametrize("value", [[], ["1", "2"], [1, None]])
def test_a_list_is_kept_in_the_two_fields_that_are_documented_as_lists(name: str, value: Any) -> None:
    """An empty list counts as no text, but is kept."""
    one = call({name: value, "city": 5}, strict=True)
    assert getattr(one, name) == getattr(call({name: value}, strict=True), name) == value


def test_numeric_ids_tell_calls_apart() -> None:
    """Two calls with numeric transaction ids are two calls."""
    one, other = calls({"transaction_id": 1}, {"transaction_id": 2})
    assert one != other
    assert len({one, other, call({"transaction_id": "1"})}) == 2


@pytest.mark.parametrize("name", [name for name in TEXTS if name not in ("keypresses", "qualified_regions")])
@pytest.mark.parametrize("value", [[], {}, ["x"], {"a": 5}])
def test_a_list_or_an_object_in_a_text_field_is_a_problem(name: str, value: Any) -> None:
    """The field is None and listed with its path; its neighbours are read."""
    payload = {"transaction_id": "T", "call_status": "bridged", "source": "x", "new": 1, name: value}
    found = calls({"city": "before"}, payload, {"city": "after"})
    one = found[1]
    assert getattr(one, name) is None
    (problem,) = one.problems
    assert problem.path == f"current_calls[1].{name}"
    assert problem.reason.startswith("is ")
    assert "not text" in problem.reason
    assert {each: getattr(one, each) for each in ("transaction_id", "call_status", "source") if each != name} == {
        each: payload[each] for each in ("transaction_id", "call_status", "source") if each != name
    }
    assert (one.raw, one.extra) == (payload, {"new": 1})
    assert (found[0].city, found[2].city, found.problems) == ("before", "after", ())
    with pytest.raises(UnexpectedResponseError) as raised:
        calls({"city": "before"}, payload, strict=True)
    assert raised.value.path == problem.path


BAD_TIMES: list[Any] = [
    (5, "is a number, not text"), (True, "is true or false, not text"), ([], "is a list, not text"),
    ({"a": 1}, "is an object, not text"), ("soon", "is not an ISO 8601 time"), ("2023-04-03", "has no UTC offset"),
    ("2023-04-03T16:02:36", "has no UTC offset"), ("2023-13-03T16:02:36Z", "is not an ISO 8601 time"),
    ("2023-04-03T16:02:36+99:00", "is not an ISO 8601 time"), ("16:02:36Z", "is not an ISO 8601 time"),
    ("10000-01-01T00:00:00Z", "is not an ISO 8601 time"), (" ", "is not an ISO 8601 time"),
    ("2023-04-03T16:02:36Z ", "is not an ISO 8601 time"), ("x" * 100_000, "is not an ISO 8601 time"),
]  # fmt: skip


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize(("value", "reason"), BAD_TIMES, ids=range(len(BAD_TIMES)))
def test_a_malformed_time_is_a_problem(name: str, value: Any, reason: str) -> None:
    """The path is current_calls[3].start_time, the reason does not repeat the value; strict raises the same."""
    payloads = [{}, {}, {}, {name: value, "transaction_id": "T"}]
    one = calls(*payloads)[3]
    assert getattr(one, name) is None
    assert one.problems == (Problem(f"current_calls[3].{name}", reason),)
    assert (one.transaction_id, one.raw) == ("T", payloads[3])
    with pytest.raises(UnexpectedResponseError) as raised:
        calls(*payloads, strict=True)
    assert str(raised.value) == f"HTTP 200: current_calls[3].{name}: {reason}"
    assert raised.value.path == f"current_calls[3].{name}"


@pytest.mark.parametrize(
    ("text", "offset"),
    [("2022-12-10T13:45:00.000Z", 0), ("2023-04-03T16:02:36-07:00", -7), ("2023-04-03T16:02:36.123456+05:30", 5.5),
     ("2023-04-03t16:02:36z", 0),
     ("20230403T160236Z", 0), ("0001-01-01T00:00:00+23:59", 23 + 59 / 60), ("9999-12-31T23:59:59-23:59", None)],
)  # fmt: skip
def test_a_time_keeps_its_offset(text: str, offset: float | None) -> None:
    """Timestamps are aware, at the offset the server wrote."""
    one = call({"bridge_start_time": text, "transfer_start_time_utc": text, "start_time": text}, strict=True)
    for time in (one.bridge_start_time, one.transfer_start_time_utc, one.start_time, one.bridged_at):
        assert time == datetime.fromisoformat(text.upper())
        assert time is not None
        assert offset is None or time.utcoffset() == timedelta(hours=offset)


@pytest.mark.parametrize(
    ("value", "flag"),
    [(True, True), (False, False), ("true", True), ("yes", True), ("false", False), ("no", False), ("YES", True),
     ("False", False), (None, None), ("", None)],
)  # fmt: skip
def test_a_repeat_caller_is_a_boolean(value: Any, flag: bool | None) -> None:
    """The vendor documents text; "false" must not be true in an `if`."""
    one = call({"repeat_calling_phone_number": value}, strict=True)
    assert one.repeat_calling_phone_number is flag
    assert one.raw == {"repeat_calling_phone_number": value}


@pytest.mark.parametrize("value", [0, 1, [], {}, "maybe", "1"])
def test_a_repeat_caller_is_nothing_else(value: Any) -> None:
    """Numbers and other texts are a problem."""
    one = call({"repeat_calling_phone_number": value})
    assert one.repeat_calling_phone_number is None
    assert [each.path for each in one.problems] == ["current_calls[0].repeat_calling_phone_number"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [({"keypresses": "12"}, "12"), ({"key presses": "34"}, "34"), ({"keypresses": "", "key presses": "34"}, "34"),
     ({"keypresses": "12", "key presses": "34"}, "12"), ({"keypresses": None}, None), ({}, None)],
)  # fmt: skip
def test_key_presses_are_read_under_both_names(payload: Any, expected: str | None) -> None:
    """Documented as keypresses, printed as "key presses"."""
    assert call(payload, strict=True).keypresses == expected
    assert call(payload).extra == {}


def test_a_bad_key_press_names_the_key_it_came_under() -> None:
    """The path is the payload's."""
    assert [each.path for each in call({"key presses": {}}).problems] == ["current_calls[0].key presses"]


def test_phone_numbers_of_a_record_are_kept_as_sent() -> None:
    """They are text, as sent."""
    payload = {"calling_phone_number": "866-555-1234", "destination_phone_number": "12*3#,x4"}
    one = call(payload, strict=True)
    assert (one.calling_phone_number, one.destination_phone_number) == tuple(payload.values())


def test_unknown_fields_are_kept() -> None:
    """An unknown field is in extra alone, even under the name of one of our own attributes."""
    unknown = {
        "new_field": [1, {"a": None}], "raw": 1, "problems": 2, "_origin": 3, "extra": 4, "path": 5, "bridged_at": 6,
        "demographics_data": {}, "_keypresses": 7, "": 8,
    }  # fmt: skip
    one = call({"city": "x", "custom_data": {}, **unknown}, strict=True)
    assert one.extra == unknown
    assert (one.city, one.problems, one.path, one.keypresses) == ("x", (), "current_calls[0]", None)


@pytest.mark.parametrize(
    "origin", [None, {}, {"body": {"json": "YQ==", "path": "evil"}, "index": 3}, {"body": {"json": "", "path": ""}}, 5]
)
def test_a_field_of_the_server_does_not_reach_our_own_state(origin: Any) -> None:
    """A key named _origin is an unknown field."""
    one = call({"city": "x", "_origin": origin}, strict=True)
    assert (one.raw, one.extra, one.path) == (
        {"city": "x", "_origin": origin}, {"_origin": origin}, "current_calls[0]")  # fmt: skip


def test_raw_is_made_anew() -> None:
    """Writing to raw changes nothing, and extra cannot be written to."""
    one = call({"city": "x", "new": [1]})
    one.raw["city"] = one.raw["new"] = None
    with pytest.raises(TypeError, match=r"copy it with dict"):
        one.extra["new"] = None  # type: ignore[index]
    assert (one.raw, one.extra) == ({"city": "x", "new": [1]}, {"new": [1]})


def test_raw_json_is_the_exact_text() -> None:
    """Spaces, order and spelling of numbers included."""
    text = b'{ "b" : 1.50 ,"a":"\\u0041" , "city":"x"}'
    for one in (call(text), calls(text, b"5")[0], calls(text, b'{"city": 5}')[0]):
        assert one.raw_json.strip() == text


def test_the_last_of_repeated_keys_wins() -> None:
    """The last key counts in the fields and in raw, as in every common parser."""
    one = call(b'{"city": "a", "new": 1, "city": "b", "new": 2}', strict=True)
    assert (one.city, one.raw, one.extra) == ("b", {"city": "b", "new": 2}, {"new": 2})
    assert call(b'{"city": "a", "city": null}', strict=True).city is None
    assert [each.city for each in read(b'{"current_calls": [{"city": "a"}], "current_calls": [{"city": "b"}]}')] == [
        "b"
    ]


@pytest.mark.parametrize("value", ["", None, 83, 1.5, True])
def test_no_spelling_of_a_readable_value_is_read_field_by_field(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty, null, numeric and boolean texts and empty times are read at full speed."""
    payload = {**dict.fromkeys(TEXTS, value), **dict.fromkeys(TIMES, ""), "repeat_calling_phone_number": ""}
    monkeypatch.setattr(CALL_FORMAT, "structure", None)
    reader = call_reader()
    for one in (payload, dict.fromkeys(payload, ""), {"city": "x"}):
        assert reader.read(json.dumps(one).encode(), "call").problems == ()


# Bad entries.

BAD_ENTRIES: list[Any] = [
    (b"null", "null"),
    (b"5", "a number"),
    (b'"x"', "text"),
    (b"[]", "a list"),
    (b"true", "true or false"),
]


@pytest.mark.parametrize(("entry", "named"), BAD_ENTRIES)
@pytest.mark.parametrize("key", ["current_calls", "calls_in_progress"])
def test_an_entry_other_than_a_call_is_listed(key: str, entry: bytes, named: str) -> None:
    """The other calls are there, with their own places in their paths; strict raises."""
    body = b'{"%s": [{"city": "a"}, %s, {"city": []}]}' % (key.encode(), entry)
    found = read(body)
    assert [each.city for each in found] == ["a", None]
    assert found.problems == (Problem(f"{key}[1]", f"is {named}, not an object"),)
    assert found[1].problems == (Problem(f"{key}[2].city", "is a list, not text"),)
    assert [each.path for each in found] == [f"{key}[0]", f"{key}[2]"]
    with pytest.raises(UnexpectedResponseError) as raised:
        read(body, strict=True)
    assert raised.value.path == f"{key}[1]"


ODD: list[Any] = [
    (b"\xef\xbb\xbf", b"x", b"", "x"),  # a byte order mark
    (b"", b"\xff\xfe", b"", "\ufffd\ufffd"),
    (b"", b"\\ud800", b"", "?"),
    (b"", b"x", b', "new": NaN', "x"),
    (b"", b"x", b', "new": -Infinity', "x"),
    (b"", b"x", b', "new": "\\udfff"', "x"),
    (b"", b"x", b', "new": "\xff"', "x"),
    (b"", b"x", b', "new": ' + b"9" * 5000, "x"),
    (b"", b"x", b', "new": 1e999', "x"),
    (b"", b"x", b', "new": ' + b"[" * 400 + b"]" * 400, "x"),
]


@pytest.mark.parametrize(("before", "inside", "after", "city"), ODD, ids=range(len(ODD)))
def test_loose_json_loses_nothing(before: bytes, inside: bytes, after: bytes, city: str) -> None:
    """Loose JSON in one field costs no other field and no other call."""
    body = before + b'{"current_calls": [{"city": "a"}, {"city": "%s", "region": "r"%s}, {"city": "b"}]}' % (
        inside,
        after,
    )
    found = read(body)
    assert [each.city for each in found] == ["a", city, "b"]
    assert (found[1].region, found.problems) == ("r", ())
    for each in found:
        assert everything(each)
        assert set(each.extra) == set(each.raw) - {"city", "region"}
        assert pickle.loads(pickle.dumps(each)) == each


@given(JSON, st.sampled_from(DOCUMENTED) | st.text())
def test_no_value_in_any_field_costs_another(value: Any, name: str) -> None:
    """Lenient mode never raises, and loses neither the other fields nor the other calls nor the payload."""
    payload = {"transaction_id": "T", "city": "x", "start_time": "2023-04-03T16:02:36Z", name: value}
    try:
        body = json.dumps({"current_calls": [{"city": "a"}, payload, value, {"city": "b"}]}, allow_nan=False).encode()
    except ValueError:
        assume(False)
    found = read(body)
    assert (found[0].city, found[-1].city) == ("a", "b")
    assert len(found) + len(found.problems) == 4
    one = found[1]
    assert one.raw == json.loads(body)["current_calls"][1]
    assert name in DOCUMENTED or name == "key presses" or one.extra == {name: value}
    expected = {"transaction_id": "T", "city": "x", "start_time": datetime(2023, 4, 3, 16, 2, 36, tzinfo=UTC)}
    assert {key: getattr(one, key) for key in expected if key != name} == {
        key: expected[key] for key in expected if key != name
    }
    read_value = getattr(one, name) if name in DOCUMENTED else None
    if name in TEXTS and name not in ("keypresses", "qualified_regions"):
        scalar = isinstance(value, int | float)
        assert read_value == (json.dumps(value) if scalar else value or None if isinstance(value, str) else None)
        assert bool(one.problems) is not (scalar or value is None or isinstance(value, str))
    for each in found:
        assert everything(each)
        assert pickle.loads(pickle.dumps(each)) == each
    try:
        strictly = read(body, strict=True)
    except UnexpectedResponseError:
        assert found.problems or any(each.problems for each in found)
    else:
        assert strictly == found
        assert not any(each.problems for each in found)


_WHOLE = json.dumps(
    {"current_calls": [
        {"transaction_id": "T", "start_time": "2023-04-03T16:02:36Z", "custom_data": {"é": {"value": "1",
        "source": None},
         "demographics_data": {"age_data_append": "25", "home": True}}, "new": [1.5, -2, {"a": "\u2028"}]},
        {"city": "x", "key presses": "1"}]}, ensure_ascii=False).encode()  # fmt: skip


@given(
    st.lists(
        st.tuples(st.integers(0, len(_WHOLE) - 1), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=3
    )
)
@settings(max_examples=300)
def test_a_damaged_body_is_an_error_or_readable_to_the_last_attribute(cuts: list[tuple[int, bytes, int]]) -> None:
    """Once a call is returned, none of its attributes can fail."""
    body = _WHOLE
    for place, put, skip in cuts:
        body = body[:place] + put + body[place + skip :]
    for strict in (False, True):
        try:
            found = read(body, strict=strict)
        except UnexpectedResponseError:
            continue
        for each in found:
            assert everything(each)
            assert pickle.loads(pickle.dumps(each)) == each


# Custom data.

OBJECT = {
    "utm_source": {"value": "google", "source": "DynamicAttribution"},
    "empty": {"value": "", "source": None},
    "bare": {},
}
LIST = [{"name": "utm_source", "value": "google", "source": "DynamicAttribution", "data_type": "Short Text"}]


def test_custom_data_may_be_an_object() -> None:
    """{name: {"value", "source"}}."""
    one = call({"custom_data": OBJECT}, strict=True)
    assert one.custom_data == {
        "utm_source": CustomDataField("google", "DynamicAttribution"),
        "empty": CustomDataField(None),
        "bare": CustomDataField(None),
    }
    assert (one.custom_value("utm_source"), one.custom_value("empty"), one.custom_value("gone")) == (
        "google",
        None,
        None,
    )
    assert (one.demographics_data, one.extra) == (None, {})


def test_custom_data_may_be_a_list() -> None:
    """The beta's [{"name", "value", "source", "data_type"}]."""
    one = call({"custom_data": LIST}, strict=True)
    assert one.custom_data == {"utm_source": CustomDataField("google", "DynamicAttribution", "Short Text")}
    assert one.custom_value("utm_source") == "google"


@pytest.mark.parametrize("value", [None, ""])
def test_custom_data_may_be_nothing(value: Any) -> None:
    """Left out, null or "" is None; empty is empty."""
    assert call({"custom_data": value}, strict=True).custom_data is None
    assert call({}, strict=True).custom_data is None
    assert call({}).custom_value("x") is None
    assert call({"custom_data": []}, strict=True).custom_data == {}
    assert call({"custom_data": {}}, strict=True).custom_data == {}
    assert call({"custom_data": {"a": value}}, strict=True).custom_data == {"a": CustomDataField()}
    assert call({"custom_data": [{"name": "a", "value": value}]}, strict=True).custom_value("a") is None


def test_demographics_are_no_custom_field() -> None:
    """They stand in the same object: text, booleans, null or nothing."""
    demographics = {"age_data_append": "25-34", "home_owner_data_append": True, "pets_data_append": None, "car": ""}
    one = call({"custom_data": {**OBJECT, "demographics_data": demographics}}, strict=True)
    assert one.demographics_data == {**demographics, "car": None}
    assert set(one.custom_data or ()) == set(OBJECT)
    for empty in (None, ""):
        assert call({"custom_data": {"demographics_data": empty}}, strict=True).demographics_data is None
    assert call({"custom_data": {"demographics_data": {}}}, strict=True).demographics_data == {}


BAD_CUSTOM: list[Any] = [
    (5, "", "is a number, not an object or a list"),
    ("text", "", "is text, not an object or a list"),
    (True, "", "is true or false, not an object or a list"),
    ({"a": 5}, ".a", "is a number, not an object with a value"),
    ({"a": "text"}, ".a", "is text, not an object with a value"),
    ({"a": {"value": []}}, ".a.value", "is a list, not text"),
    ({"a": {"value": "x", "source": []}}, ".a.source", "is a list, not text"),
    ([5], "[0]", "is not an object with a name"),
    ([{"value": "x"}], "[0]", "is not an object with a name"),
    ([{"name": [], "value": "x"}], "[0]", "is not an object with a name"),
    ([{"name": "n", "value": {}}], "[0].value", "is an object, not text"),
    ([{"name": "n", "data_type": {}}], "[0].data_type", "is an object, not text"),
    ({"demographics_data": 5}, ".demographics_data", "is a number, not an object"),
    ({"demographics_data": []}, ".demographics_data", "is a list, not an object"),
    ({"demographics_data": {"a": []}}, ".demographics_data.a", "is a list, not text"),
]


@pytest.mark.parametrize(("value", "path", "reason"), BAD_CUSTOM, ids=range(len(BAD_CUSTOM)))
def test_custom_data_that_cannot_be_read_is_listed(value: Any, path: str, reason: str) -> None:
    """With its path; the good fields beside it are read, in the object and in the list."""
    where = f"current_calls[1].custom_data{path}"
    one = calls({}, {"custom_data": value, "city": "x"})[1]
    assert one.problems == (Problem(where, reason),)
    assert (one.city, one.raw["custom_data"]) == ("x", value)
    with pytest.raises(UnexpectedResponseError) as raised:
        calls({}, {"custom_data": value}, strict=True)
    assert raised.value.path == where
    if isinstance(value, dict):
        assert call({"custom_data": {**value, "good": {"value": "y"}}}).custom_value("good") == "y"
    elif isinstance(value, list):
        assert call({"custom_data": [*value, {"name": "good", "value": "y"}]}).custom_value("good") == "y"


def test_problems_of_fields_and_of_custom_data_come_together() -> None:
    """Every one is listed, not only the first."""
    one = call({"city": {}, "region": [], "start_time": "x", "custom_data": {"a": 1, "b": {"value": []}}})
    assert [each.path.removeprefix("current_calls[0].") for each in one.problems] == [
        "city", "region", "start_time", "custom_data.a", "custom_data.b.value"]  # fmt: skip


def test_two_threads_may_read_custom_data_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem is listed once."""
    one = call({"city": {}, "custom_data": {"a": 1}})

    def read_after_another_thread(*arguments: Any) -> Any:
        monkeypatch.undo()
        assert one.custom_value("a") is None
        return read_custom_data(*arguments)

    monkeypatch.setattr("calls_in_progress_async.records.call.read_custom_data", read_after_another_thread)
    assert [each.path for each in one.problems] == ["current_calls[0].city", "current_calls[0].custom_data.a"]


# The repr.

CALLER = "+15309991234"
PRIVATE = {
    "transaction_id": "T-1",
    "call_status": "bridged",
    "calling_phone_number": CALLER,
    "custom_data": {"demographics_data": {"age_data_append": "25-34-secret"}},
    "new": 1,
}


def test_nothing_prints_a_callers_number_or_demographics() -> None:
    """repr, str, f-strings, format, rich, logging: of a call, a list of calls and an update."""
    one = call(PRIVATE)
    bad = call({**PRIVATE, "city": [], "start_time": CALLER})
    assert one.demographics_data
    assert bad.problems
    shown = [
        one,
        bad,
        calls(PRIVATE, CALLER),
        CallUpdate(calls=(one,)),
        [one],
        {"a": one},
        bad.problems,
        one.demographics_data and one,
    ]
    for each in shown:
        record = logging.LogRecord("n", logging.INFO, "p", 1, "%s %r", (each, each), None)
        for text in (repr(each), str(each), f"{each}", f"{each!s:>5}", pretty_repr(each), record.getMessage()):
            assert "5309991" not in text
            assert "secret" not in text
            assert "T-1" in text or each is bad.problems
    assert "...34" in repr(one)
    assert "bridged" in repr(one)


@pytest.mark.parametrize("number", [None, "", "1", "\n", "12", "9112", "5309991234"])
def test_every_repr_is_one_line(number: Any) -> None:
    """The repr of any call is printable, and shows at most two digits of a longer number."""
    assert not number or number not in repr(call({"calling_phone_number": number}))
    text = repr(call({"calling_phone_number": number, "transaction_id": "a\nb\x1b[31m", "call_status": 5}))
    assert text.isprintable()
    assert text.startswith("<Call 'a\\nb")


# Immutability, equality, pickling.


def test_a_call_cannot_be_changed() -> None:
    """Frozen and slotted, down to its custom data."""
    one = call({"city": "x", "custom_data": {**OBJECT, "demographics_data": {"a": "b"}}})
    for name in ("city", "problems", "raw", "other", "_origin", "custom_data"):
        with pytest.raises(AttributeError):
            setattr(one, name, "y")
    assert not hasattr(one, "__dict__")
    assert one.custom_data
    assert one.demographics_data
    for mapping in (one.custom_data, one.demographics_data):
        with pytest.raises(TypeError):
            mapping["x"] = None  # type: ignore[index]
    with pytest.raises(AttributeError):
        one.custom_data["utm_source"].value = "y"  # type: ignore[misc]
    assert isinstance(one.problems, tuple)


def test_calls_are_equal_if_their_payloads_mean_the_same() -> None:
    """The order of keys and the place in the list do not count."""
    a, b, c = calls(
        b'{"transaction_id": "1", "city": "x"}', b'{"city":"x","transaction_id":"1"}', b'{"transaction_id": "1"}'
    )
    assert a == b != c
    assert hash(a) == hash(b)
    assert len({a, b, c}) == 2
    assert a != "1"
    assert a.__eq__(1) is NotImplemented


@pytest.mark.parametrize(
    "text", [b'{"city": 5, "start_time": "2023-04-03T16:02:36Z"}', b'{"new": NaN, "transaction_id": "T"}']
)
@pytest.mark.parametrize("duplicate", [lambda it: pickle.loads(pickle.dumps(it)), copy.copy, copy.deepcopy])
def test_a_call_pickles_whole(text: bytes, duplicate: Any) -> None:
    """Problems, path and payload included."""
    one = calls(b"{}", text)[1]
    again = duplicate(one)
    assert again == one
    for name in ("raw", "problems", "path", "start_time", "extra", "transaction_id"):
        assert getattr(again, name) == getattr(one, name)
    assert again.path == "current_calls[1]"


def test_a_call_for_tests_is_made_from_its_payload() -> None:
    """Call.from_payload takes a mapping, times included, or bytes."""
    now = datetime(2024, 2, 1, 12, tzinfo=UTC)
    one = Call.from_payload({"transaction_id": "T", "start_time": now, "new": 1})
    assert (one.transaction_id, one.start_time, one.extra, one.path) == ("T", now, {"new": 1}, "call")
    assert Call.from_payload(b'{"transaction_id": "T"}', strict=True).raw == {"transaction_id": "T"}
    assert Call.from_payload({"city": []}).problems == (Problem("call.city", "is a list, not text"),)


_DEEP: list[Any] = []
for _ in range(100_000):
    _DEEP = [_DEEP]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "is not a mapping, or holds what JSON cannot"),
        (5, "is not a mapping, or holds what JSON cannot"),
        ("text", "is not a mapping, or holds what JSON cannot"),
        ([("city", "x")], "is not a mapping, or holds what JSON cannot"),
        ({"new": {1, 2}}, "is not a mapping, or holds what JSON cannot"),
        ({"city": b"x"}, "is not a mapping, or holds what JSON cannot"),
        ({"new": date(2024, 2, 1)}, "is not a mapping, or holds what JSON cannot"),
        ({"new": _DEEP}, "is not a mapping, or holds what JSON cannot"),
        (b"[]", "cannot be read: call: is a list, not an object"),
        (b"x", "cannot be read: call: is not JSON"),
    ],
    ids=range(10),
)
def test_other_payloads_are_refused(payload: Any, reason: str) -> None:
    """The error is one line for any payload."""
    with pytest.raises(InvalidRequestError) as raised:
        Call.from_payload(payload)
    assert str(raised.value) == f"payload {reason}"


def test_a_call_that_was_made_by_its_constructor_is_whole() -> None:
    """A call without a payload makes one of its fields, and so compares, hashes and pickles as any other."""
    now = datetime(2024, 2, 1, 12, tzinfo=UTC)
    one, other = Call(transaction_id="T", start_time=now), Call(transaction_id="U")
    assert one.raw == {"transaction_id": "T", "start_time": "2024-02-01T12:00:00Z"}
    assert (one != other, one == Call.from_payload(one.raw), hash(one) == hash(Call.from_payload(one.raw))) == (
        (True,) * 3
    )
    for again in (pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):
        assert (again, again.start_time) == (one, now)
    assert (one.problems, one.extra, one.custom_data, one.path) == ((), {}, None, "")
    assert Call().raw == {}


def test_an_evolved_call_has_another_payload() -> None:
    """The new values are in raw as well, beside the old ones."""
    one = calls({"city": "x", "new": 1, "custom_data": {"a": {"value": "b"}}})[0]
    other = attrs.evolve(one, city="y")
    assert (other.city, other.raw) == ("y", {**one.raw, "city": "y"})
    assert (one.city, other != one, other.custom_value("a")) == ("x", True, "b")


def test_a_call_is_matched_by_its_fields() -> None:
    """`case Call(call_status="bridged", city=city)`."""
    match call({"call_status": "bridged", "city": "x"}):
        case Call(call_status="bridged", city=str(city)):
            assert city == "x"
        case _:
            pytest.fail("not matched")


# Conveniences.

EARLY, LATE = "2024-02-01T12:00:00Z", "2024-02-01T13:00:00+00:30"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [({}, None), ({"start_time": EARLY}, None), ({"bridge_start_time": EARLY}, EARLY),
     ({"transfer_start_time_utc": LATE}, LATE), ({"bridge_start_time": EARLY, "transfer_start_time_utc": LATE}, EARLY),
     ({"bridge_start_time": "bad", "transfer_start_time_utc": LATE}, LATE)],
)  # fmt: skip
def test_bridged_at_takes_the_field_of_any_revision(payload: Any, expected: str | None) -> None:
    """bridge_start_time, or transfer_start_time_utc."""
    assert call(payload).bridged_at == (expected and datetime.fromisoformat(expected))


def test_started_at_takes_the_field_of_any_revision() -> None:
    """start_time, or call_start_time_utc."""
    assert call({"start_time": EARLY, "call_start_time_utc": LATE}).started_at == datetime.fromisoformat(EARLY)
    assert call({"call_start_time_utc": LATE}).started_at == datetime.fromisoformat(LATE)
    assert call({}).started_at is None


def test_a_duration_is_since_the_bridge_or_the_start() -> None:
    """A duration is never negative, and is None without any known time."""
    now = datetime(2024, 2, 1, 14, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    assert call({"bridge_start_time": EARLY, "start_time": LATE}).duration(now) == timedelta(hours=1, seconds=5)
    assert call({"call_start_time_utc": LATE}).duration(now) == timedelta(minutes=30, seconds=5)
    assert call({"start_time": "2030-01-01T00:00:00Z"}).duration(now) == timedelta(0)
    assert call({}).duration(now) is None
    assert call({}).duration() is None
    lasted = call({"start_time": EARLY}).duration()
    assert lasted is not None
    assert lasted > timedelta(days=365)
    for year in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        assert call({"start_time": year}).duration(now) is not None
    with pytest.raises(InvalidRequestError, match=r"^now has no UTC offset"):
        call({"start_time": EARLY}).duration(datetime(2024, 2, 1))


# Updates.

UPDATE = UpdateCallRequest(organization=ACME, transaction_id="T", new_external_unique_id="x")


def updated(status: int, body: bytes, *, strict: bool = False) -> CallUpdate:
    return UPDATE.read(WireResponse(status, {}, body), STRICT if strict else WireFormat(), ())


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_update_without_a_body_is_a_success(status: int, body: bytes) -> None:
    """accepted_only tells 202 from the rest."""
    assert updated(status, body, strict=True) == CallUpdate(accepted_only=status == 202)


@pytest.mark.parametrize(
    "body",
    [
        b'{"current_call": {"city": "x"}}',
        b'{"current_calls": [{"city": "x"}]}',
        b'{"calls_in_progress": [{"city": "x"}]}',
    ],
)
@pytest.mark.parametrize("status", [200, 202])
def test_an_update_shows_the_call_in_any_shape(status: int, body: bytes) -> None:
    """current_call, or a list."""
    done = updated(status, body, strict=True)
    assert ([each.city for each in done.calls], done.accepted_only, done.problems) == (["x"], status == 202, ())


def test_an_updates_response_without_a_call_is_a_success() -> None:
    """It need not show any."""
    assert updated(200, b"{}", strict=True).calls == ()
    assert updated(200, b'{"current_calls": []}', strict=True).calls == ()


def test_unreadable_parts_of_an_updates_response_are_listed() -> None:
    """With the path current_call."""
    assert updated(200, b'{"current_call": {"city": []}}').calls[0].problems == (
        Problem("current_call.city", "is a list, not text"),
    )
    assert updated(200, b'{"current_call": null}').problems == (Problem("current_call", "is null, not an object"),)
    with pytest.raises(UnexpectedResponseError, match=r"current_call\.city"):
        updated(200, b'{"current_call": {"city": []}}', strict=True)


@pytest.mark.parametrize("body", [b"null", b"[]", b"5", b"<html>", b'{"current_calls": null}', b'"ok"'])
def test_an_updates_response_must_be_an_object(body: bytes) -> None:
    """A proxy's page is not the API's word."""
    with pytest.raises(UnexpectedResponseError):
        updated(200, body)


async def test_strict_is_a_setting_of_the_client() -> None:
    """With strict=True an unreadable field raises; without, the call lists it."""
    async with RawServer([reply(200, '{"current_calls": [{"city": []}]}')]) as server:
        async with server.client() as client:
            assert (await client.find(ACME))[0].problems
        async with server.client(strict=True) as client:
            with pytest.raises(UnexpectedResponseError, match=r"current_calls\[0\]\.city"):
                await client.find(ACME)


def test_huge_numbers_and_floats_are_read_as_python_reads_them() -> None:
    """Raw equals the result of json.loads."""
    text = b'{"a": 123456789012345678901234567890, "b": 1e-7, "c": -0.0, "d": 1.7976931348623157e308, "e": 1E400}'
    assert call(text).raw == json.loads(text)
    assert math.isinf(call(text).raw["e"])


def test_try_decode_reads_plain_json_or_nothing() -> None:
    """Anything but one plain object with readable fields is left to the tolerant reader."""
    assert try_decode(Call, b'{"city": "x", "new": "\xc3\xa9"}') is not None
    for payload in (b'{"city": 5}', b"[]", b"null", b"{", b'{"new": "\xff"}', b'{"new": NaN}', b"[" * 100_000):
        assert try_decode(Call, payload) is None


def test_nan_in_a_text_field_is_a_problem() -> None:
    """NaN in a text field is None and a problem."""
    one = call(b'{"city": NaN}')
    assert (one.city, [problem.path for problem in one.problems]) == (None, ["current_calls[0].city"])


def test_calls_that_differ_are_not_equal() -> None:
    """`!=` is the opposite of `==` for any spelling of the payload."""
    one, same, other = (Call.from_payload(text) for text in (b'{"city":"a"}', b'{ "city": "a" }', b'{"city":"b"}'))
    assert (one == same, one != same) == (True, False)
    assert (one == other, one != other) == (False, True)
    assert one != "a call"
