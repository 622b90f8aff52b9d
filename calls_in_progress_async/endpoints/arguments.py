"""Checks of the arguments of requests: ids, phone numbers, custom data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import Attribute

from .. import validation
from ..frozen_dict import FrozenDict
from ..organization import Organization

# The field table allows 0-9, A-Z and "-", up to 32 characters; the page's own examples have lower case too.
_TRANSACTION_ID = re.compile(r"[0-9A-Za-z-]{1,32}")
_CONTROL_IN_VALUE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # a value may hold newlines and tabs
_SURROGATE = re.compile(r"[\ud800-\udfff]")

is_organization: validation.Validator = validation.instance(
    Organization, "an Organization, such as Organization.advertiser(25)"
)


def is_transaction_id(_: Any, attribute: Attribute[Any], value: Any) -> None:
    """Check a transaction id, or None."""
    if value is not None and not _TRANSACTION_ID.fullmatch(validation.text(attribute.name, value)):
        raise validation.unexpected(attribute.name, '1 to 32 letters, digits and "-"', value)


def is_optional_text(_: Any, attribute: Attribute[Any], value: Any) -> None:
    """Check an id of the caller's own, or None."""
    if value is not None:
        validation.text(attribute.name, value)


def is_phone_number(_: Any, attribute: Attribute[Any], value: Any) -> None:
    """Check that a phone number is text, or None; the client's settings decide whether the text is a phone number."""
    # The number itself is never shown: it is a caller's.
    if value is None or (isinstance(value, str) and value.strip() and not _SURROGATE.search(value)):
        return
    given = "empty text or no Unicode" if isinstance(value, str) else validation.describe(type(value))
    raise validation.invalid(attribute.name, f'must be text such as "+18005551234", got {given}')


def to_custom_data(value: Any) -> FrozenDict[str, str] | None:
    """Check the names and values of custom data; None or nothing at all is None."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        given = validation.describe(type(value))
        raise validation.invalid("custom_data", f"must be a mapping of names to values, got {given}")
    names = {validation.text("custom_data name", name): _to_value(name, item) for name, item in value.items()}
    return FrozenDict(names) if names else None


def _to_value(name: str, value: Any) -> str:
    # The value itself is never shown: it may be a caller's.
    parameter = f"custom_data[{validation.describe(name)}]"
    if value is None:
        raise validation.invalid(parameter, "cannot be removed (None): the API adds and updates custom data only")
    if not isinstance(value, str):
        raise validation.invalid(parameter, f"must be text, got {validation.describe(type(value))}")
    if not value:
        raise validation.invalid(parameter, "is empty, and the API has no removal; pass text or leave the name out")
    if _CONTROL_IN_VALUE.search(value):
        raise validation.invalid(parameter, "holds a control character other than newline and tab, remove it")
    return validation.encodable(parameter, value)


def show_names(data: Mapping[str, str] | None) -> str:
    """Show the names of custom data: its values may be a caller's."""
    return repr(data and list(data))
