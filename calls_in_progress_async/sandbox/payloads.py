"""Response bodies: a call as each revision of the vendor's page prints it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .revisions import FIND_FIELDS, KNOWN_FIELDS, UPDATE_FIELDS, Revision

Fields = dict[str, Any]
"""A call's fields by the API's names."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=True)


def encode(value: object) -> bytes:
    """Encode a value as compact JSON.

    Raises:
        TypeError: JSON has no form for the value.
        ValueError: The value holds itself, or a lone surrogate.
    """
    return _ENCODER.encode(value).encode()


def found_call(revision: Revision, fields: Fields) -> Fields:
    """Return a call as a find of this revision shows it."""
    return _shown(revision, FIND_FIELDS[revision], fields)


def found_body(revision: Revision, encoded_calls: Iterable[bytes]) -> bytes:
    """Return the body of a find, made of calls in JSON."""
    # The API reference: "the 2022-09 beta page wrote `calls_in_progress` for the same list".
    name = b"calls_in_progress" if revision == "2022-09-beta" else b"current_calls"
    return b'{"%b":[%b]}' % (name, b",".join(encoded_calls))


def updated_body(revision: Revision, fields: Fields, written: Mapping[str, str]) -> bytes:
    """Return the body of an update's response.

    Args:
        revision: The page to follow.
        fields: The call's fields.
        written: The custom data of this update, by name.
    """
    call = _shown(revision, UPDATE_FIELDS[revision], fields)
    if revision in ("2022-09-beta", "2022-09-20"):
        call["custom_data"] = _echo(revision, written)
    if revision.startswith("2022"):
        return encode({"current_call": call})
    return encode({"current_calls": [call]})


def _echo(revision: Revision, written: Mapping[str, str]) -> object:
    """Return custom data as the update examples of the first two pages print it.

    Both echo the written values, the beta as a list; both print `[]` for none. Later pages show nothing of an update:
    "not visible in the update's response nor in later finds".
    """
    source = "CallsInProgressAPI"
    if revision == "2022-09-beta" or not written:
        return [
            {"source": source, "name": name, "value": value, "data_type": "Short Text"}
            for name, value in written.items()
        ]
    return {name: {"value": value, "source": source} for name, value in written.items()}


def _shown(revision: Revision, names: tuple[str, ...], fields: Fields) -> Fields:
    # Every revision shows unknown fields: the API reference says "new ones appear without notice".
    shown = {name: value for name, value in fields.items() if name in names or name not in KNOWN_FIELDS}
    # `demographics_data` came with the page of 2023-04.
    if revision == "2022-09-28" and isinstance(shown.get("custom_data"), dict):
        shown["custom_data"] = {k: v for k, v in shown["custom_data"].items() if k != "demographics_data"}
    return shown
