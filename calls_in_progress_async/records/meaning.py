"""The content of a payload in a canonical form, so that two spellings of the same call compare as equal. Pure."""

from __future__ import annotations

import json
from typing import Any

from .codec import PayloadError, parse_json
from .custom_data import DEMOGRAPHICS
from .json_values import flag_of, json_text

_ONLY_TEXT = frozenset({str})
_TRUE, _FALSE = ("true",), ("false",)
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def canonical(payload: bytes, documented: frozenset[str]) -> object:
    """Put the JSON of a call into a canonical form, for comparison with ``==``.

    Null, ``""`` and left out are the same, and so are a scalar and its JSON text in a documented field. The order of
    keys, white space and escapes do not count.

    Args:
        payload: The JSON.
        documented: The keys of the fields documented as text.
    """
    try:
        values = parse_json(payload)
    except PayloadError:
        return payload
    if not isinstance(values, dict):
        return (_encode(values),)
    for key in [key for key, value in values.items() if type(value) is not str or not value]:
        value = values.pop(key)
        if value is not None and value != "" and (found := _canonical_value(key, value, documented)):
            values[key] = found
    if (flag := flag_of(values.get("repeat_calling_phone_number"))) is not None:
        values["repeat_calling_phone_number"] = json_text(flag)
    if "key presses" in values:
        values.setdefault("keypresses", values.pop("key presses"))
    return values


def _canonical_value(key: str, value: Any, documented: frozenset[str]) -> object:
    if key == "custom_data":
        return _canonical_custom_data(value)
    text = json_text(value) if key in documented else None
    return _wrap(value) if text is None else text


def _wrap(value: object) -> tuple[str]:
    """Write a value as JSON in a tuple, to tell it from text with the same characters."""
    return (_encode(value),)


def _canonical_custom_data(value: Any) -> object:
    if isinstance(value, list) and all(isinstance(each, dict) and "name" in each for each in value):
        value = {json_text(each["name"]): {**each, "name": None} for each in value}
    if not isinstance(value, dict):
        return _wrap(value)
    # Nearly every entry is canonical as it is: an object of texts, none of them empty.
    for name in [
        name
        for name, entry in value.items()
        if type(entry) is not dict
        or "" in (texts := entry.values())
        or not (texts and _ONLY_TEXT.issuperset(map(type, texts)))
    ]:
        if found := _canonical_entry(value[name], name):
            value[name] = found
        else:
            del value[name]
    return value


def _canonical_entry(entry: Any, name: str | None) -> object:
    """Put a custom field or the demographics into the canonical form; a demographic boolean is no text."""
    if not isinstance(entry, dict):
        return entry if entry is None or entry == "" else _wrap(entry)
    return {
        key: value if type(value) is str else _canonical_text(value, booleans=name == DEMOGRAPHICS)
        for key, value in entry.items()
        if value or (value is not None and value != "")
    }


def _canonical_text(value: Any, *, booleans: bool) -> object:
    if booleans and isinstance(value, bool):
        return _TRUE if value else _FALSE
    text = json_text(value)
    return _wrap(value) if text is None else text
