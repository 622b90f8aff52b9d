"""Text from elsewhere, made fit for a page: bounded and visible."""

from __future__ import annotations

import unicodedata

_LONGEST = 200
"""Characters of one value on the page."""
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
