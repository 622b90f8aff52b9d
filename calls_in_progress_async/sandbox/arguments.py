"""The arguments of a request, and the API reference's errors for invalid ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl

import attrs

from ..organization import Organization
from .payloads import Fields, encode

Spelling = Literal["any", "lower", "capitalized"]

BLANK = "can't be blank"
_PHONE_NUMBERS = ("calling_phone_number", "destination_phone_number")
# The API reference: a calling number has twelve characters such as 866-555-1234, a destination number up to 20 of
# digits and `- # * x ,`. A leading space is a bare `+` of the query, so it starts no phone number.
_PHONE_NUMBER = re.compile(r"[+(#*\d][\d ().#*x,-]*")
_SPELLINGS: Mapping[Spelling, tuple[str, ...]] = {
    "lower": ("network", "advertiser"),
    "capitalized": ("Network", "Advertiser"),
    "any": ("network", "advertiser", "Network", "Advertiser"),
}


class ArgumentsInvalid(Exception):
    """The arguments of a request are invalid: a 403.

    Attributes:
        errors: Lists of errors, by argument.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(errors)
        self.errors: dict[str, list[str]] = {name: [error] for name, error in errors.items()}


@attrs.frozen(kw_only=True)
class Changes:
    """The changes of an update.

    Attributes:
        external_unique_id: The new id, or `None` to leave it.
        custom_data: Values to write, by name.
    """

    external_unique_id: str | None
    custom_data: Mapping[str, str]


def parse_query(query: str) -> dict[str, str]:
    """Return the arguments of a query string: the last of repeated ones, and none without a value."""
    return {name: value for name, value in parse_qsl(query) if value.strip()}


def named_organization(query: Mapping[str, str], spelling: Spelling) -> Organization:
    """Return the organization of a query; every request needs its id and its type.

    Raises:
        ArgumentsInvalid: One of the two is missing or malformed.
    """
    errors = {name: BLANK for name in ("id", "organization_type") if name not in query}
    number, kind = query.get("id", ""), query.get("organization_type", "")
    if "id" not in errors and not (number.isascii() and number.isdigit()):
        errors["id"] = "is not a number"
    if "organization_type" not in errors and kind not in _SPELLINGS[spelling]:
        errors["organization_type"] = "is not included in the list"
    if errors:
        raise ArgumentsInvalid(errors)
    try:
        return Organization(number, kind)
    except ValueError:  # 0, or too large for a key of a database
        raise ArgumentsInvalid({"id": "is invalid"}) from None


def check_find(query: Mapping[str, str]) -> None:
    """Check the filters of a find.

    Raises:
        ArgumentsInvalid: A phone number came without the other, or is malformed.
    """
    given = [name for name in _PHONE_NUMBERS if name in query]
    errors = {name: BLANK for name in _PHONE_NUMBERS if given and name not in query}
    errors |= {name: "is invalid" for name in given if not _PHONE_NUMBER.fullmatch(query[name])}
    if errors:
        raise ArgumentsInvalid(errors)


def filters(query: Mapping[str, str]) -> dict[str, str]:
    """Return the filters of a query: fields of a call and their required values."""
    names = ("transaction_id", "external_unique_id", *_PHONE_NUMBERS)
    return {name: query[name] for name in names if name in query}


def matches(fields: Fields, wanted: Mapping[str, str]) -> bool:
    """Return True if a call has all of these values, in any format of the phone numbers."""
    return all(
        _e164(fields[name] or "") == _e164(value) if name in _PHONE_NUMBERS else fields[name] == value
        for name, value in wanted.items()
    )


def _e164(phone_number: str) -> str:
    """Convert a phone number to E.164 from any format of the later pages.

    They are 800-555-1234, 8005551234, 18005551234 and +18005551234. Other text stays unchanged.
    """
    bare = re.sub(r"[ ().-]", "", phone_number)
    digits = bare.removeprefix("+")
    if not digits.isdigit():
        return bare
    if bare == digits and len(digits) == 10:
        return f"+1{digits}"
    return f"+{digits}"


def check_update(query: Mapping[str, str]) -> None:
    """Check that an update names its call.

    Raises:
        ArgumentsInvalid: Both ids are missing.
    """
    names = ("transaction_id", "external_unique_id")
    if not any(name in query for name in names):
        raise ArgumentsInvalid(dict.fromkeys(names, BLANK))


def parse_changes(body: bytes, content_type: str) -> Changes:
    """Return the changes in the body of an update.

    Raises:
        ArgumentsInvalid: The body is not JSON of the documented form, or changes nothing.
    """
    call = _call_in_progress(body, content_type)
    external_unique_id = call.get("external_unique_id", None)
    custom_data = _custom_data(call.get("custom_data", []))
    if "external_unique_id" in call and not (isinstance(external_unique_id, str) and external_unique_id.strip()):
        raise ArgumentsInvalid({"external_unique_id": BLANK})
    if external_unique_id is None and not custom_data:
        raise ArgumentsInvalid({"call_in_progress": BLANK})
    return Changes(external_unique_id=external_unique_id, custom_data=custom_data)


def _call_in_progress(body: bytes, content_type: str) -> dict[str, Any]:
    try:
        document = json.loads(body) if content_type.partition(";")[0].strip() == "application/json" else None
        encode(document)  # rejects a lone surrogate, because no response could carry it
    except (ValueError, RecursionError):
        document = None
    call = document.get("call_in_progress") if isinstance(document, dict) else None
    if not isinstance(call, dict):
        raise ArgumentsInvalid({"call_in_progress": BLANK})
    return call


def _custom_data(entries: Any) -> dict[str, str]:
    """Return custom data by name, from the documented list of `{"name": ..., "value": ...}`."""
    written: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        name, value = (entry.get("name"), entry.get("value")) if isinstance(entry, dict) else (None, None)
        # "Additions and updates only, no removal", so no null.
        if not (isinstance(name, str) and name.strip() and isinstance(value, str)):
            raise ArgumentsInvalid({"custom_data": "is invalid"})
        written[name] = value
    return written
