"""The custom fields of a call and the demographics of its caller: three shapes in JSON, read when asked for."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any, NamedTuple, TypeAlias, TypedDict, cast

from attrs import frozen

from ..frozen_dict import FrozenDict
from .codec import Json, Part, Problem, Text, make_decoder
from .json_values import json_text, type_name

Demographic: TypeAlias = str | bool | None
"""The value of one demographic key."""

DEMOGRAPHICS = "demographics_data"
"""The key of the demographics, among the custom fields."""


@frozen
class CustomDataField:
    """One custom field of a call."""

    value: str | None = None
    source: str | None = None
    """The origin of the value: ``DynamicAttribution``, ``VirtualLine`` and ``CallsInProgressAPI`` have been seen."""
    data_type: str | None = None
    """``Short Text`` and the like; only the beta's response to an update has it."""


class _Entry(TypedDict, total=False):
    """The JSON of a custom field."""

    value: Text | None
    source: Text | None
    data_type: Text | None


class CustomFields(FrozenDict[str, Any]):
    """Custom fields by name, each made on demand: making them all would take as long as decoding the call.

    The entries inside are the objects of the JSON. A JSON encoder looks inside, and so writes the API's form.
    """

    __slots__ = ()

    def __getitem__(self, name: str) -> CustomDataField:
        return CustomDataField(**cast(_Entry, super().__getitem__(name)))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the field with this name, or ``default``."""
        return self[name] if name in self else default  # noqa: SIM401 - this is that method

    def values(self) -> ValuesView[CustomDataField]:  # type: ignore[override]
        """Return the fields."""
        return ValuesView(self)

    def items(self) -> ItemsView[str, CustomDataField]:  # type: ignore[override]
        """Return the names and the fields."""
        return ItemsView(self)

    def __iter__(self) -> Iterator[str]:  # without it, ``dict(...)`` would copy the entries inside
        return super().__iter__()

    def copy(self) -> dict[str, CustomDataField]:
        """Return a dict of the fields."""
        return dict(self)

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def __eq__(self, other: object) -> bool:
        return dict(self) == (dict(other) if isinstance(other, Mapping) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __repr__(self) -> str:
        return repr(dict(self))

    def __hash__(self) -> int:  # type: ignore[override]
        return super().__hash__()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.entries(),)

    def entries(self) -> dict[str, _Entry]:
        """Return the JSON of the fields."""
        return {name: cast(_Entry, super(CustomFields, self).__getitem__(name)) for name in self}


class CustomData(NamedTuple):
    """Everything under a call's ``custom_data``."""

    fields: CustomFields | None = None
    demographics: FrozenDict[str, Demographic] | None = None
    problems: tuple[Problem, ...] = ()


class _Demographics(Part, frozen=True):
    demographics_data: dict[str, Demographic] | None = None


_decode_fields = make_decoder(dict[str, _Entry])
_decode_demographics = make_decoder(_Demographics)


def read_plain_custom_data(payload: Json) -> CustomData | None:
    """Read the JSON of plain custom data; return None if anything is out of the ordinary.

    It takes a tenth of the time of `read_custom_data`.
    """
    fields = _decode_fields(payload)
    if fields is None:
        return None
    if fields.pop(DEMOGRAPHICS, None) is None:
        return CustomData(CustomFields(fields))
    found = _decode_demographics(payload)
    if found is None:
        return None
    demographics = found.demographics_data
    return CustomData(CustomFields(fields), None if demographics is None else _freeze(demographics))


def freeze_fields(fields: Mapping[str, CustomDataField] | None) -> CustomFields | None:
    """Make an immutable copy of custom fields."""
    if fields is None or isinstance(fields, CustomFields):
        return fields
    return CustomFields({name: _entry_of(each) for name, each in fields.items()})


def _entry_of(field: CustomDataField) -> _Entry:
    entry = {"value": field.value, "source": field.source, "data_type": field.data_type}
    return cast(_Entry, {key: value for key, value in entry.items() if key == "value" or value is not None})


def _freeze(demographics: dict[str, Demographic]) -> FrozenDict[str, Demographic]:
    if "" in demographics.values():
        return FrozenDict({key: None if value == "" else value for key, value in demographics.items()})
    return FrozenDict(demographics)


def read_custom_data(value: Any, path: str) -> CustomData:
    """Read custom data of any shape, each field by itself.

    Args:
        value: An object of names, the beta's list of named fields, or nothing (None or ``""``).
        path: The place of the value in the body.
    """
    problems: list[Problem] = []
    if value is None or value == "":
        return CustomData()
    if isinstance(value, list):
        named = _by_name(value, path, problems)
        return CustomData(CustomFields(named), problems=tuple(problems))
    if not isinstance(value, dict):
        return CustomData(problems=(Problem(path, f"is {type_name(value)}, not an object or a list"),))
    fields = {name: _entry(each, f"{path}.{name}", problems) for name, each in value.items() if name != DEMOGRAPHICS}
    demographics = _demographics(value.get(DEMOGRAPHICS), f"{path}.{DEMOGRAPHICS}", problems)
    return CustomData(CustomFields(fields), demographics, tuple(problems))


def _by_name(entries: list[Any], path: str, problems: list[Problem]) -> dict[str, _Entry]:
    named = {}
    for index, entry in enumerate(entries):
        place = f"{path}[{index}]"
        name = json_text(entry.get("name")) if isinstance(entry, dict) else None
        if name is None:
            problems.append(Problem(place, "is not an object with a name"))
        else:
            named[name] = _entry(entry, place, problems)
    return named


def _entry(entry: Any, path: str, problems: list[Problem]) -> _Entry:
    if entry is None or entry == "":
        return {}
    if not isinstance(entry, dict):
        problems.append(Problem(path, f"is {type_name(entry)}, not an object with a value"))
        return {}
    keys = [key for key in ("value", "source", "data_type") if key in entry]
    return cast(_Entry, {key: _text(entry[key], f"{path}.{key}", problems) for key in keys})


def _text(value: Any, path: str, problems: list[Problem]) -> str | None:
    if value is None:
        return None
    text = json_text(value)
    if text is None:
        problems.append(Problem(path, f"is {type_name(value)}, not text"))
    return text or None


def _demographics(value: Any, path: str, problems: list[Problem]) -> FrozenDict[str, Demographic] | None:
    if value is None or value == "":
        return None
    if not isinstance(value, dict):
        problems.append(Problem(path, f"is {type_name(value)}, not an object"))
        return None
    return FrozenDict({key: _demographic(each, f"{path}.{key}", problems) for key, each in value.items()})


def _demographic(value: Any, path: str, problems: list[Problem]) -> Demographic:
    return value if isinstance(value, bool) else _text(value, path, problems)
