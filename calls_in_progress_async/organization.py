"""An organization of the API: a network or an advertiser."""

from __future__ import annotations

from functools import total_ordering
from typing import Any

from attrs import field, frozen

from . import validation

_LARGEST_ID = 2**63 - 1
"""The largest signed 64-bit integer, the widest key that databases have."""


def _to_id(value: Any) -> int:
    """Convert an organization's id: a positive integer, or its digits as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if not validation.is_integer(value) or not 0 < value <= _LARGEST_ID:
        raise validation.unexpected("id", "an integer from 1 to 2^63-1, such as 25", value)
    return int(value)  # the ``str`` of an IntEnum would go to the wire as its name


def _to_type(value: Any) -> str:
    if isinstance(value, str) and value.lower() in ("network", "advertiser"):
        return value.lower()
    raise validation.unexpected("type", '"network" or "advertiser"', value)


@total_ordering
@frozen(cache_hash=True, order=False)
class Organization:
    """An organization of the API: ``Organization(25, "advertiser")``. Organizations sort by type, then by id.

    Raises:
        InvalidRequestError: The id is not a positive integer up to 2^63-1, or the type is neither
            ``network`` nor ``advertiser`` (in any spelling).
    """

    id: int = field(converter=_to_id)
    """The organization's id on the platform."""
    type: str = field(converter=_to_type)
    """``"network"`` or ``"advertiser"``. The client's ``organization_type_case`` spells it on the wire."""

    @classmethod
    def network(cls, id: int | str) -> Organization:  # noqa: A002 - the API's own name
        """Return the network with this id."""
        return cls(id, "network")

    @classmethod
    def advertiser(cls, id: int | str) -> Organization:  # noqa: A002 - the API's own name
        """Return the advertiser with this id."""
        return cls(id, "advertiser")

    @classmethod
    def parse(cls, text: str) -> Organization:
        """Read ``"advertiser:25"``, the ``str`` of an organization.

        Raises:
            InvalidRequestError: The text is not a type, a colon and an id.
        """
        if not isinstance(text, str) or text.count(":") != 1:
            raise validation.unexpected("organization", 'text such as "advertiser:25"', text)
        kind, _, number = text.partition(":")
        return cls(number.strip(), kind.strip())

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Organization):
            return NotImplemented
        return (self.type, self.id) < (other.type, other.id)
