"""Members of a body that report an error, beside the calls or in place of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .codec import ABSENT, PayloadError, parse_json

_NAMES = ("error", "errors", "status", "success")
KEYS = tuple(spelling for name in _NAMES for spelling in (name, name.capitalize(), name.upper()))
"""The keys of these members. The vendor writes ``error`` and ``errors``; the others are common elsewhere."""
_FAILED = frozenset({"error", "errors", "fail", "failed", "failure"})
"""The values of ``status`` for an error."""
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
    if name == "status":
        return isinstance(value, str) and value.lower() in _FAILED
    return value is False if name == "success" else bool(value)
