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
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar, cast

import msgspec
from attrs import frozen

from . import lenient_json
from .json_values import flag_of, json_text, type_name

_REAL_DATETIME: Any = next(each for each in datetime.__mro__ if each.__module__ == "datetime")
"""The class of the standard library, even if a test library (freezegun) replaces it during the import."""

Text: TypeAlias = Annotated[str, "text"]
"""Text. The empty text stands for no value."""
if TYPE_CHECKING:
    Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
    """A point in time with its UTC offset."""
else:
    Time = Annotated[_REAL_DATETIME, msgspec.Meta(tz=True)]
TextOrList: TypeAlias = Text | list[Any]
"""A field documented as text on one of the vendor's pages, and as a list on another."""
JsonFlag: TypeAlias = bool | Literal["true", "false", "yes", "no"]
"""True or false, also spelled as text."""
FlagOrEmpty: TypeAlias = bool | Literal["true", "false", "yes", "no", ""]
"""True or false, their texts, or ``""`` for no value."""
Scalar: TypeAlias = str | int | float | bool | None
"""The values read as text."""
ShortInt: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of usual length. One of thousands of digits takes a millisecond to write as text."""
ScalarOrList: TypeAlias = str | int | float | bool | list[Any] | None
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


class BoundsError(PayloadError):
    """A body is larger than any response with calls."""


class Part(msgspec.Struct, frozen=True):
    """A compact internal record without its payload, such as the ids of a call."""


T = TypeVar("T")

UNREADABLE = (ValueError, msgspec.DecodeError, RecursionError)
"""The errors of reading a value: of a hook, of bytes outside UTF-8, of msgspec, and of deep nesting."""


def decode(kind: type[T], body: bytes) -> T:
    """Decode ``kind`` from plain JSON in UTF-8.

    Raises:
        PayloadError: The body is something else.
    """
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look into what it skips
        return cast(T, decoder(cast(Any, kind))(body))
    except msgspec.ValidationError as error:
        path, reason = _located(error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        path, reason = "", "the body is not JSON" if body.strip() else "the body is empty"
    except RecursionError:
        path, reason = "", "the body is nested too deeply"
    raise PayloadError(path, reason)


@cache
def decoder(kind: Any) -> Callable[[bytes | Json], Any]:
    """Return the function to decode ``kind``, which raises one of `UNREADABLE` for any other JSON."""
    return msgspec.json.Decoder(kind).decode


def try_decode(kind: type[T], payload: bytes) -> T | None:
    """Decode ``kind`` from plain JSON in UTF-8; return None if the payload is anything else."""
    try:
        if not payload.isascii():
            payload.decode()  # msgspec does not look into what it skips
        return cast(T, decoder(cast(Any, kind))(payload))
    except UNREADABLE:
        return None


encode_json: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""Return a `Part`, or any plain value, as JSON."""
encode_sorted: Callable[[Any], bytes] = msgspec.json.Encoder(order="sorted").encode
"""Return a plain value as JSON with sorted keys, the same bytes for equal values."""


def parse_json(body: bytes) -> Any:
    """Parse any JSON into Python values, also with NaN, enormous numbers, lone surrogates or bytes that are not UTF-8.

    Raises:
        PayloadError: The body is not JSON, or is nested too deeply for a parser.
    """
    try:
        return msgspec.json.decode(body)
    except UNREADABLE:
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


def make_part(
    name: str,
    fields: Mapping[str, Any],
    default: Any = None,
    *,
    rename: Mapping[str, str] | None = None,
    gc: bool = True,
) -> type[Part]:
    """Make a `Part`.

    Args:
        name: The name of the class.
        fields: The types of the fields by name.
        default: The default of every field.
        rename: The keys in JSON by the name of the field, if they differ.
        gc: False if the collector may pass the parts by.
    """
    of_type = [(key, kind, default) for key, kind in fields.items()]
    part = msgspec.defstruct(name, of_type, bases=(Part,), frozen=True, rename=rename, gc=gc)
    return cast(type[Part], part)


# Structuring with cattrs.


def _structure_text(value: Any, _: object) -> str:
    text = json_text(value)
    if text is None:
        raise ValueError(f"is {type_name(value)}, not text")
    return text


def _structure_text_or_list(value: Any, _: object) -> str | list[Any]:
    return value if isinstance(value, list) else _structure_text(value, str)


def structure_flag(value: Any, _: object = None) -> bool:
    """Read true or false, or raise a `ValueError` with the reason."""
    flag = flag_of(value)
    if flag is None:
        raise ValueError(f"is {type_name(value)}, not true or false")
    return flag


def structure_time(value: Any, _: object = None) -> datetime:
    """Read a time, or raise a `ValueError` with the reason."""
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


def structure_fields(hints: Mapping[str, Any], payload: bytes, path: str) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """Structure the fields of one object one by one.

    Args:
        hints: The type of each key.
        payload: The JSON of one object.
        path: The place of the object in the body, for problems.

    Returns:
        The readable values by key, and a problem for each unreadable one.

    Raises:
        PayloadError: The payload is not an object.
    """
    try:
        values = parse_json(payload)
    except PayloadError as error:
        raise PayloadError(path, error.reason.replace("the body ", "")) from None
    if not isinstance(values, dict):
        raise PayloadError(path, f"is {type_name(values)}, not an object")
    readable: dict[str, Any] = {}
    problems = []
    for key, hint in hints.items():
        value = values.get(key)
        if value is None or value == "":
            continue
        try:
            readable[key] = _hook_of(hint)(value, hint)
        except ValueError as error:
            problems.append(Problem(f"{path}.{key}", str(error)))
    return readable, tuple(problems)


@cache
def _hook_of(hint: Any) -> Callable[[Any, Any], Any]:
    return _hooks()(hint)


@cache
def _hooks() -> Callable[[Any], Callable[[Any, Any], Any]]:
    import cattrs  # noqa: PLC0415 - imported for the first record that msgspec refuses

    converter = cattrs.Converter()
    for hint, hook in (
        (Text, _structure_text),
        (TextOrList, _structure_text_or_list),
        (JsonFlag, structure_flag),
        (Time, structure_time),
        (Json, _keep),
    ):
        for kind in (hint, hint | None):
            converter.register_structure_hook_func(partial(operator.eq, kind), hook)
    return converter.get_structure_hook
