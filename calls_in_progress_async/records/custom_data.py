"""The custom fields of a call and the demographics of its caller: three shapes in JSON, read when asked for."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from attrs import frozen

from ..frozen_dict import FrozenDict
from .codec import UNREADABLE, Json, Part, Problem, decoder
from .filling import make_map_filler
from .json_values import json_text, type_name

Demographic: TypeAlias = str | bool | None
"""The value of one demographic key."""

MAX_VALUES = 20_000
"""Values of the custom data of one call, unless they are plain. Each takes about a microsecond."""
DEMOGRAPHICS = "demographics_data"
"""The key of the demographics, among the custom fields."""


@frozen(weakref_slot=False)
class CustomDataField:
    """One custom field of a call."""

    value: str | None = None
    source: str | None = None
    """The origin of the value: ``DynamicAttribution``, ``VirtualLine`` and ``CallsInProgressAPI`` have been seen."""
    data_type: str | None = None
    """``Short Text`` and the like; only the beta's response to an update has it."""


class _Row(Part, frozen=True, gc=False):
    """The JSON of a custom field."""

    value: str | None = None
    source: str | None = None
    data_type: str | None = None


_KEYS = ("value", "source", "data_type")
_fill_fields = make_map_filler(CustomDataField, {key: f"row.{key} or None" for key in _KEYS})

CustomFields: TypeAlias = FrozenDict[str, CustomDataField]
"""Custom fields by name."""
Demographics: TypeAlias = FrozenDict[str, Demographic]
"""Demographics by key."""


class CustomData(NamedTuple):
    """Everything under a call's ``custom_data``."""

    fields: CustomFields | None = None
    demographics: Demographics | None = None
    problems: tuple[Problem, ...] = ()


class _WithDemographics(Part, frozen=True, gc=False):
    demographics_data: dict[str, Demographic] | None = None


_decode_rows = decoder(dict[str, _Row])
_decode_demographics = decoder(_WithDemographics)


def read_plain_custom_data(payload: Json) -> tuple[CustomFields, Demographics | None] | None:
    """Read the JSON of plain custom data; return None if anything is out of the ordinary.

    It takes a tenth of the time of `read_custom_data`.

    Returns:
        The custom fields and the demographics.
    """
    try:
        rows = _decode_rows(payload)
        if rows.pop(DEMOGRAPHICS, None) is None:
            return FrozenDict(_fill_fields(rows)), None
        demographics = _decode_demographics(payload).demographics_data
    except UNREADABLE:
        return None
    return FrozenDict(_fill_fields(rows)), None if demographics is None else _freeze(demographics)


def entry_of(field: CustomDataField) -> dict[str, str | None]:
    """Return the JSON of a custom field."""
    entry = {key: getattr(field, key) for key in _KEYS}
    return {key: value for key, value in entry.items() if key == "value" or value is not None}


def _freeze(demographics: dict[str, Demographic]) -> Demographics:
    """Freeze demographics, with None for ``""``. Changes the dict in place, to copy it once only."""
    if not all(demographics.values()):
        for key, value in demographics.items():
            if value == "":
                demographics[key] = None
    return FrozenDict(demographics)


def refuse_custom_data(payload: Json, path: str) -> CustomData | None:
    """Return the problem of custom data with more than `MAX_VALUES` values; None for fewer values.

    Args:
        payload: The JSON of the custom data.
        path: The place of its call in the body.
    """
    if memoryview(payload).nbytes < MAX_VALUES or bytes(payload).count(b",") < MAX_VALUES:
        return None
    return CustomData(problems=(Problem(f"{path}.custom_data", f"has more than {MAX_VALUES:,} values"),))


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
        return CustomData(FrozenDict(named), problems=tuple(problems))
    if not isinstance(value, dict):
        return CustomData(problems=(Problem(path, f"is {type_name(value)}, not an object or a list"),))
    fields = {name: _field(each, f"{path}.{name}", problems) for name, each in value.items() if name != DEMOGRAPHICS}
    demographics = _demographics(value.get(DEMOGRAPHICS), f"{path}.{DEMOGRAPHICS}", problems)
    return CustomData(FrozenDict(fields), demographics, tuple(problems))


def _by_name(entries: list[Any], path: str, problems: list[Problem]) -> dict[str, CustomDataField]:
    named = {}
    for index, entry in enumerate(entries):
        place = f"{path}[{index}]"
        name = json_text(entry.get("name")) if isinstance(entry, dict) else None
        if name is None:
            problems.append(Problem(place, "is not an object with a name"))
        else:
            named[name] = _field(entry, place, problems)
    return named


def _field(entry: Any, path: str, problems: list[Problem]) -> CustomDataField:
    if isinstance(entry, dict):
        return CustomDataField(*(_text(entry.get(key), f"{path}.{key}", problems) for key in _KEYS))
    if entry is not None and entry != "":
        problems.append(Problem(path, f"is {type_name(entry)}, not an object with a value"))
    return CustomDataField()


def _text(value: Any, path: str, problems: list[Problem]) -> str | None:
    if value is None:
        return None
    text = json_text(value)
    if text is None:
        problems.append(Problem(path, f"is {type_name(value)}, not text"))
    return text or None


def _demographics(value: Any, path: str, problems: list[Problem]) -> Demographics | None:
    if value is None or value == "":
        return None
    if not isinstance(value, dict):
        problems.append(Problem(path, f"is {type_name(value)}, not an object"))
        return None
    return FrozenDict({key: _demographic(each, f"{path}.{key}", problems) for key, each in value.items()})


def _demographic(value: Any, path: str, problems: list[Problem]) -> Demographic:
    return value if isinstance(value, bool) else _text(value, path, problems)
