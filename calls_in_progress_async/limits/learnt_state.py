"""The limits learnt by an adaptive rate, as JSON-ready values for the next start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from .. import validation
from ..errors import InvalidRequestError

LimitKey: TypeAlias = tuple[str, str]
"""The host and the token."""

_VERSION = 1
"""The version of the exported state's format."""
_A_STATE = "a mapping returned by export_state()"


def digest(limit_key: LimitKey) -> str:
    """Name a host and token without showing the token."""
    return hashlib.blake2b(repr(limit_key).encode(), digest_size=8).hexdigest()


@attrs.frozen
class LearntLimit:
    """The exported state of one host and token."""

    rate: float
    """Requests per second."""
    limit: float | None
    """Requests per second at the last 429; None before the first."""


def write_state(limits: Mapping[str, LearntLimit], most: int) -> dict[str, Any]:
    """Write the last ``most`` learnt limits, by digest, for ``RateLimit.adaptive(state=...)``."""
    newest = list(limits.items())[-most:]
    return {
        "version": _VERSION,
        "limits": {name: {"rate": learnt.rate, "limit": learnt.limit} for name, learnt in newest},
    }


def read_state(state: Any) -> dict[str, LearntLimit]:
    """Read the result of ``export_state()``: the learnt limit of each host and token, by digest.

    Raises:
        InvalidRequestError: The state has another shape or version, or a rate that is no finite number above 0.
    """
    limits = state.get("limits") if isinstance(state, Mapping) else None
    if not isinstance(limits, Mapping):
        raise validation.unexpected("state", _A_STATE, state)
    if type(state.get("version")) is not int or state["version"] != _VERSION:
        raise validation.unexpected("state", f"of version {_VERSION}", state.get("version"))
    return {_checked_name(name): _learnt_limit(name, entry) for name, entry in limits.items()}


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise validation.unexpected("state", f"{_A_STATE}, with texts as the keys of its limits", name)
    return name


def _learnt_limit(name: str, entry: Any) -> LearntLimit:
    if not (isinstance(entry, Mapping) and {"rate", "limit"} <= entry.keys()):
        raise validation.unexpected("state", f"{_A_STATE}, with a rate and a limit in each of its limits", entry)
    try:
        for field in ("rate", "limit"):
            validation.check_number(field, entry[field], "requests per second", above=True, optional=field == "limit")
    except InvalidRequestError as error:
        raise validation.invalid("state", f"is damaged at limits[{validation.describe(name)}]: {error}") from None
    return LearntLimit(float(entry["rate"]), None if entry["limit"] is None else float(entry["limit"]))
