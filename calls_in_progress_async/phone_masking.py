"""Callers' phone numbers for people to see, masked down to their last digits. Pure."""

from __future__ import annotations

import re

_VISIBLE_DIGITS = 4
_SHORTEST_TO_SHOW = 8
"""A number with fewer digits could be guessed from its last four."""
_SHORTEST_TO_FIND = 5
"""Fewer digits than this would be found in ids and dates too."""
_NATIONAL_DIGITS = 10
"""Digits of a number without its country code, as people write a number of North America."""
_SEPARATORS = r"[ ().\-/]{0,3}"
# A date comes first, because its digits would pass for a number. Nine digits are the shortest number with an area code;
# a shorter run after a "+" is an international number. A comma and a blank separate two numbers.
_GROUPING = r"(?:(?!, )[^A-Za-z0-9:;]){0,3}"
_DATE_OR_NUMBER = re.compile(
    r"(?P<date>\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d\S*)?)"
    rf"|(?<![A-Za-z0-9.])(?:\+(?:{_GROUPING}\d){{7,}}|\(?\d(?:{_GROUPING}\d){{8,}}(?![A-Za-z0-9]))"
)


def mask_number(number: str, ellipsis: str = "...") -> str:
    """Keep the last four digits of a phone number with at least eight digits, and none of a shorter one."""
    digits = _digits(number)
    return ellipsis + "".join(digits[-_VISIBLE_DIGITS:] if len(digits) >= _SHORTEST_TO_SHOW else ())


def mask_numbers(text: str) -> str:
    """Mask everything in a text with the form of a phone number."""
    return _DATE_OR_NUMBER.sub(lambda found: found[0] if found["date"] else mask_number(found[0]), text)


def mask_field(name: str, value: str) -> str:
    """Mask a call's field: the whole value if the field's name says phone, else the numbers in the value."""
    return mask_number(value) if "phone" in name.lower() else mask_numbers(value)


def mask_repetitions(text: str, number: str | None, ellipsis: str = "...") -> str:
    """Mask a caller's number wherever a text repeats it, with or without country code and separators."""
    digits = _digits(number or "")
    if len(digits) < _SHORTEST_TO_FIND or len(_digits(text)) < min(len(digits), _NATIONAL_DIGITS):
        return text
    country, national = digits[:-_NATIONAL_DIGITS], digits[-_NATIONAL_DIGITS:]
    prefix = rf"(?:\+?{_SEPARATORS.join(country)}{_SEPARATORS})?" if country else ""
    pattern = rf"(?<!\d){prefix}{_SEPARATORS.join(national)}(?!\d)"
    return re.sub(pattern, mask_number(number or "", ellipsis), text)


def _digits(text: str) -> list[str]:
    return [character for character in text if character.isdigit()]
