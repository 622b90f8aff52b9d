"""Callers' phone numbers, masked down to their last digits."""

from __future__ import annotations

import re

_VISIBLE_DIGITS = 4
_SHORTEST_TO_SHOW = 8
"""A number with fewer digits would be known by its last four."""
# A date comes first, because its digits would pass for a number. Nine digits are the shortest number with an area code;
# a shorter run after a "+" is an international number. A comma and a blank separate two numbers.
_GROUPING = r"(?:(?!, )[^A-Za-z0-9:;]){0,3}"
_DATE_OR_NUMBER = re.compile(
    r"(?P<date>\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d\S*)?)"
    rf"|(?<![A-Za-z0-9.])(?:\+(?:{_GROUPING}\d){{7,}}|\(?\d(?:{_GROUPING}\d){{8,}}(?![A-Za-z0-9]))"
)


def phone_number(number: str | None, *, masked: bool) -> str | None:
    """Return a phone number to show: whole, or its last digits."""
    if number is None or not masked:
        return number
    digits = [character for character in number if character.isdigit()]
    return "..." + "".join(digits[-_VISIBLE_DIGITS:] if len(digits) >= _SHORTEST_TO_SHOW else ())


def mask_numbers(text: str) -> str:
    """Mask everything in a text with the form of a phone number."""
    return _DATE_OR_NUMBER.sub(
        lambda found: found[0] if found["date"] else str(phone_number(found[0], masked=True)), text
    )


def field_value(name: str, value: str, *, masked: bool) -> str:
    """Return the value of a call's field to show: masked whole if its name says phone, else its numbers alone."""
    if not masked:
        return value
    return str(phone_number(value, masked=True)) if "phone" in name.lower() else mask_numbers(value)
