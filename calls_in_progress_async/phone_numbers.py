"""Phone numbers in E.164: the only module that imports phonenumbers, when a number is first used.

Its metadata takes tens of milliseconds to import, so `load` does it in a thread, off the event loop.
"""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache

from .validation import invalid

_VANITY = re.compile(r"(?P<digits>[^A-Za-z]*\d[^A-Za-z]*)[A-Za-z]{3,}")
"""A number that ends in a word, as in 1-800-FLOWERS."""
_REASONS = {
    1: "its country code is not one that exists",
    2: "it is too short",
    3: "it is too long",
    4: "it can only be dialled locally, add the area code",
    5: "it has a length that no number of its country has",
}


def masked(number: str | None) -> str:
    """Show the end of a caller's phone number, or nothing of a number that is too short."""
    return repr(number if number is None else f"...{number[4:][-2:]}")


async def load() -> None:
    """Import the library in a thread, unless it is imported already."""
    if not _warm.cache_info().currsize:
        await asyncio.to_thread(_warm)


@lru_cache(maxsize=1)
def _warm() -> None:
    e164("phone_number", "+18005551234", region="US", validate="valid")


@lru_cache(maxsize=4096)
def e164(parameter: str, number: str, *, region: str, validate: str) -> str:
    """Write a phone number as E.164.

    Args:
        parameter: The name to use in an error.
        number: The number in any common format, with ``+`` and a country code, or as dialled in ``region``.
        region: Two letters, the country of numbers without a ``+``.
        validate: ``"possible"`` checks the length, ``"valid"`` the number ranges too. ``"off"`` checks nothing and
            passes the text on unchanged.

    Raises:
        InvalidRequestError: The number cannot be read, is impossible or is not valid. The number is not shown.
    """
    if validate == "off":
        return number
    import phonenumbers  # noqa: PLC0415 - imported when used: see above

    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException as error:
        reason = str(error).partition(") ")[2]  # follows the number of the error's type
        raise invalid(parameter, f"cannot be read as a phone number: {reason}") from None
    if parsed.extension:
        raise invalid(parameter, "has an extension, which the API cannot match, leave it out")
    if any(map(str.isalpha, number)) and not _is_vanity_number(number, region):
        raise invalid(parameter, "holds letters, pass the number alone (a word may complete it: 1-800-FLOWERS)")
    verdict = phonenumbers.is_possible_number_with_reason(parsed)
    if verdict != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise invalid(parameter, f"is not a possible phone number: {_REASONS.get(verdict, 'its length is wrong')}")
    if validate == "valid" and not phonenumbers.is_valid_number(parsed):
        raise invalid(parameter, "is not a valid phone number: no such range is in use in its country")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _is_vanity_number(number: str, region: str) -> bool:
    """Return True if one word at the end completes a number that is too short without the word.

    The phone number library turns the letters of any text into digits: "030 123456 (Praxis)" would be a number of 15
    digits.
    """
    import phonenumbers  # noqa: PLC0415 - imported when used: see above

    match = _VANITY.fullmatch(number.strip())
    if match is None or any(map(str.isalpha, match["digits"])):
        return False
    try:
        return not phonenumbers.is_possible_number(phonenumbers.parse(match["digits"], region))
    except phonenumbers.NumberParseException:
        return True  # too short to be read
