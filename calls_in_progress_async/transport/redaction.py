"""What no error may carry, whatever the server says: the token, and what may be a phone number."""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import Any

_DIGITS = re.compile(r"(?<!error handle )(?<!\d)\d(?:[ ().-]{0,3}\d){6,}(?!\d| bytes)")
"""As many digits as a phone number has, however they are grouped. The vendor's support asks for an error handle."""
_ENOUGH = 6
"""Characters by which a token is known wherever they stand, since texts are cut off."""
# A shorter token is a word of its own: not the t of "the", "can't" or "t-shirt", but the one of "%20t" and "\nt".
_BEFORE = r"(?:(?<![\w\\])(?<!\w['-])|(?<=%[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\[a-z]))"
_AFTER = r"(?!\w|['-]\w)"


def redact(value: Any, token: str, *, digits: bool = True) -> Any:
    """Take out of a text, or of all texts in a list, tuple or mapping, what no error may carry.

    Args:
        value: The text, or what holds it.
        token: The token, or nothing where none was sent. It is found as it is, percent-encoded, and escaped as in
            JSON or HTML; one of fewer than 6 characters only as a word of its own.
        digits: Whether a phone number may be in it.
    """
    if isinstance(value, str):
        text = _looks(token).sub("[token]", value) if token else value
        return _DIGITS.sub("[digits]", text) if digits else text
    if isinstance(value, dict):
        return {redact(name, token): redact(each, token) for name, each in value.items()}
    return type(value)(redact(each, token) for each in value) if type(value) in (tuple, list) else value


@lru_cache(maxsize=128)
def _looks(token: str) -> re.Pattern[str]:
    """What a token looks like in a text."""
    written = "".join(_written(character) for character in token[:_ENOUGH])
    return re.compile(rf"{written}\S*" if len(token) >= _ENOUGH else f"{_BEFORE}{written}{_AFTER}")


def _written(character: str) -> str:
    """All that a server may make of a character."""
    code = ord(character)
    as_hex = f"(?i:{code:02x})"
    itself = re.escape(character) if character.isalnum() else rf"\\*{re.escape(character)}"
    named = re.escape(html.escape(character))
    return rf"(?:{itself}|{named}|%(?:25)*{as_hex}|\\+u00{as_hex}|\\+x{as_hex}|&#(?:0*{code}|[xX]0*{as_hex});)"
