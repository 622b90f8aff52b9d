"""Checks of arguments that are many organizations."""

from __future__ import annotations

from collections.abc import AsyncIterable, Collection, Iterable
from typing import Any

from . import validation
from .organization import Organization

_HINT = "pass Organization objects, such as Organization.advertiser(25)"


def check_organization(value: Any) -> Organization:
    """Return an organization as given.

    Raises:
        InvalidRequestError: The value is something else.
    """
    if isinstance(value, Organization):
        return value
    raise validation.invalid("organizations", f"{validation.describe(value)} is not an Organization, {_HINT}")


def check_organizations(values: Any) -> Iterable[Organization]:
    """Return an iterable of organizations as given. The entries of a collection are checked, an iterator's are not.

    Raises:
        InvalidRequestError: The value is not an iterable, or an entry is not an organization.
    """
    if isinstance(values, str | bytes | Organization) or not isinstance(values, Iterable):
        hint = "pass an iterable of organizations, such as [Organization.advertiser(25)]"
        if isinstance(values, AsyncIterable):
            hint = "collect its organizations in a list first"
        raise validation.invalid("organizations", f"{validation.describe(values)} is not an iterable, {hint}")
    if isinstance(values, Collection):
        for value in values:
            check_organization(value)
    return values
