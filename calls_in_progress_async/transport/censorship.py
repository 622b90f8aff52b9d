"""What no error may carry, whatever the server says: the token, and what may be a phone number."""

from __future__ import annotations

import re
from typing import Any

_DIGITS = re.compile(r"(?<!error handle )(?<!\d)\d{7,}(?!\d| bytes)")
"""As many digits as a phone number has. The vendor's support asks for an error handle."""


def censor(value: Any, token: str, *, digits: bool = True) -> Any:
    """Take out of a text, or of all texts in a tuple or mapping, what no error may carry.

    Args:
        value: The text, or what holds it.
        token: The token. Its first 6 characters are enough, since texts are cut off.
        digits: Whether a phone number may be in it.
    """
    if isinstance(value, str):
        text = re.sub(rf"{re.escape(token[:6])}\S*", "[token]", value) if len(token) > 5 else value
        return _DIGITS.sub("[digits]", text) if digits else text
    if isinstance(value, dict):
        return {censor(name, token): censor(each, token) for name, each in value.items()}
    return tuple(censor(each, token) for each in value) if type(value) is tuple else value
