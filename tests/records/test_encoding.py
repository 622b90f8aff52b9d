"""Every way to encode, copy or compare a call by reflection shows that call's own fields, or raises."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import pprint
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_type_hints

import attrs
import cattrs
import msgspec
import pytest
from rich.pretty import pretty_repr

import calls_in_progress_async
from calls_in_progress_async import Call, CallUpdate, CurrentCalls, CustomDataField, Organization, UpdateCallRequest
from calls_in_progress_async.frozen_dict import FrozenDict
from calls_in_progress_async.records.codec import PayloadError, Problem
from calls_in_progress_async.records.results import structure_calls
from calls_in_progress_async.watch.changes import changes_between

OTHER = "+15309990000"
MINE = {
    "transaction_id": "T-1",
    "calling_phone_number": "+15301112222",
    "start_time": "2024-02-01T12:00:00Z",
    "keypresses": ["1", "2"],
    "custom_data": {
        "utm_source": {"value": "google", "source": "VirtualLine"},
        "demographics_data": {"age_data_append": "25-34", "home_data_append": True},
    },
    "new": {"deep": [1, None]},
}
BODY = json.dumps(
    {"current_calls": [{"transaction_id": "T-0", "calling_phone_number": OTHER}, MINE, {"city": OTHER}]}
).encode()


def listed(body: bytes = BODY) -> CurrentCalls:
    return CurrentCalls(structure_calls(body, strict=False).calls)


def to_pydantic(call: Call) -> Any:
    return pytest.importorskip("pydantic_core").to_jsonable_python(call)


ENCODERS: list[Callable[[Call], Any]] = [
    attrs.asdict, attrs.astuple, cattrs.unstructure, msgspec.json.encode, msgspec.to_builtins, msgspec.msgpack.encode,
    pickle.dumps, copy.copy, copy.deepcopy, pretty_repr, pprint.pformat, repr, Call.to_dict, Call.to_json,
    json.dumps, to_pydantic, vars, dict, list,
]  # fmt: skip


@pytest.mark.parametrize("encode", ENCODERS)
def test_no_encoder_shows_another_caller(encode: Callable[[Call], Any]) -> None:
    """The other callers of the same response are in no output."""
    for read in (lambda call: None, lambda call: (call.custom_data, call.extra, call.raw_json)):
        call = listed()[1]
        read(call)
        try:
            shown = repr(encode(call))
        except (TypeError, ValueError):
            continue
        assert OTHER not in shown
        assert "T-0" not in shown


@pytest.mark.parametrize("encode", [attrs.asdict, cattrs.unstructure])
def test_an_encoder_shows_every_field_of_the_call(encode: Callable[[Call], Any]) -> None:
    """Fields that are read when asked for are among the fields, and private state is not."""
    shown = encode(listed()[1])
    assert set(shown) == {each.name for each in attrs.fields(Call)}
    assert (shown["transaction_id"], shown["keypresses"], shown["extra"]) == ("T-1", ["1", "2"], {"new": MINE["new"]})
    assert shown["custom_data"]["utm_source"]["value"] == "google"
    assert shown["demographics_data"] == {"age_data_append": "25-34", "home_data_append": True}


@pytest.mark.parametrize("look", [False, True])
def test_msgspecs_encoder_writes_custom_data_as_it_came(look: bool) -> None:
    """Its output is the same before and after a look at the fields; of a call without a payload it has every field."""
    call = listed()[1]
    if look:
        assert call.custom_data
        assert call.extra
    shown = json.loads(msgspec.json.encode(call))
    assert shown["custom_data"] == MINE["custom_data"]
    assert set(shown) == {each.name for each in attrs.fields(Call)} - {"demographics_data", "extra"}
    assert json.loads(msgspec.json.encode(Call.from_payload({"city": "x"})))["custom_data"] is None
    made = json.loads(msgspec.json.encode(attrs.evolve(call)))
    assert set(made) == {each.name for each in attrs.fields(Call)}
    assert (made["extra"], made["custom_data"]["utm_source"]["value"]) == ({"new": MINE["new"]}, "google")


def test_a_call_as_a_dict_is_json() -> None:
    """to_dict has ISO times, custom data by name and unknown fields, and from_payload reads it back."""
    call = listed()[1]
    assert call.to_dict() == MINE == json.loads(call.to_json())
    assert Call.from_payload(call.to_dict()) == call
    assert Call().to_dict() == {}


def test_a_dict_holds_only_what_json_can_hold() -> None:
    """NaN, a lone surrogate and an unreadable field do not make to_json fail."""
    call = Call.from_payload(b'{"city": [], "new": [NaN, {"a": -Infinity}], "text": "\\ud800", "number": 1e999}')
    assert call.to_dict() == {"new": [None, {"a": None}], "text": "?", "number": None}
    assert json.loads(call.to_json()) == call.to_dict()
    odd = Call(
        start_time=datetime(2024, 2, 1, tzinfo=UTC), extra={"when": datetime(2024, 2, 1, tzinfo=UTC), "pair": (1, 2)}
    )
    assert odd.to_dict() == {
        "start_time": "2024-02-01T00:00:00Z", "when": "2024-02-01T00:00:00Z", "pair": [1, 2]}  # fmt: skip


DEEP = {
    "lists": "[" * 800 + "1" + "]" * 800,
    "objects": '{"a":' * 800 + "1" + "}" * 800,
    "both": '[{"a":' * 400 + "1" + "}]" * 400,
}


@pytest.mark.parametrize("name", ["new", "keypresses", "custom_data", "city"])
@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP)
def test_a_call_nested_deeply_can_be_used(name: str, deep: str) -> None:
    """Lists and objects below 100 levels are None in Python values, and stand in raw_json."""
    one, other = (
        structure_calls(
            b'{"current_calls":[{"transaction_id":"A","%b":%b}]}' % (name.encode(), text.encode()), strict=False
        )
        for text in (deep, deep.replace("1", "2"))
    )
    call = one.calls[0]
    for shown in (call.to_dict(), call.raw, call.extra, json.loads(call.to_json()), call.problems, repr(call)):
        copy.deepcopy(shown)
        json.dumps(shown, default=repr)
    assert call == pickle.loads(pickle.dumps(call)) != other.calls[0]
    assert set(changes_between(call, other.calls[0])) == set()
    assert call.raw_json.endswith(b":%b}" % deep.encode())


def test_what_is_nested_no_deeper_than_an_encoder_allows_is_whole() -> None:
    """The bound is 100 levels, those of the call itself included."""
    for levels in (50, 99):
        call = Call.from_payload(b'{"new":%b}' % (b"[" * levels + b"]" * levels))
        assert json.dumps(call.to_dict(), separators=(",", ":")).encode() == call.raw_json
    cut = Call.from_payload(b'{"new":%b,"city":"x"}' % (b"[" * 100 + b"]" * 100))
    assert b"[null]" in json.dumps(cut.to_dict()).encode()
    assert cut.to_dict() == cut.raw


def test_a_payload_nested_too_deeply_for_a_parser_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some Pythons skip deeper JSON than they parse. Custom data are a problem then."""
    (call,) = listed(b'{"current_calls":[{"city":"x","new":1,"custom_data":[[]]}]}')

    def give_up(_: bytes) -> object:
        raise PayloadError("", "the body is nested too deeply")

    monkeypatch.setattr("calls_in_progress_async.records.record.parse_json", give_up)
    monkeypatch.setattr("calls_in_progress_async.records.call.parse_json", give_up)
    assert (call.raw, call.extra, call.custom_data, call.to_dict()) == ({}, {}, None, {"city": "x"})
    assert call.problems == (Problem("current_calls[0].custom_data", "is nested too deeply"),)


@pytest.mark.parametrize(
    "evolve", [attrs.evolve, getattr(copy, "replace", attrs.evolve)], ids=["evolve", "copy.replace"]
)
def test_a_changed_copy_has_a_payload_of_its_own(evolve: Callable[..., Call]) -> None:
    """The payload of the copy is its fields, unknown ones and demographics included."""
    call = listed()[1]
    changed = evolve(call, city="x", calling_phone_number=None)
    expected = {**MINE, "city": "x"}
    del expected["calling_phone_number"]
    assert (changed.raw, changed.to_dict(), changed.path, changed.problems) == (expected, expected, "", ())
    assert changed == Call.from_payload(expected) != call
    assert call.raw == MINE


def test_a_call_is_made_of_fields() -> None:
    """The constructor takes plain mappings, freezes them, and makes a whole call."""
    fields = {"a": CustomDataField("b", data_type="Short Text"), "c": CustomDataField()}
    call = Call(transaction_id="T", custom_data=fields, demographics_data={"age": None}, extra={"new": 1})
    fields.clear()
    assert call.custom_data == {"a": CustomDataField("b", data_type="Short Text"), "c": CustomDataField()}
    assert call.raw["custom_data"]["a"] == {"value": "b", "data_type": "Short Text"}
    assert (call.extra, call.custom_value("a"), call.problems) == ({"new": 1}, "b", ())
    assert pickle.loads(pickle.dumps(call)) == copy.deepcopy(call) == call


def test_custom_data_is_a_dict_that_cannot_be_changed() -> None:
    """Every way to look at the fields gives records, and every copy is equal."""
    data = listed()[1].custom_data
    assert data is not None
    field = CustomDataField("google", "VirtualLine")
    assert (data["utm_source"], data.get("utm_source"), data.get("gone", 1)) == (field, field, 1)
    assert (list(data), list(data.values()), list(data.items())) == (
        ["utm_source"], [field], [("utm_source", field)])  # fmt: skip
    for same in (dict(data), {**data}, copy.copy(data), copy.deepcopy(data), pickle.loads(pickle.dumps(data)),
                 data.copy(), data | {}, {} | data):  # type: ignore[attr-defined, operator]  # fmt: skip
        assert same == data == {"utm_source": field}
        assert same["utm_source"] == field
    assert repr(data) == repr({"utm_source": field})
    assert hash(data) == hash(copy.copy(data))
    assert data != {"utm_source": CustomDataField("bing")}
    assert data != 5
    for change in ("pop", "clear", "update", "setdefault", "popitem"):
        with pytest.raises(TypeError, match="cannot be changed"):
            getattr(data, change)("utm_source")
    for name in ("x", "utm_source"):
        with pytest.raises(TypeError):
            data[name] = field  # type: ignore[index]


def test_fields_that_are_read_later_are_descriptors_of_the_class() -> None:
    """Documentation tools look at the class."""
    for name in ("custom_data", "demographics_data", "extra"):
        assert getattr(Call, name) is vars(Call)[name]


def test_a_frozen_dict_copies_and_hashes() -> None:
    """Two with the same items are one key."""
    one, same = FrozenDict({"a": "b"}), FrozenDict(a="b")
    assert len({one, same}) == 1
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    update = {"organization": Organization.network(1), "transaction_id": "T", "custom_data": {"a": "b"}}
    assert len({UpdateCallRequest(**update), UpdateCallRequest(**update)}) == 1  # type: ignore[arg-type]


def outlive_the_list(calls: CurrentCalls) -> Call:
    """Keep the tuple within the list, then one call of it."""
    kept = calls[:]
    del calls
    return kept[5]


@pytest.mark.parametrize(
    "keep",
    [
        outlive_the_list,
        lambda calls: calls[0],
        lambda calls: calls[0].custom_data,
        lambda calls: calls[:1],
        lambda calls: next(iter(calls)),
        lambda calls: [call for call in calls][3],  # noqa: C416 - a loop, while the list itself is gone
        lambda calls: calls[:][5],
    ],
)
def test_a_kept_call_costs_its_own_size(keep: Callable[[CurrentCalls], Any]) -> None:
    """Calls that are kept, each from a response of 300 kB, hold no response."""
    entry = {"transaction_id": "T", "city": "x" * 9000, "custom_data": {"a": {"value": "b" * 1000}}}
    body = json.dumps({"current_calls": [entry] * 30}).encode()
    assert len(body) > 290_000
    gc.collect()
    tracemalloc.start()
    try:
        kept = [keep(listed(bytes(bytearray(body)))) for _ in range(60)]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 60 * 40_000, size
    assert len(kept) == 60


def test_a_call_that_outlives_its_list_is_whole() -> None:
    """Path, exact payload, custom data and unknown fields stay."""
    call = listed()[1]
    gc.collect()
    assert (call.path, call.raw_json, call.extra) == (
        "current_calls[1]",
        json.dumps(MINE).encode(),
        {"new": MINE["new"]},
    )
    assert call.custom_value("utm_source") == "google"


def test_a_list_may_hold_calls_made_by_their_constructor() -> None:
    """The end of the list changes nothing in them, and a failed constructor leaves nothing behind."""
    call = Call(city="x")
    del_me = CurrentCalls((call,))
    del del_me
    assert (call.path, call.raw) == ("", {"city": "x"})
    with pytest.raises(TypeError):
        CurrentCalls(nothing=1)  # type: ignore[call-arg]


FROZEN = """
import sys
{freeze}
    import calls_in_progress_async as sdk
call = sdk.Call.from_payload(b'{{"start_time": "2024-02-01T12:00:00Z", "city": []}}')
assert call.start_time.isoformat() == "2024-02-01T12:00:00+00:00", call.problems
assert call.to_dict() == {{"start_time": "2024-02-01T12:00:00Z"}}
assert [each.path for each in call.problems] == ["call.city"]
"""


@pytest.mark.parametrize(
    ("library", "freeze"),
    [
        ("freezegun", "import freezegun\nwith freezegun.freeze_time('2024-02-01'):"),
        ("time_machine", "import time_machine\nwith time_machine.travel('2024-02-01'):"),
    ],
)
def test_the_package_may_be_imported_while_time_is_frozen(library: str, freeze: str) -> None:
    """A test library that replaces datetime during the import does not break reading times."""
    pytest.importorskip(library)
    done = subprocess.run(
        [sys.executable, "-c", FROZEN.format(freeze=freeze)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_type_hints_resolve_at_run_time() -> None:
    """Dependency-injection containers and pydantic's validate_call ask for them."""
    for kind in (Call, CallUpdate, CurrentCalls, CustomDataField, Organization, UpdateCallRequest,
                 calls_in_progress_async.CurrentCallsRequest, calls_in_progress_async.Problem):  # fmt: skip
        assert get_type_hints(kind) or kind is CurrentCalls
        for name, member in vars(kind).items():
            function = member.fget if isinstance(member, property) else member
            if callable(function) and not name.startswith("__"):
                get_type_hints(function)
    assert get_type_hints(Call)["city"] == str | None
