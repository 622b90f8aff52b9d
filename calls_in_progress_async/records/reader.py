"""Reading the JSON of one record: at once if every field is readable, else field by field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from .codec import (
    UNREADABLE,
    FlagOrEmpty,
    Json,
    JsonFlag,
    Scalar,
    ScalarOrList,
    Text,
    TextOrList,
    Time,
    decoder,
    make_part,
    structure_fields,
    structure_flag,
    structure_time,
)
from .filling import make_filler
from .json_values import flag_of, json_text
from .record import UNREAD

T = TypeVar("T")
Make = Callable[[bytes, str, int | None], T]
"""Makes a record of its JSON, its place and its index, or raises one of `UNREADABLE`."""


class _Spelling(NamedTuple):
    """One way to write a field in JSON: its type, and the expression for the value of the record."""

    kind: Any
    value: str


_PLAIN: dict[Any, _Spelling] = {
    Text: _Spelling(str | None, "row.{0} or None"),
    TextOrList: _Spelling(str | list[Any] | None, "None if row.{0} == '' else row.{0}"),
    Time: _Spelling(Time | None, "row.{0}"),
    JsonFlag: _Spelling(FlagOrEmpty | None, "flag_of(row.{0}) if type(row.{0}) is str else row.{0}"),
    Json: _Spelling(Json, "row.{0}"),
}
"""The spellings of nearly every payload, with null, ``""`` and left out for no value."""

_LOOSE: dict[Any, _Spelling] = {
    Text: _Spelling(Scalar, "row.{0} if type(row.{0}) is str and row.{0} else text_of(row.{0})"),
    TextOrList: _Spelling(ScalarOrList, "row.{0} if type(row.{0}) is list else text_of(row.{0})"),
    Time: _Spelling(str | None, "time_of(row.{0}) if row.{0} else None"),
    JsonFlag: _Spelling(bool | str | None, "structure_flag(row.{0}) if row.{0} else flag_of(row.{0})"),
    Json: _Spelling(Json, "row.{0}"),
}
"""The spellings of a payload with numbers or booleans for text, or with ``""`` for a time."""


def _text_of(value: Any) -> str | None:
    return json_text(value) or None


def _first_of(value: Any, spare: Any) -> Any:
    return spare if value is None else value


_NAMES = {
    "first_of": _first_of,
    "flag_of": flag_of,
    "structure_flag": structure_flag,
    "text_of": _text_of,
    "time_of": structure_time,
    "UNREAD": UNREAD,
}
"""The names in the expressions."""


class Maker(NamedTuple, Generic[T]):
    """Compiled functions to make a record."""

    row: type[Any]
    """The struct for msgspec to decode into."""
    fill: Callable[..., T]
    """Makes a record of a row."""
    make: Make[T]
    """Makes a record of its JSON."""


class RecordFormat(Generic[T]):
    """The ways to read one class of records.

    Args:
        kind: A frozen slotted class, a `Record`.
        types: Returns the type of each key in JSON: a type of `_PLAIN`, or its union with None.
        spare: The key to read in place of another one without a value, by that other key.
        unread: The slots for values to read later.
    """

    def __init__(
        self,
        kind: type[T],
        types: Callable[[], Mapping[str, Any]],
        spare: Mapping[str, str],
        unread: Iterable[str],
    ) -> None:
        self._kind = kind
        self._types = types
        self._spare = spare
        self._unread = dict.fromkeys(unread, "UNREAD")

    @cached_property
    def _hints(self) -> Mapping[str, Any]:
        return self._types()

    @cached_property  # compiled on first use, because it is a sixth of the package's import
    def plain(self) -> Maker[T]:
        """The maker of records whose fields have their documented types."""
        return self._compile(_PLAIN)

    @cached_property
    def loose(self) -> Maker[T]:
        """The maker of records whose fields have any types with the same meaning."""
        return self._compile(_LOOSE)

    def _compile(self, spellings: Mapping[Any, _Spelling]) -> Maker[T]:
        kind = self._kind
        chosen = {key: next(each for hint, each in spellings.items() if wanted in (hint, hint | None))
                  for key, wanted in self._hints.items()}  # fmt: skip
        row = make_part(f"{kind.__name__}Row", {_name(key): each.kind for key, each in chosen.items()},
                        rename={_name(key): key for key in chosen}, gc=False)  # fmt: skip
        values = {key: each.value.format(_name(key)) for key, each in chosen.items()}
        for key, spare in self._spare.items():
            values[key] = f"first_of({values[key]}, {values.pop(spare)})"
        values |= {"_json": "json", "_place": "place", "_index": "index", **self._unread}
        names = {**_NAMES, "decode": decoder(row)}
        fill = make_filler(kind, values, names, ("row", "json", "place", "index"))
        make = make_filler(kind, values, names, ("json", "place", "index"), row="decode(json)")
        return Maker(row=row, fill=fill, make=make)

    def structure(self, payload: bytes, place: str, index: int | None) -> T:
        """Read each field by itself; an unreadable field is None and becomes a problem.

        Raises:
            PayloadError: The payload is not an object.
        """
        path = place if index is None else f"{place}[{index}]"
        values, problems = structure_fields(self._hints, payload, path)
        row = self.plain.row(**{_name(key): value for key, value in values.items()})
        record = self.plain.fill(row, payload, place, index)
        if problems:
            object.__setattr__(record, "_problems", problems)
        return record


def _name(key: str) -> str:
    return key.replace(" ", "_")


class Reader(Generic[T]):
    """Reads the records of one body, which spells them all alike.

    Args:
        record_format: The ways to read a record.
    """

    def __init__(self, record_format: RecordFormat[T]) -> None:
        self._format = record_format
        self._make = record_format.plain.make

    def read(self, payload: bytes, place: str, index: int | None = None) -> T:
        """Read one record.

        Args:
            payload: The JSON of the record.
            place: The key of the list in the body; without an index, the record's place.
            index: The record's index in the list.

        Raises:
            PayloadError: The payload is not an object.
        """
        try:
            if not payload.isascii():
                payload.decode()  # msgspec does not look into what it skips
            return self._make(payload, place, index)
        except UNREADABLE:
            return self._read_otherwise(payload, place, index)

    def _read_otherwise(self, payload: bytes, place: str, index: int | None) -> T:
        with suppress(*UNREADABLE):
            payload.decode()
            record = self._format.loose.make(payload, place, index)
            self._make = self._format.loose.make
            return record
        return self._format.structure(payload, place, index)
