"""JSON values in Python: their names, their text, and the nearest value that JSON can hold. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

MAX_LEVELS = 100
"""Levels of nesting, few enough for every encoder. The API has four."""
_FLAGS = {"true": True, "yes": True, "false": False, "no": False}
_TYPE_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


def type_name(value: object) -> str:
    """Return JSON's name for the type of a value."""
    return _TYPE_NAMES.get(type(value), "a number")


def json_text(value: Any) -> str | None:
    """Return a JSON scalar as text, such as ``"83"`` for 83; None if the value is no scalar."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate could be neither printed nor sent on
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    return None


def flag_of(value: Any) -> bool | None:
    """Return a boolean, or the boolean that a text spells; None for anything else."""
    return value if isinstance(value, bool) else _FLAGS.get(value.lower()) if isinstance(value, str) else None


def cut_deep(value: Any, levels: int = MAX_LEVELS) -> Any:
    """Replace lists and objects nested too deeply by None."""
    if isinstance(value, dict):
        return {key: cut_deep(each, levels - 1) for key, each in value.items()} if levels else None
    if isinstance(value, list):
        return [cut_deep(each, levels - 1) for each in value] if levels else None
    return value


def json_ready(value: Any, levels: int = MAX_LEVELS) -> Any:
    """Replace times by text, values without a place in JSON by the nearest one, and as `cut_deep` does."""
    if isinstance(value, Mapping):
        return {json_ready(str(key)): json_ready(each, levels - 1) for key, each in value.items()} if levels else None
    if isinstance(value, list | tuple):
        return [json_ready(each, levels - 1) for each in value] if levels else None
    if isinstance(value, str):
        return json_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
