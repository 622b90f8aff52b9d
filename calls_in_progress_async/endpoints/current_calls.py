"""Find the calls in progress: ``GET /api/<version>/calls_in_progress/current_calls.json``."""

from __future__ import annotations

from attrs import field, frozen

from .. import validation
from ..attempt import Attempt
from ..organization import Organization
from ..phone_numbers import e164
from ..records import CurrentCalls
from ..records.results import structure_calls
from ..transport.wire import WireRequest, WireResponse
from .error_responses import parse_body, raise_for_status, says_record_not_found
from .wire_format import WireFormat

_CALLING, _DESTINATION = "calling_phone_number", "destination_phone_number"


@frozen(kw_only=True)
class CurrentCallsRequest:
    """Ask for the calls that are live now. Filters may be combined; without any, all calls are meant.

    Raises:
        InvalidRequestError: A filter is malformed, or one phone number comes without the other. That a number is
            not a phone number is found when the request is sent, since it depends on the client's settings.
    """

    organization: Organization = field(
        validator=validation.instance(Organization, "an Organization, such as Organization.advertiser(25)")
    )
    transaction_id: str | None = field(default=None, validator=validation.transaction_id)
    """The API's own id of a call."""
    external_unique_id: str | None = field(default=None, validator=validation.optional_text)
    """The id that an update gave a call."""
    calling_phone_number: str | None = field(default=None, validator=validation.phone_number, repr=validation.masked)
    """The caller's number; only together with the other one."""
    destination_phone_number: str | None = field(
        default=None, validator=validation.phone_number, repr=validation.masked
    )
    """The number that the call was transferred to."""

    def __attrs_post_init__(self) -> None:
        """Refuse one phone number without the other."""
        if (self.calling_phone_number is None) != (self.destination_phone_number is None):
            missing = _CALLING if self.calling_phone_number is None else _DESTINATION
            raise validation.invalid(missing, "is missing: the API takes both phone numbers or neither")

    @property
    def has_phone_numbers(self) -> bool:
        """Whether it filters by phone numbers."""
        return self.calling_phone_number is not None

    @property
    def has_filter(self) -> bool:
        """Whether it asks for less than all calls."""
        return not (self.transaction_id is None and self.external_unique_id is None and not self.has_phone_numbers)

    def wire(self, wire_format: WireFormat) -> WireRequest:
        """Turn the request into method, path and query string."""
        filters = self._filters(wire_format) if self.has_filter else {}
        target = wire_format.target("calls_in_progress/current_calls", self.organization, filters)
        return WireRequest(operation="find", method="GET", target=target)

    def _filters(self, wire_format: WireFormat) -> dict[str, str | None]:
        return {
            "transaction_id": self.transaction_id,
            "external_unique_id": self.external_unique_id,
            _CALLING: _e164(_CALLING, self.calling_phone_number, wire_format),
            _DESTINATION: _e164(_DESTINATION, self.destination_phone_number, wire_format),
        }

    def read(self, response: WireResponse, wire_format: WireFormat, attempts: tuple[Attempt, ...] = ()) -> CurrentCalls:
        """Turn the answer into records.

        Raises:
            ResponseError: The server refused, or its answer does not say which calls there are.
        """
        # The 2022-09 revisions answer a find by phone number that finds nothing with a 404.
        if response.status == 404 and self.has_filter and says_record_not_found(response):
            return CurrentCalls(attempts=attempts)
        raise_for_status(response, update=False)
        return CurrentCalls._of(parse_body(structure_calls, response, strict=wire_format.strict), attempts)


def _e164(parameter: str, number: str | None, wire_format: WireFormat) -> str | None:
    if number is None:
        return None
    return e164(parameter, number, region=wire_format.default_region, validate=wire_format.validate_phone_numbers)
