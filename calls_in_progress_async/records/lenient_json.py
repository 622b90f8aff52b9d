"""JSON that a strict parser refuses: by the standard library's, and what is too deep for any parser by cutting.

That is NaN, enormous numbers, lone surrogates, bytes that are not UTF-8, and fields nested a thousand levels or more.
"""

from __future__ import annotations

import json
import re
from typing import Any

_WHITE_SPACE = " \t\r\n"  # RFC 8259, section 2
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_MARKS = re.compile(rf'{_STRING}|".*+|[\[{{]+|[\]}}]+|,', re.DOTALL)
"""What the structure of JSON shows in: strings are among them only to be skipped, the last even where it has no end."""
_NAME = re.compile(rf"({_STRING})[{_WHITE_SPACE}]*:[{_WHITE_SPACE}]*", re.DOTALL)


def parse(body: bytes, lost: list[str]) -> Any:
    """Parse what is nearly JSON.

    Args:
        body: The text. Of an object with fields that are nested too deeply for the parser, these are None; a list of
            such entries is empty.
        lost: Where to put the names of those fields.

    Raises:
        ValueError: It is not JSON.
    """
    text = _text_of(body)
    try:
        return _loads(text)
    except RecursionError:
        return [] if text.startswith("[") else _parse_fields(text, lost)


def fields_of(body: bytes) -> dict[str, str]:
    """The JSON of each field of an object, however deep; nothing where it is not an object.

    Raises:
        ValueError: It is not JSON.
    """
    text = _text_of(body)
    try:
        parsed = _loads(text)
        return {name: json.dumps(value) for name, value in parsed.items()} if isinstance(parsed, dict) else {}
    except RecursionError:
        return cut_fields(text) if text.startswith("{") else {}


def _text_of(body: bytes) -> str:
    return body.decode("utf-8-sig", "replace").strip(_WHITE_SPACE)


def _loads(text: str) -> Any:
    # int() refuses more than 4,300 digits (CVE-2020-10735).
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 400 else float(digits))


def _parse_fields(text: str, lost: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in cut_fields(text).items():
        try:
            values[name] = _loads(value)
        except RecursionError:
            values[name] = None
            lost.append(name)
    return values


def cut_fields(text: str) -> dict[str, str]:
    """Cut an object, however deep, into the JSON of its fields.

    Raises:
        ValueError: It is not JSON.
    """
    fields = {}
    for part in cut(text, "{}"):
        name = _NAME.match(part)
        if name is None:
            raise ValueError("a field has no name")
        fields[str(_loads(name[1]))] = part[name.end() :]
    return fields


def cut(text: str, ends: str) -> list[str]:
    """Cut a list or an object, however deep, into its parts, by brackets and commas alone.

    Args:
        text: Its JSON.
        ends: ``"[]"`` or ``"{}"``.

    Raises:
        ValueError: It is not JSON.
    """
    parts: list[str] = []
    depth, start = 0, 1
    for mark in _MARKS.finditer(text):
        kind = mark[0][0]
        if kind in "[{]}":
            depth += len(mark[0]) if kind in "[{" else -len(mark[0])
        elif kind == "," and depth == 1:
            parts.append(text[start : mark.start()].strip(_WHITE_SPACE))
            start = mark.end()
    if depth or text[:1] != ends[0] or text[-1:] != ends[1]:
        raise ValueError("a bracket is missing")
    last = text[start:-1].strip(_WHITE_SPACE)
    return [*parts, last] if parts or last else []
