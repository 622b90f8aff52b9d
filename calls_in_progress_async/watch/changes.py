"""The differences between two states of one call, by field. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from ..records import Call, CustomDataField
from ..records.call import CALL_KEYS, meaning

Change: TypeAlias = tuple[Any, Any]
"""The old value and the new one."""
_CUSTOM_DATA = "custom_data"
_AS_PRINTED = {"key presses": "keypresses"}
_FLAG = "repeat_calling_phone_number"  # "yes" means the same as "true"
_NO_FIELD = CustomDataField(None)


def changes_between(old: Call, new: Call) -> dict[str, Change]:
    """List the differences: ``{"call_status": (old, new), "custom_data.utm_source": (old, new)}``.

    Values are those of the records; null, ``""`` and a field left out are all None. A custom field with a new source
    and the old value is named ``custom_data.utm_source.source``. A demographic of the caller is named
    ``demographics_data.gender_data_append``. If the records have equal values, the values are those of the payloads.
    """
    before, after = _fields_of(old), _fields_of(new)
    changes: dict[str, Change] = {}
    for name in {**before, **after}:
        payloads = before.get(name), after.get(name)
        if _mean_the_same(name, *payloads):
            continue
        if name == _CUSTOM_DATA and (found := dict(_custom_changes(old, new))):
            changes.update(found)
        else:
            values = (getattr(old, name), getattr(new, name)) if name in CALL_KEYS else payloads
            changes[name] = values if values[0] != values[1] else payloads
    return changes


def _fields_of(call: Call) -> dict[str, Any]:
    """Return the payload's fields with a value, under the documented names."""
    fields = {name: value for name, value in call.raw.items() if value is not None and value != ""}
    for printed, name in _AS_PRINTED.items():
        if printed in fields:
            fields.setdefault(name, fields.pop(printed))
    return fields


def _mean_the_same(name: str, old: Any, new: Any) -> bool:
    if isinstance(old, str) and isinstance(new, str) and name != _FLAG:
        return old == new
    if old == new and repr(old) == repr(new):  # 1 equals True, and does not mean the same
        return True
    one, other = (meaning(json.dumps({name: value}).encode()) for value in (old, new))
    return one == other


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
