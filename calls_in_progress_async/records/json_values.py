"""JSON values in Python: their names, their text, and the nearest value that JSON can hold. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

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


def json_ready(value: Any) -> Any:
    """Replace times by text, and values without a place in JSON by the nearest one."""
    if isinstance(value, Mapping):
        return {json_ready(str(key)): json_ready(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(each) for each in value]
    if isinstance(value, str):
        return json_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
