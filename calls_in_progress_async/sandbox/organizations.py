"""Organizations as arguments of the sandbox."""

from __future__ import annotations

from .. import validation
from ..organization import Organization


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
