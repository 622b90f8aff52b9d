"""Redaction: no error carries the token or a phone number, as a server may write them.

There is a limit: a number passes if different letters stand between its digits, other than between groups of 3, 3 and 4
digits, or if it is encoded as a whole, such as in base64. Ids with letters would otherwise be lost.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_MIN_DIGITS = 7
"""Digits in a row, separators aside, that may be a phone number."""
_MIN_PREFIX = 6
"""Characters that identify a token anywhere in a text. Texts are cut off, so the rest of the token may be missing."""
# A shorter token counts as a word only: not the t of "the", "can't" or "t-shirt", but the t of "%20t" and "\nt".
_BEFORE = r"(?:(?<![\w\\])(?<!\w['-])|(?<=%[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\[a-z]))"
_AFTER = r"(?!\w|['-]\w)"

_HTML_NAMES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot"}
"""The characters that HTML escapes by name."""

# The package's own words. The vendor's support asks for an error handle.
_KEPT = re.compile(r"\AHTTP \d{3}\b|error handle \d+|larger than \d+ bytes")
_MAYBE_DIGIT = re.compile(r"[0-9%\\&]|[^\x00-\x7f]")
"""A digit, or the first character of one that is escaped or of another script."""
_PHONE_NUMBER = re.compile(
    rf"0(?: *0){{{_MIN_DIGITS - 1},}}|0{{1,5}}(?P<separator>[^0\n]{{1,12}}?)0{{1,5}}(?:(?P=separator)0{{1,5}})+"
    r"|(?<!0)0{3}[^0\n]{1,24}0{3}[^0\n]{1,24}0{4}(?!0)"
)
"""A possible phone number in the alphabet of `_kind`: digits with any separators except letters between them, or groups
of digits with the same separator between all of them, letters included, or groups as of a number of North America, such
as ``area=530&exchange=999&line=1234``."""
_ESCAPED = re.compile(
    r"(?:(?:%(?:25)*|\\+x)(?P<octet>[0-9A-Fa-f]{2})|\\+u(?P<json>[0-9A-Fa-f]{4})"
    r"|&#(?P<decimal>[0-9]{1,7});|&#[xX](?P<html>[0-9A-Fa-f]{1,6});|&[a-z]{2,8};|\\[abfnrtv])"
)


def redact(value: Any, token: str, *, digits: bool = True) -> Any:
    """Replace the token and phone numbers in a text, or in all texts of a list, tuple or mapping.

    Args:
        value: The text, or a collection of texts.
        token: The token; "" if none was sent. Found as it is, percent-encoded, and escaped as in JSON or HTML. A
            token of fewer than 6 characters is found only as a word of its own.
        digits: True if the text may hold a phone number: 7 digits or more with any separators between them, or with
            the same letters between all, or groups of 3, 3 and 4, each character as it is or escaped.
    """
    if isinstance(value, str):
        text = _token_pattern(token).sub("[token]", value) if token else value
        return _redact_phone_numbers(text) if digits else text
    if isinstance(value, dict):
        return {redact(name, token): redact(each, token) for name, each in value.items()}
    return type(value)(redact(each, token) for each in value) if type(value) in (tuple, list) else value


def _redact_phone_numbers(text: str) -> str:
    if len(_MAYBE_DIGIT.findall(text)) < _MIN_DIGITS:
        return text
    kept = [match.span() for match in _KEPT.finditer(text)]
    kinds, starts, ends = "", [], []
    for start, end, character in _characters(text):
        kinds += "\n" if any(first <= start < last for first, last in kept) else _kind(character)
        starts.append(start)
        ends.append(end)
    parts, position = [], 0
    for match in _PHONE_NUMBER.finditer(kinds):
        if match[0].count("0") < _MIN_DIGITS:
            continue
        parts += [text[position : starts[match.start()]], "[digits]"]
        position = ends[match.end() - 1]
    return "".join(parts) + text[position:]


def _kind(character: str) -> str:
    """Return "0" for a digit of any script, a letter as it is, and " " for everything else."""
    if character.isdigit():
        return "0"
    return character if character.isalpha() else " "


def _characters(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield each character as it was meant, with the start and end of its written form."""
    position = 0
    while position < len(text):
        match = _ESCAPED.match(text, position) if text[position] in "%\\&" else None
        if match is None:
            yield position, position + 1, text[position]
            position += 1
        elif match["octet"]:
            end, character = _octet_character(text, match)
            yield position, end, character
            position = end
        else:
            end, character = _meant(text, match)
            yield position, end, character
            position = end


def _octet_character(text: str, match: re.Match[str]) -> tuple[int, str]:
    """Decode one character of UTF-8 in escaped octets; return the end of its written form, and the character."""
    octets, end = bytes([int(match["octet"], 16)]), match.end()
    while True:
        try:
            return end, octets.decode()
        except UnicodeDecodeError:
            following = _ESCAPED.match(text, end)
            if len(octets) == 4 or following is None or not following["octet"]:
                return match.end(), chr(octets[0])  # a code point, as in Python's "\\xa0"
            octets, end = octets + bytes([int(following["octet"], 16)]), following.end()


def _meant(text: str, match: re.Match[str]) -> tuple[int, str]:
    """Decode one character of JSON or HTML; return the end of its written form, and the character."""
    end = match.end()
    if decimal := match["decimal"]:
        code = int(decimal)
    elif digits := match["json"] or match["html"]:
        code = int(digits, 16)
    else:
        return end, " "  # a named character such as &nbsp; or \t is neither a digit nor likely a letter
    if match["json"] and 0xD800 <= code < 0xDC00:  # the first half of a pair (RFC 8259, section 7)
        second = _ESCAPED.match(text, end)
        if second is not None and second["json"] and 0xDC00 <= int(second["json"], 16) < 0xE000:
            code = 0x10000 + ((code - 0xD800) << 10) + int(second["json"], 16) - 0xDC00
            end = second.end()
    return end, chr(code) if code <= sys.maxunicode else "?"


@lru_cache(maxsize=128)
def _token_pattern(token: str) -> re.Pattern[str]:
    """Make the pattern of a token in a text."""
    written = "".join(_written(character) for character in token[:_MIN_PREFIX])
    return re.compile(rf"{written}\S*" if len(token) >= _MIN_PREFIX else f"{_BEFORE}{written}{_AFTER}")


def _written(character: str) -> str:
    """Make the pattern of a character in every form in which a server may write it."""
    code = ord(character)
    as_hex = f"(?i:{code:02x})"
    itself = re.escape(character) if character.isalnum() else rf"\\*{re.escape(character)}"
    named = f"&{name};" if (name := _HTML_NAMES.get(character)) else itself
    return rf"(?:{itself}|{named}|%(?:25)*{as_hex}|\\+u00{as_hex}|\\+x{as_hex}|&#(?:0*{code}|[xX]0*{as_hex});)"
