"""JSON to records: the only module with cattrs and msgspec.

msgspec decodes a good record straight from its bytes. cattrs structures any other record field by field, so that one
unreadable field costs that field only. `Call.problems` then names the field and the reason.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar, cast, get_type_hints

import cattrs
import msgspec
from attrs import frozen

from . import lenient_json
from .json_values import flag_of, json_text, type_name

_REAL_DATETIME: Any = next(each for each in datetime.__mro__ if each.__module__ == "datetime")
"""The class of the standard library, even if a test library (freezegun) replaces it during the import."""

Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
"""Text with a value: the empty text stands for no value."""
if TYPE_CHECKING:
    Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
    """A point in time with its UTC offset."""
else:
    Time = Annotated[_REAL_DATETIME, msgspec.Meta(tz=True)]
TextOrList: TypeAlias = Text | list[Any]
"""A field documented as text on one of the vendor's pages, and as a list on another."""
JsonFlag: TypeAlias = bool | Literal["true", "false", "yes", "no"]
"""True or false, also spelled as text."""
Json: TypeAlias = msgspec.Raw
"""A value kept as JSON until it is asked for. None if the payload leaves it out."""
Absent: TypeAlias = msgspec.UnsetType
"""The type of a missing field, if null would be an error."""
ABSENT = msgspec.UNSET


@frozen
class Problem:
    """An unreadable part of a payload."""

    path: str
    """The place in the body, such as ``current_calls[3].start_time``."""
    reason: str
    """The reason, without the value, since the value may be a caller's."""


class PayloadError(Exception):
    """A payload cannot be read or, in strict mode, has an unreadable field."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class Part(msgspec.Struct, frozen=True):
    """A compact internal record without its payload, such as the ids of a call."""


T = TypeVar("T")


def decode(kind: type[T], body: bytes) -> T:
    """Decode ``kind`` from plain JSON in UTF-8.

    Raises:
        PayloadError: The body is something else.
    """
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look into what it skips
        return cast(T, _decoder(cast(Any, kind))(body))
    except msgspec.ValidationError as error:
        path, reason = _located(error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        path, reason = "", "the body is not JSON" if body.strip() else "the body is empty"
    except RecursionError:
        path, reason = "", "the body is nested too deeply"
    raise PayloadError(path, reason)


@cache
def _decoder(kind: Any) -> Callable[[bytes | Json], Any]:
    return msgspec.json.Decoder(decoding_class_of(kind)).decode


def make_decoder(kind: type[T]) -> Callable[[bytes | Json], T | None]:
    """Make a function to decode ``kind`` from JSON; the function returns None for any other JSON."""
    decode_json = _decoder(cast(Any, kind))

    def decode_or_none(payload: bytes | Json) -> T | None:
        try:
            return cast(T, decode_json(payload))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    return decode_or_none


def try_decode(kind: type[T], payload: bytes) -> T | None:
    """Decode ``kind`` from plain JSON in UTF-8; return None if the payload is anything else."""
    try:
        if not payload.isascii():
            payload.decode()  # msgspec does not look into what it skips
        return cast(T, _decoder(cast(Any, kind))(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def parse_json(body: bytes) -> Any:
    """Parse any JSON into Python values, also with NaN, enormous numbers, lone surrogates or bytes that are not UTF-8.

    Raises:
        PayloadError: The body is not JSON, or is nested too deeply for a parser.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        reason = "the body is nested too deeply"
        with suppress(RecursionError):
            try:
                return lenient_json.parse(body)
            except ValueError:
                reason = "the body is not JSON"
    raise PayloadError("", reason)


def _located(error: msgspec.ValidationError) -> tuple[str, str]:
    """Take msgspec's message apart: "Expected `array`, got `null` - at `$.current_calls`"."""
    reason, _, place = str(error).partition(" - at `$")
    reason = reason.replace("`", "")
    return place.strip("`.").replace("[...]", ""), reason[:1].lower() + reason[1:]


def make_part(name: str, fields: Mapping[str, Any], default: Any = None) -> type[Part]:
    """Make a `Part` with these fields by name and type, all with the same default."""
    of_type = [(key, kind, default) for key, kind in fields.items()]
    return cast(type[Part], msgspec.defstruct(name, of_type, bases=(Part,), frozen=True))


# Records whose attributes differ from their keys in JSON.


class _DecodedField(NamedTuple):
    """A field of a decoding class: the part of `attrs.Attribute` used by msgspec."""

    name: str
    default: None = None
    validator: None = None


_DECODED_AS: dict[type[Any], type[Any]] = {}


def add_decoding_class(kind: type[T], keys: Mapping[str, tuple[Any, str]]) -> type[T]:
    """Make the subclass of ``kind`` for msgspec to decode into.

    msgspec knows no keys other than the names of the fields of an attrs class, and decodes every field at once. The
    decoding class has the slots of ``kind`` and an attribute for each key in JSON, so a decoded object becomes a
    ``kind`` by assigning its ``__class__``.

    Args:
        kind: A slotted attrs class.
        keys: The type and the name of the slot for each key in JSON.
    """
    slots = {key: getattr(kind, slot) for key, (_, slot) in keys.items()}
    hints = {key: hint for key, (hint, _) in keys.items()}
    fields = tuple(map(_DecodedField, hints))
    names = {"__slots__": (), "__annotations__": hints, "__attrs_attrs__": fields, **slots}
    _DECODED_AS[kind] = decoding_class = type(f"Decoded{kind.__name__}", (kind,), names)
    return decoding_class


def decoding_class_of(kind: type[T]) -> type[T]:
    """Return the class into which msgspec decodes a record."""
    return _DECODED_AS.get(kind, kind)


class _Field(NamedTuple):
    """The way from a key in JSON to an attribute of the same name."""

    kind: Any
    hook: Callable[[Any, Any], Any]
    """Structures a value, or raises a `ValueError` with the reason."""


@cache
def _fields(kind: type[Any]) -> dict[str, _Field]:
    """Return the fields of a decoding class by key."""
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: _Field(hints[each.name], _hook_of(hints[each.name])) for each in kind.__attrs_attrs__}


def _hook_of(hint: Any) -> Callable[[Any, Any], Any]:
    return _converter.get_structure_hook(hint)


def keys(kind: type[Any]) -> frozenset[str]:
    """Return the keys in JSON of a record's fields, custom data aside."""
    return frozenset(key for key, each in _fields(cast(Any, decoding_class_of(kind))).items() if each.kind is not Json)


# Structuring with cattrs.


def _structure_text(value: Any, _: object) -> str:
    text = json_text(value)
    if text is None:
        raise ValueError(f"is {type_name(value)}, not text")
    return text


def _structure_text_or_list(value: Any, _: object) -> str | list[Any]:
    return value if isinstance(value, list) else _structure_text(value, str)


def _structure_flag(value: Any, _: object) -> bool:
    flag = flag_of(value)
    if flag is None:
        raise ValueError(f"is {type_name(value)}, not true or false")
    return flag


def _structure_time(value: Any, _: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError(f"is {type_name(value)}, not text")  # noqa: TRY004 - one kind of error from all hooks
    with suppress(msgspec.ValidationError):
        return msgspec.convert(value, Time)  # rounds to microseconds as decoding from bytes does
    try:
        time = _REAL_DATETIME.fromisoformat(value)
    except ValueError:
        raise ValueError("is not an ISO 8601 time") from None
    if time.tzinfo is None:
        raise ValueError("has no UTC offset")
    return cast(datetime, time)


def _keep(value: Any, _: object) -> Any:
    return value


_converter = cattrs.Converter()
for _hint, _hook in (
    (Text, _structure_text),
    (str, _structure_text),
    (TextOrList, _structure_text_or_list),
    (JsonFlag, _structure_flag),
    (Time, _structure_time),
    (Json, _keep),
):
    for _kind in (_hint, _hint | None):
        _converter.register_structure_hook_func(partial(operator.eq, _kind), _hook)


def decode_or_structure(kind: type[T], payload: bytes, path: str) -> tuple[T, tuple[Problem, ...]]:
    """Decode one object or, if msgspec rejects it, structure its fields one by one.

    Args:
        kind: A decoding class.
        payload: The JSON of one object.
        path: The place of the object in the body, for problems.

    Raises:
        PayloadError: The payload is not an object.
    """
    try:
        return cast(T, _decoder(cast(Any, kind))(payload)), ()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return structure_fields(kind, payload, path)


def structure_fields(kind: type[T], payload: bytes, path: str) -> tuple[T, tuple[Problem, ...]]:
    """Structure one object field by field; an unreadable field is None and becomes a problem."""
    try:
        values = parse_json(payload)
    except PayloadError as error:
        raise PayloadError(path, error.reason.replace("the body ", "")) from None
    if not isinstance(values, dict):
        raise PayloadError(path, f"is {type_name(values)}, not an object")
    readable: dict[str, Any] = {}
    problems = []
    for key, (hint, hook) in _fields(cast(Any, kind)).items():
        value = values.get(key)
        if value is None or value == "":
            continue
        try:
            readable[key] = hook(value, hint)
        except ValueError as error:
            problems.append(Problem(f"{path}.{key}", str(error)))
    return _make(kind, readable), tuple(problems)


def _make(kind: type[T], values: Mapping[str, Any]) -> T:
    record = object.__new__(kind)
    for name, set_slot in _setters(cast(Any, kind)):
        set_slot(record, values.get(name))
    return record


@cache
def _setters(kind: Any) -> tuple[tuple[str, Callable[[Any, Any], None]], ...]:
    return tuple((each.name, vars(kind)[each.name].__set__) for each in kind.__attrs_attrs__)
