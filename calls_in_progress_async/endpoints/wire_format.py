"""How requests are spelled on the wire: the settings that all endpoints share."""

from __future__ import annotations

from attrs import field, frozen

from .. import checks
from ..organization import Organization


@frozen(kw_only=True)
class WireFormat:
    """The client's settings that shape a request."""

    api_version: str = field(default="2022-08-01", converter=checks.api_version)
    """The date in the path: the vendor never changed it."""
    organization_type_case: str = field(default="lower", validator=checks.one_of("lower", "capitalized"))
    """The seed documents ``network``; the vendor's page from 2022-09-28 on ``Network``."""
    default_region: str = field(default="US", converter=checks.region)
    """The country of phone numbers that are written without a ``+``."""
    validate_phone_numbers: str = field(default="possible", validator=checks.one_of("possible", "valid", "off"))
    """``"possible"`` because the vendor's own examples, +1 555 999 9999, are not valid numbers."""
    strict: bool = field(default=False, validator=checks.flag)
    """Whether an unreadable field raises, rather than being listed in ``problems``."""

    def organization(self, organization: Organization) -> dict[str, str]:
        """The two parameters that every request has."""
        kind = organization.type if self.organization_type_case == "lower" else organization.type.capitalize()
        return {"id": str(organization.id), "organization_type": kind}

    def path(self, resource: str) -> str:
        """The path of a resource."""
        return f"/api/{self.api_version}/{resource}.json"
