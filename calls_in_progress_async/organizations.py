"""Checks of arguments with many organizations."""

from __future__ import annotations

from collections.abc import AsyncIterable, Collection, Iterable
from typing import Any

from . import validation
from .organization import Organization

_ORGANIZATIONS = "an iterable of Organization, such as [Organization.advertiser(25)]"


def check_organization(value: Any) -> Organization:
    """Return an organization as given.

    Raises:
        InvalidRequestError: The value is something else.
    """
    if isinstance(value, Organization):
        return value
    raise validation.unexpected("organizations", "Organization objects, such as Organization.advertiser(25)", value)


def check_organizations(values: Any) -> Iterable[Organization]:
    """Return an iterable of organizations as given. The entries of a collection are checked, an iterator's are not.

    Raises:
        InvalidRequestError: The value is not an iterable, or an entry is not an organization.
    """
    if isinstance(values, AsyncIterable):
        raise validation.invalid(
            "organizations", f"must be {_ORGANIZATIONS}: collect the async iterable in a list first"
        )
    if isinstance(values, str | bytes | Organization) or not isinstance(values, Iterable):
        raise validation.unexpected("organizations", _ORGANIZATIONS, values)
    if isinstance(values, Collection):
        for value in values:
            check_organization(value)
    return values
