"""Whose calls are meant: a network or an advertiser."""

from __future__ import annotations

from typing import Any  # noqa: F401 - attrs copies the annotation of a converter

from attrs import field, frozen

from . import validation


@frozen(cache_hash=True)
class Organization:
    """An organization of the API: ``Organization(25, "advertiser")``.

    Raises:
        InvalidRequestError: The id is not a positive integer up to 2^63-1, or the type is neither
            ``network`` nor ``advertiser`` (in any spelling).
    """

    id: int = field(converter=validation.organization_id)
    """The organization's id on the platform."""
    type: str = field(converter=validation.organization_type)
    """``"network"`` or ``"advertiser"``. How it is spelled on the wire is a setting of the client."""

    @classmethod
    def network(cls, id: int | str) -> Organization:  # noqa: A002 - the API's own name
        """The network with this id."""
        return cls(id, "network")

    @classmethod
    def advertiser(cls, id: int | str) -> Organization:  # noqa: A002 - the API's own name
        """The advertiser with this id."""
        return cls(id, "advertiser")

    @classmethod
    def parse(cls, text: str) -> Organization:
        """Read ``"advertiser:25"``, which is what `str` makes of an organization.

        Raises:
            InvalidRequestError: The text is not a type, a colon and an id.
        """
        if not isinstance(text, str) or text.count(":") != 1:
            raise validation.invalid("organization", f'{validation.describe(text)} is not written as "advertiser:25"')
        kind, _, number = text.partition(":")
        return cls(number.strip(), kind.strip())

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"
