"""Loose JSON, rejected by a strict parser and read by the standard library's.

Loose JSON holds NaN, enormous numbers, lone surrogates or bytes outside UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_WHITE_SPACE = re.compile(r"[ \t\r\n]*")  # RFC 8259, section 2


def _parse_int(digits: str) -> int | float:
    # int() refuses more than 4,300 digits (CVE-2020-10735).
    return int(digits) if len(digits) < 400 else float(digits)


_decoder = json.JSONDecoder(parse_int=_parse_int)


def parse(body: bytes) -> object:
    """Parse nearly any JSON.

    Raises:
        ValueError: The body is not JSON.
        RecursionError: The body is nested too deeply.
    """
    return _decoder.decode(body.decode("utf-8-sig", "replace"))


def cut_entries(window: bytes, most: int) -> tuple[list[bytes], int]:
    """Cut the entries at the beginning of a window on a list into the exact JSON of each, ``most`` at most.

    Returns:
        The entries that end within the window, none if the first does not, and the number of bytes up to the next entry
        or to the end of the list.

    Raises:
        RecursionError: An entry is nested too deeply.
    """
    text = window.decode("utf-8", "surrogateescape")
    entries: list[bytes] = []
    beginning = 0
    while len(entries) < most:
        try:
            _, end = _decoder.raw_decode(text, beginning)
        except ValueError:
            break
        following = _WHITE_SPACE.match(text, end).end()  # type: ignore[union-attr]
        if (mark := text[following : following + 1]) not in {",", "]"}:
            break
        entries.append(text[beginning:end].encode("utf-8", "surrogateescape"))
        beginning = following
        if mark == "]":
            break
        beginning = _WHITE_SPACE.match(text, following + 1).end()  # type: ignore[union-attr]
    return entries, len(text[:beginning].encode("utf-8", "surrogateescape"))


def cut(body: bytes) -> dict[str, bytes | list[bytes]]:
    """Cut an object into the exact JSON of its fields, and each list among them into the JSON of its entries.

    Returns:
        The fields by name; none if the body is anything but an object.

    Raises:
        ValueError: The body is not JSON.
        RecursionError: The body is nested too deeply.
    """
    cutter = _Cutter(body.decode("utf-8-sig", "surrogateescape"))
    fields: dict[str, bytes | list[bytes]] = {}
    if cutter.next_character() != "{":
        cutter.value()
    else:
        for _ in cutter.members("{", "}"):
            name = cutter.name()
            cutter.expect(":")
            fields[name] = cutter.entries() if cutter.next_character() == "[" else cutter.value()
    if cutter.next_character():
        raise ValueError("more follows the JSON")
    return fields


class _Cutter:
    """A position in a text, moved from one JSON value to the next."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def next_character(self) -> str:
        """Skip white space and return the next character; nothing at the end of the text."""
        match = _WHITE_SPACE.match(self._text, self._position)
        self._position = match.end() if match else self._position
        return self._text[self._position : self._position + 1]

    def expect(self, mark: str) -> None:
        if self.next_character() != mark:
            raise ValueError(f"{mark} is missing")
        self._position += 1

    def value(self) -> bytes:
        """Return the JSON of the next value."""
        self.next_character()
        beginning = self._position
        _, self._position = _decoder.raw_decode(self._text, beginning)
        return self._text[beginning : self._position].encode("utf-8", "surrogateescape")

    def name(self) -> str:
        """Return the next text, the name of a field."""
        if self.next_character() != '"':
            raise ValueError("a field has no name")
        return str(json.loads(self.value()))

    def members(self, opening: str, closing: str) -> Iterator[None]:
        """Stop at each member of a list or an object."""
        self.expect(opening)
        if self.next_character() != closing:
            yield
        while self.next_character() == ",":
            self.expect(",")
            yield
        self.expect(closing)

    def entries(self) -> list[bytes]:
        """Return the JSON of each entry of the next list."""
        return [self.value() for _ in self.members("[", "]")]
