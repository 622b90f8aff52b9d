"""Text from elsewhere, made fit for a page: bounded, visible, and without a caller's number."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 200
"""Characters of one value on the page."""
_VISIBLE_DIGITS = 4
_SHORTEST_TO_SHOW = 8
"""A number with fewer digits could be guessed from its last four."""
_SHORTEST_TO_FIND = 5
"""Fewer digits than this would be found in ids and dates too."""
_NATIONAL_DIGITS = 10
"""Digits of a number without its country code, as people write a number of North America."""
_SEPARATORS = r"[ ().\-/]{0,3}"
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
_DIRECTION_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str) -> str:
    r"""Shorten text, and spell out control characters, direction overrides and lone surrogates, as in ``\x1b``.

    Right-to-left text stays as it is: the page isolates the direction of every value.
    """
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return shown if shown.isprintable() else "".join(map(_spell, shown))


def _spell(character: str) -> str:
    if character in _DIRECTION_OVERRIDES or unicodedata.category(character) in _HIDDEN_CATEGORIES:
        return character.encode("unicode_escape").decode("ascii")
    return character


def masked(number: str) -> str:
    """Keep the last four digits of a phone number with at least eight digits, and none of a shorter one."""
    digits = [character for character in number if character.isdigit()]
    return "…" + "".join(digits[-_VISIBLE_DIGITS:] if len(digits) >= _SHORTEST_TO_SHOW else ())


def without_number(text: str, number: str | None) -> str:
    """Mask a caller's number wherever a text repeats it, with or without country code and separators."""
    digits = [character for character in number or "" if character.isdigit()]
    if len(digits) < _SHORTEST_TO_FIND or sum(map(str.isdigit, text)) < min(len(digits), _NATIONAL_DIGITS):
        return text
    country, national = digits[:-_NATIONAL_DIGITS], digits[-_NATIONAL_DIGITS:]
    prefix = rf"(?:\+?{_SEPARATORS.join(country)}{_SEPARATORS})?" if country else ""
    return re.sub(rf"(?<!\d){prefix}{_SEPARATORS.join(national)}(?!\d)", masked(number or ""), text)
