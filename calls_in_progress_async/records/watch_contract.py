"""Temporary: names of the codec that the watch imports, until both areas are merged."""

from __future__ import annotations

from typing import Any

from .bodies import split, split_tolerantly, try_decode_all
from .call import Call, meaning, structure_call
from .codec import Part as Record
from .codec import (
    PayloadError,
    decode_or_structure,
    msgspec,  # type: ignore[attr-defined]
)

__all__ = ["Record", "meaning", "split", "split_tolerantly", "structure", "try_decode_all"]


def structure(kind: Any, payload: bytes, path: str, *, strict: bool) -> Any:
    """Turn the JSON of one record into the record."""
    if kind is Call:
        return structure_call(payload, path, strict=strict)
    record, problems = decode_or_structure(kind, payload, path)
    for each in msgspec.structs.fields(kind):
        if getattr(record, each.name) == "":
            msgspec.structs.force_setattr(record, each.name, None)
    if strict and problems:
        raise PayloadError(problems[0].path, problems[0].reason)
    return record
