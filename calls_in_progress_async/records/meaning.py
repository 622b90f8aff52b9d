"""The content of a payload in a canonical form, so that two spellings of the same call compare as equal. Pure."""

from __future__ import annotations

import json
from typing import Any

from .codec import PayloadError, parse_json
from .custom_data import DEMOGRAPHICS
from .json_values import flag_of, json_text

_ONLY_TEXT = frozenset({str})
_TEXT_OR_BOOLEAN = frozenset({str, bool})
_KEY_PRESSES = ("keypresses", "key presses")
"""The two keys of one field: each counts only beside the other."""
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
    return _canonical(values, documented)


def same(one: bytes, other: bytes, documented: frozenset[str]) -> bool:
    """Return True exactly if two payloads have the same canonical form, in about half the time of making both."""
    if one == other:
        return True
    try:
        values, others = parse_json(one), parse_json(other)
    except PayloadError:
        return canonical(one, documented) == canonical(other, documented)
    if isinstance(values, dict) and isinstance(others, dict):
        _drop_equal_texts(values, others)
        if isinstance(values.get("custom_data"), dict) and isinstance(others.get("custom_data"), dict):
            _drop_equal_entries(values["custom_data"], others["custom_data"])
    return _canonical(values, documented) == _canonical(others, documented)


def _drop_equal_texts(values: dict[str, Any], others: dict[str, Any]) -> None:
    get = others.get
    for key in [key for key, value in values.items() if value.__class__ is str and get(key) == value]:
        if key not in _KEY_PRESSES:
            del values[key], others[key]


def _drop_equal_entries(entries: dict[str, Any], others: dict[str, Any]) -> None:
    get = others.get
    for name in [name for name, entry in entries.items() if get(name) == entry]:
        if _is_simple(entries[name]) and _is_simple(others[name]):
            del entries[name], others[name]


def _is_simple(entry: Any) -> bool:
    """Return True for an object of texts and booleans, since 1 equals True and means another thing."""
    return entry.__class__ is dict and _TEXT_OR_BOOLEAN.issuperset(map(type, entry.values()))


def _canonical(values: Any, documented: frozenset[str]) -> object:
    if not isinstance(values, dict):
        return (_encode(values),)
    for key in [key for key, value in values.items() if value.__class__ is not str or not value]:
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
    return (("true" if value else "false") if isinstance(value, bool) else _encode(value),)


def _canonical_custom_data(value: Any) -> object:
    if isinstance(value, list) and all(isinstance(each, dict) and "name" in each for each in value):
        value = {json_text(each["name"]): {**each, "name": None} for each in value}
    if not isinstance(value, dict):
        return _wrap(value)
    entries = {name: each if _is_plain(each) else _canonical_entry(each, name) for name, each in value.items()}
    return {name: entry for name, entry in entries.items() if entry}


def _is_plain(entry: Any) -> bool:
    """Return True if an entry is canonical as it is, as nearly all are: an object of texts, none of them empty."""
    return entry.__class__ is dict and "" not in entry.values() and _ONLY_TEXT.issuperset(map(type, entry.values()))


def _canonical_entry(entry: Any, name: str | None) -> object:
    """Put a custom field or the demographics into the canonical form; a demographic boolean is no text."""
    if not isinstance(entry, dict):
        return entry if entry is None or entry == "" else _wrap(entry)
    return {
        key: value if value.__class__ is str else _canonical_text(value, booleans=name == DEMOGRAPHICS)
        for key, value in entry.items()
        if value is not None and value != ""
    }


def _canonical_text(value: Any, *, booleans: bool) -> object:
    text = None if booleans and isinstance(value, bool) else json_text(value)
    return _wrap(value) if text is None else text
