"""Members of a body that report an error, beside the calls or in place of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .codec import ABSENT, PayloadError, parse_json
from .json_values import json_text

_NAMES = ("error", "errors", "status", "success")
KEYS = tuple(spelling for name in _NAMES for spelling in (name, name.capitalize(), name.upper()))
"""The keys of these members. The vendor writes ``error`` and ``errors``; the others are common elsewhere."""
_FAILED = {
    "status": re.compile(r"errors?|fail(ed|ure)?|[45]\d\d", re.IGNORECASE | re.ASCII),
    "success": re.compile("false|no|0", re.IGNORECASE),
}
"""The values of ``status`` and ``success`` for an error, as text or as another scalar."""
_LONGEST_EMPTY = 1000
"""Bytes of a member that may be no error after all, such as ``[]`` with white space."""


class ReportedError(PayloadError):
    """The body reports an error."""


def refuse_reported_error(members: Iterable[tuple[str, Any]]) -> None:
    """Raise if any member reports an error.

    Args:
        members: Keys of the body with the JSON of their values, or with `ABSENT`.

    Raises:
        ReportedError: A member reports an error, so the body does not say which calls there are.
    """
    for key, value in members:
        if key in KEYS and value is not ABSENT and _is_error(key.lower(), bytes(value)):
            raise ReportedError(key, "reports an error")


def _is_error(name: str, payload: bytes) -> bool:
    if len(payload) > _LONGEST_EMPTY:
        return True
    value = parse_json(payload)
    if name in _FAILED:
        return bool(_FAILED[name].fullmatch(json_text(value) or ""))
    return bool(value)
