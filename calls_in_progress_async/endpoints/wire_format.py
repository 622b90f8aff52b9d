"""The spelling of requests on the wire: the settings shared by all endpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from attrs import field, frozen

from .. import validation
from ..organization import Organization
from ..regions import MISTAKEN, REGIONS

_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _to_api_version(value: Any) -> str:
    if isinstance(value, str) and _API_VERSION.fullmatch(value):
        return value
    raise validation.unexpected("api_version", 'a date such as "2022-08-01"', value)


def _to_region(value: Any) -> str:
    region = value.upper() if isinstance(value, str) else ""
    if region in REGIONS:
        return region
    hint = f' ("{MISTAKEN[region]}" is meant)' if region in MISTAKEN else ""
    raise validation.unexpected("default_region", f'the two letters of a region, such as "US"{hint}', value)


@frozen(kw_only=True, eq=False, repr=False)
class WireFormat:
    """The client's settings for the form of a request."""

    api_version: str = field(default="2022-08-01", converter=_to_api_version)
    """The date in the path: the vendor never changed it."""
    organization_type_case: str = field(default="lower", validator=validation.one_of("lower", "capitalized"))
    """The seed documents ``network``; the vendor's page from 2022-09-28 on ``Network``."""
    default_region: str = field(default="US", converter=_to_region)
    """The country of phone numbers without a ``+``."""
    validate_phone_numbers: str = field(default="possible", validator=validation.one_of("possible", "valid", "off"))
    """``"possible"`` because the vendor's own examples, +1 555 999 9999, are not valid numbers."""
    strict: bool = field(default=False, validator=validation.flag)
    """True to raise for an unreadable field instead of listing it in ``problems``."""

    def target(self, resource: str, organization: Organization, parameters: Mapping[str, str | None]) -> str:
        """Write the path and the query of a request, with the parameters that are not None.

        Everything but the unreserved characters of RFC 3986, section 2.3, is percent-encoded. A ``+`` becomes
        ``%2B``: left bare in a query, servers read it as a space.
        """
        kind = organization.type if self.organization_type_case == "lower" else organization.type.capitalize()
        query = f"id={organization.id}&organization_type={kind}"
        for name, value in parameters.items():
            if value is not None:
                query += f"&{name}={quote(value, safe='')}"
        return f"/api/{self.api_version}/{resource}.json?{query}"
