"""Text from elsewhere, made harmless for a terminal: what would act on it is shown instead of sent."""

from __future__ import annotations

import re
import unicodedata

from rich.text import Text

_LONGEST = 300
"""Characters of a value in a table; `ids` are never cut."""
_VISIBLE_DIGITS = 4
_SHORTEST_TO_SHOW = 8
"""A number with fewer digits would be known from its last four."""
# In JSON, all but ASCII can only stand inside of strings, where \u.... is the same character.
_BEYOND_ASCII = re.compile(r"[^\x20-\x7e]")
_LINE_ENDS = re.compile(r"[\r\n\t]")


def printable(text: str) -> str:
    r"""Show control characters, escapes, bidi overrides, line separators and lone surrogates, as in ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(character if _is_harmless(character) else _escape(character) for character in text)


def printable_lines(text: str) -> str:
    """Make text of several lines harmless; its line ends stay."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(json: str) -> str:
    """Make JSON harmless and one line of it. It stays the same value: strings hold the escapes of JSON itself."""
    json = _LINE_ENDS.sub(" ", json)  # only white space between values: inside of strings they must be escaped
    return json if json.isprintable() else _BEYOND_ASCII.sub(_escape_in_json, json)


def cell(value: str | None, style: str = "") -> Text:
    """A table cell: harmless, no markup, no more than some hundred characters; folded where it is too wide."""
    shown = printable(value or "-")
    return Text(shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}...", style, overflow="fold")


def id_cell(value: str | None, style: str = "") -> Text:
    """A table cell with an id in its full length."""
    return Text(printable(value or "-"), style, overflow="fold")


def phone_number(number: str | None, *, masked: bool) -> str | None:
    """A phone number to be shown: whole, or its last digits."""
    if number is None or not masked:
        return number
    digits = [character for character in number if character.isdigit()]
    return "..." + "".join(digits[-_VISIBLE_DIGITS:] if len(digits) >= _SHORTEST_TO_SHOW else ())


def _is_harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # spaces of all widths


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _escape_in_json(found: re.Match[str]) -> str:
    character = found[0]
    if _is_harmless(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
