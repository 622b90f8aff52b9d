"""Organizations as arguments of the sandbox."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from .. import validation
from ..organization import Organization

_NAMED = 5
"""Organizations listed in an error message."""


def to_organization(value: object) -> Organization:
    """Return an `Organization`, given one or its pair of id and type.

    Raises:
        InvalidRequestError: The value is neither.
    """
    match value:
        case Organization():
            return value
        case (number, str(kind)):
            return Organization(number, kind)
    raise validation.unexpected("organization", 'an Organization such as Organization(2, "advertiser")', value)


def check_known(organization: Organization | None, organizations: Collection[Organization]) -> None:
    """Raise an `InvalidRequestError` for an organization that the sandbox does not have. None is accepted."""
    if organization is None or organization in organizations:
        return
    names = ", ".join(map(str, islice(organizations, _NAMED)))
    more = f" and {len(organizations) - _NAMED} more" if len(organizations) > _NAMED else ""
    raise validation.invalid("organization", f"must be one of {names}{more}, got {organization}")
