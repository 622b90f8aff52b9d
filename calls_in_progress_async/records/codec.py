"""JSON to records: the one door to cattrs and msgspec.

A good record is decoded by msgspec straight from its bytes. One that msgspec refuses goes field by field through a
cattrs converter, so that one unreadable field costs that field only; `Record.problems` then says which, and why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import Annotated, Any, TypeVar, cast

import cattrs
import msgspec
from attrs import define, frozen

from . import lenient_json

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""A point in time with its UTC offset."""
json_key = msgspec.field
"""Declare a field of a record whose key in JSON is another: ``json_key(default=None, name="key in JSON")``."""
Json = msgspec.Raw
"""A field of a record that is kept as JSON, to be read when it is asked for. Empty where there is none."""


@frozen
class Problem:
    """Something in a payload that could not be read."""

    path: str
    """Where it stands, such as ``current_calls[3].start_time``."""
    reason: str
    """What is wrong with it. Its value is not repeated: it may be a caller's."""


class PayloadError(Exception):
    """A payload, or in strict mode a field of one, cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


@define(eq=False)
class Body:
    """The JSON that records came in: one record, or a list of them, which is split when an entry is asked for."""

    json: bytes
    path: str
    """Of a list: the key it stands under. Of one record: where it stood."""
    _entries: list[Any] | None = None

    def entry(self, index: int) -> bytes:
        """The JSON of one entry of the list."""
        if self._entries is None:
            # A parser may have had more room for its recursion when it first read the body.
            _, self._entries = split_tolerantly(self.json, strict=False) or ("", [])
        return bytes(self._entries[index])


@define(eq=False)
class Origin:
    """Where a record came from."""

    body: Body
    index: int | None = None
    """Its place in the list; None where the body is the record."""
    problems: tuple[Problem, ...] = ()
    """The fields that could not be read."""
    read_later: Any = None
    """What the record reads from its payload only when asked, once it has."""

    @property
    def payload(self) -> bytes:
        """The JSON of the record."""
        return self.body.json if self.index is None else self.body.entry(self.index)

    @property
    def path(self) -> str:
        """Where the record stood, such as ``current_calls[3]``."""
        return self.body.path if self.index is None else f"{self.body.path}[{self.index}]"


_NO_ORIGIN = Origin(Body(b"", ""))
"""Of a record that was not decoded, but made by its constructor."""


class Part(msgspec.Struct, frozen=True):
    """A frozen, slotted part of a record, which is decoded from JSON three times as fast as an attrs class."""


class Record(msgspec.Struct, frozen=True, kw_only=True, eq=False, gc=False, omit_defaults=True):
    """A frozen, slotted record that is decoded from JSON, and knows the JSON it was decoded from.

    Fields are typed ``str | None``, ``bool | str | None`` or ``Time | None``; one with no value (null, ``""`` or
    left out) is None.
    """

    _origin: Origin = _NO_ORIGIN  # `structure` always sets it, so a key of that name in JSON has no effect

    @property
    def path(self) -> str:
        """Where the record stood in its body, such as ``current_calls[3]``."""
        return self._origin.path

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The fields that could not be read, and why."""
        return self._origin.problems

    @property
    def raw_json(self) -> bytes:
        """The exact JSON of this record."""
        return msgspec.json.encode(self) if self._origin is _NO_ORIGIN else self._origin.payload

    @property
    def raw(self) -> dict[str, Any]:
        """The exact payload as Python values, made anew at each call.

        What Python has no value for is the nearest thing: a field that is nested too deeply is None, an integer of
        400 or more digits a float, a byte that is not UTF-8 U+FFFD.
        """
        payload: dict[str, Any] = parse_json(self.raw_json)
        return payload


R = TypeVar("R", bound=Record)
T = TypeVar("T")


def to_json(payload: Mapping[str, Any] | bytes) -> bytes:
    """Write a mapping as JSON, times as ISO 8601; bytes are JSON already."""
    return payload if isinstance(payload, bytes) else json.dumps({**payload}, default=datetime.isoformat).encode()


def parse_json(body: bytes, lost: list[str] | None = None) -> Any:
    """Parse any JSON.

    Args:
        body: The JSON. Of an object whose fields are nested too deeply for any parser, those fields are None.
        lost: Where to put the names of those fields.

    Raises:
        PayloadError: It is not JSON.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        with suppress(ValueError):
            return lenient_json.parse(body, [] if lost is None else lost)
    raise PayloadError("", "the body is not JSON")


_LIST_KEYS = ("current_calls", "calls_in_progress")
_ONE_KEY = "current_call"


class _Lists(msgspec.Struct):
    """The keys under which any revision of the API puts its calls."""

    current_calls: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    calls_in_progress: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    current_call: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def split(body: bytes) -> tuple[str, list[Any]] | None:
    """Split a body into the JSON of its entries, without decoding them.

    Returns:
        The key they stand under and the entries, as objects with the buffer interface; None where the body is an
        object without any such key.

    Raises:
        PayloadError: The body is not JSON, not an object, or has no list where one belongs.
    """
    lists: _Lists = _decode(_Lists, body)
    one = None if lists.current_call is msgspec.UNSET else (_ONE_KEY, [lists.current_call])
    return _filled(lists) or one


def _filled(lists: Any) -> tuple[str, list[Any]] | None:
    """Whichever of the lists is there, and its key."""
    for key in _LIST_KEYS:
        if (entries := getattr(lists, key)) is not msgspec.UNSET:
            return key, entries
    return None


def split_tolerantly(body: bytes, *, strict: bool) -> tuple[str, list[Any]] | None:
    """Split a body as `split` does; unless ``strict``, also one that only a tolerant parser takes, or none at all."""
    try:
        return split(body)
    except PayloadError as error:
        with suppress(ValueError):
            fields = {} if strict else lenient_json.fields_of(body)
            for key in _LIST_KEYS:
                if fields.get(key, "").startswith("["):
                    return key, [entry.encode() for entry in lenient_json.cut(fields[key], "[]")]
            if _ONE_KEY in fields:
                return _ONE_KEY, [fields[_ONE_KEY].encode()]
        raise PayloadError(error.path, error.reason) from None


def _decode(kind: Any, body: bytes) -> Any:
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look into what it skips
        decoded = _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        path, reason = _located(error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        path, reason = "", "the body is not JSON" if body.strip() else "the body is empty"
    except RecursionError:
        path, reason = "", "the body is nested too deeply"
    else:
        return decoded
    raise PayloadError(path, reason)


def _located(error: msgspec.ValidationError) -> tuple[str, str]:
    """Take msgspec's message apart: "Expected `array`, got `null` - at `$.current_calls`"."""
    reason, _, place = str(error).partition(" - at `$")
    reason = reason.replace("`", "")
    return place.strip("`.").replace("[...]", ""), reason[:1].lower() + reason[1:]


def structure(kind: type[R], payload: bytes, path: str, *, strict: bool) -> R:
    """Turn the JSON of one record into the record.

    Args:
        kind: The class of the record.
        payload: Its JSON.
        path: Where it stands in the body.
        strict: Whether an unreadable field raises.

    Raises:
        PayloadError: The payload is not an object, or, in strict mode, a field cannot be read.
    """
    problems: tuple[Problem, ...] = ()
    try:
        record: R = _decoder(kind).decode(payload)
    except (msgspec.DecodeError, RecursionError):
        record, problems = _structure_tolerantly(kind, payload, path)
    return _finish(record, Origin(Body(payload, path), problems=problems), strict=strict)


def try_decode(kind: type[T], payload: bytes) -> T | None:
    """Decode ``kind`` alone from what may be JSON of it: a record, which then knows its payload not, or any type.

    Returns:
        None where it is anything else, or no plain JSON.
    """
    try:
        if not payload.isascii():
            payload.decode()  # msgspec does not look into what it skips
        return cast(T, _decoder(cast(Any, kind)).decode(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def try_decode_all(kind: type[R], body: bytes) -> list[R] | None:
    """The same for every entry of a body that `split` takes; None where one of them is anything else."""
    try:
        lists = _decoder(_lists_of(kind)).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return (_filled(lists) or ("", None))[1]


def _finish(record: R, origin: Origin, *, strict: bool) -> R:
    if "" in msgspec.structs.astuple(record):
        _forget_empty_text(record)
    msgspec.structs.force_setattr(record, "_origin", origin)
    if strict and (found := record.problems):
        raise PayloadError(found[0].path, found[0].reason)
    return record


@cache
def _decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def _lists_of(kind: type[Record]) -> type[msgspec.Struct]:
    """`_Lists` with records instead of their JSON, for a body in which all is well."""
    wanted = list[kind] | msgspec.UnsetType  # type: ignore[valid-type]
    return msgspec.defstruct("_RecordLists", [(key, wanted, msgspec.UNSET) for key in _LIST_KEYS], gc=False)


@cache
def _fields(kind: type[Record]) -> dict[str, tuple[str, Any]]:
    """The name and the type of each field, by its key in JSON."""
    fields = msgspec.structs.fields(kind)
    return {each.encode_name: (each.name, each.type) for each in fields if each.name != "_origin" and each.type != Json}


def keys(kind: type[Record]) -> frozenset[str]:
    """The keys in JSON that a record has fields for."""
    return frozenset(_fields(kind))


def _forget_empty_text(record: Record) -> None:
    for name, _ in _fields(type(record)).values():
        if getattr(record, name) == "":
            msgspec.structs.force_setattr(record, name, None)


def _structure_tolerantly(kind: type[R], payload: bytes, path: str) -> tuple[R, tuple[Problem, ...]]:
    lost: list[str] = []
    try:
        values = parse_json(payload, lost)
    except PayloadError:
        raise PayloadError(path, "is not JSON") from None
    if not isinstance(values, dict):
        raise PayloadError(path, f"is {type_name(values)}, not an object")
    readable: dict[str, Any] = {}
    problems = [Problem(f"{path}.{key}", "is nested too deeply") for key in lost]
    for key, (name, wanted) in _fields(kind).items():
        value = values.get(key)
        if value is None or value == "":
            continue
        try:
            readable[name] = _converter.structure(value, wanted)
        except ValueError as error:
            problems.append(Problem(f"{path}.{key}", str(error)))
    return kind(**readable), tuple(problems)


_TYPE_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


def type_name(value: object) -> str:
    """What JSON calls a value."""
    return _TYPE_NAMES.get(type(value), "a number")


def _text(value: Any, _: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {type_name(value)}, not text")  # noqa: TRY004 - one kind of error from all hooks
    return value.encode("utf-8", "replace").decode()  # a lone surrogate could not be printed or sent on


def _text_or_flag(value: Any, _: object) -> bool | str:
    return value if isinstance(value, bool) else _text(value, str)


def _time(value: Any, _: object) -> datetime:
    try:
        time = datetime.fromisoformat(_text(value, str))
    except ValueError as error:
        reason = str(error) if not isinstance(value, str) else "is not an ISO 8601 time"
        raise ValueError(reason) from None
    if time.tzinfo is None:
        raise ValueError("has no UTC offset")
    return time


_converter = cattrs.Converter()
_converter.register_structure_hook(str, _text)
_converter.register_structure_hook_func(lambda kind: kind == Time, _time)
_converter.register_structure_hook(bool | str | None, _text_or_flag)


def structure_all(kind: type[R], body: bytes, *, strict: bool) -> tuple[tuple[R, ...], tuple[Problem, ...]] | None:
    """Structure every entry of a body.

    Returns:
        The records, and what is wrong with the entries that are none; None where the body is an object without any
        of the keys that hold records.

    Raises:
        PayloadError: As `split`, and in strict mode for any field that cannot be read.
    """
    try:
        lists = _decode(_lists_of(kind), body)
    except PayloadError:
        return _structure_each(kind, body, strict=strict)
    if (found := _filled(lists)) is None:
        return _structure_each(kind, body, strict=strict)
    whole = Body(body, found[0])
    for index, record in enumerate(found[1]):
        _finish(record, Origin(whole, index), strict=strict)
    return tuple(found[1]), ()


def _structure_each(kind: type[R], body: bytes, *, strict: bool) -> tuple[tuple[R, ...], tuple[Problem, ...]] | None:
    """Structure a body in which something is not as it should be, entry by entry."""
    found = split_tolerantly(body, strict=strict)
    if found is None:
        return None
    key, entries = found
    records: list[R] = []
    problems: list[Problem] = []
    for index, entry in enumerate(entries):
        path = key if key == _ONE_KEY else f"{key}[{index}]"
        try:
            records.append(structure(kind, bytes(entry), path, strict=strict))
        except PayloadError as error:
            if strict:
                raise
            problems.append(Problem(error.path, error.reason))
    return tuple(records), tuple(problems)
