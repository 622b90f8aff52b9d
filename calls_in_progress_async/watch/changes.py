"""The fields that differ between two states of one call. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from ..records import Call, CustomDataField
from ..records.codec import keys
from .call_state import canonical

Change: TypeAlias = tuple[Any, Any]
"""The old value and the new one."""
_CUSTOM_DATA = "custom_data"
_AS_PRINTED = {"key presses": "keypresses"}
_FIELDS = keys(Call)
_NO_FIELD = CustomDataField(None)


def changes_between(old: Call, new: Call) -> dict[str, Change]:
    """List the differences: ``{"call_status": (old, new), "custom_data.utm_source": (old, new)}``.

    Values are those of the records; null, ``""`` and a field left out are all None. A custom field with a new source
    and the old value is named ``custom_data.utm_source.source``. A demographic of the caller is named
    ``demographics_data.gender_data_append``. If the records have equal values, the values are those of the payloads.
    """
    before, after = old.raw, new.raw
    changes: dict[str, Change] = {}
    for key in {**before, **after}:
        payloads = _value(before.get(key)), _value(after.get(key))
        if payloads[0] == payloads[1] or canonical(payloads[0]) == canonical(payloads[1]):
            continue
        if key == _CUSTOM_DATA and (found := dict(_custom_changes(old, new))):
            changes.update(found)
        else:
            name = _AS_PRINTED.get(key, key)
            values = (getattr(old, name), getattr(new, name)) if key in _FIELDS else payloads
            changes[name] = values if values[0] != values[1] else payloads
    return changes


def _value(payload: Any) -> Any:
    return None if payload == "" else payload


def _custom_changes(old: Call, new: Call) -> Iterator[tuple[str, Change]]:
    before, after = old.custom_data or {}, new.custom_data or {}
    for name in {**before, **after}:
        one, other = before.get(name, _NO_FIELD), after.get(name, _NO_FIELD)
        if one.value != other.value:
            yield f"{_CUSTOM_DATA}.{name}", (one.value, other.value)
        elif one.source != other.source:
            yield f"{_CUSTOM_DATA}.{name}.source", (one.source, other.source)
    traits = old.demographics_data or {}, new.demographics_data or {}
    for name in {**traits[0], **traits[1]}:
        pair = traits[0].get(name), traits[1].get(name)
        if pair[0] != pair[1]:
            yield f"demographics_data.{name}", pair
