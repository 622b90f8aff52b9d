"""Text from elsewhere, made harmless for a terminal: active characters are shown instead of sent."""

from __future__ import annotations

import re
import unicodedata

from rich.cells import cell_len, set_cell_size
from rich.text import Text

_LONGEST = 300
"""Characters of a description in a table. Ids are never cut."""
# In JSON, characters beyond ASCII stand inside strings only, and \u.... is the same character there.
_BEYOND_ASCII = re.compile(r"[^\x20-\x7e]")
_LINE_ENDS = re.compile(r"[\r\n\t]")
_STRING_OR_NOT_A_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*+"|-?\bInfinity\b|\bNaN\b', re.DOTALL)


def printable(text: str) -> str:
    r"""Show control characters, escapes, bidi overrides, line separators and lone surrogates, as in ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(character if _is_harmless(character) else _escape(character) for character in text)


def printable_lines(text: str) -> str:
    """Make text of several lines harmless; its line ends stay."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    """Make JSON harmless and one line, with the same value: strings hold JSON's own escapes.

    NaN and Infinity become null, because JSON has no such numbers.
    """
    text = _LINE_ENDS.sub(" ", text)  # only white space between values: inside strings they must be escaped
    if "NaN" in text or "Infinity" in text:
        text = _STRING_OR_NOT_A_NUMBER.sub(lambda found: found[0] if found[0][0] == '"' else "null", text)
    return text if text.isprintable() else _BEYOND_ASCII.sub(_escape_in_json, text)


def cell(value: str | None, width: int | None = None) -> Text:
    """Make a table cell with a description: harmless, no markup, one line.

    Args:
        value: The text; None or nothing shows as ``-``.
        width: Characters to shorten it to, in the middle: names of campaigns differ at both ends.
    """
    shown = printable(value or "-")
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
    return Text(shown if width is None else _shorten(shown, width), end="", no_wrap=True, overflow="ellipsis")


def _shorten(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    head = set_cell_size(text, width // 2).rstrip()
    tail = text[-(width - width // 2 - 1) :]
    while cell_len(tail) > width - cell_len(head) - 1:  # letters of two columns
        tail = tail[1:]
    return f"{head}\u2026{tail}"


def id_cell(value: str | None) -> Text:
    """Make a table cell with an id, in its full length and on one line."""
    return Text(printable(value or "-"), end="", no_wrap=True, overflow="ignore")


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
