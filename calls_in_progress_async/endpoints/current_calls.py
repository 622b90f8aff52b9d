"""Find the calls in progress: ``GET /api/<version>/calls_in_progress/current_calls.json``."""

from __future__ import annotations

from attrs import field, frozen

from .. import validation
from ..attempt import Attempt
from ..organization import Organization
from ..phone_numbers import e164, masked
from ..records import CurrentCalls
from ..records.results import structure_calls
from ..transport.wire import WireRequest, WireResponse
from .arguments import is_optional_text, is_organization, is_phone_number, is_transaction_id
from .error_responses import parse_body, raise_for_status, says_record_not_found
from .wire_format import WireFormat

_CALLING, _DESTINATION = "calling_phone_number", "destination_phone_number"


@frozen(kw_only=True)
class CurrentCallsRequest:
    """Ask for the calls that are live now. Filters may be combined; without any, all calls are meant.

    Raises:
        InvalidRequestError: A filter is malformed, or one phone number comes without the other. Sending the request
            checks the phone numbers themselves, since they depend on the client's settings.
    """

    organization: Organization = field(validator=is_organization)
    transaction_id: str | None = field(default=None, validator=is_transaction_id)
    """The API's own id of a call."""
    external_unique_id: str | None = field(default=None, validator=is_optional_text)
    """The id that an update gave a call."""
    calling_phone_number: str | None = field(default=None, validator=is_phone_number, repr=masked)
    """The caller's number; only together with the other one."""
    destination_phone_number: str | None = field(default=None, validator=is_phone_number, repr=masked)
    """The number to which the call was transferred."""

    def __attrs_post_init__(self) -> None:
        """Reject one phone number without the other."""
        if (self.calling_phone_number is None) != (self.destination_phone_number is None):
            missing = _CALLING if self.calling_phone_number is None else _DESTINATION
            raise validation.invalid(missing, "is missing: the API takes both phone numbers or neither")

    @property
    def has_phone_numbers(self) -> bool:
        """True if the request filters by phone numbers."""
        return self.calling_phone_number is not None

    @property
    def has_filter(self) -> bool:
        """True if the request filters the calls."""
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
        """Turn the response into records.

        Raises:
            ResponseError: The server rejected the request, or its response does not say which calls there are.
        """
        # The 2022-09 revisions respond to a find by phone number without a match with a 404.
        if response.status == 404 and self.has_filter and says_record_not_found(response):
            return CurrentCalls(attempts=attempts)
        raise_for_status(response)
        found = parse_body(structure_calls, response, strict=wire_format.strict)
        return CurrentCalls(found.calls, found.problems, attempts)


def _e164(parameter: str, number: str | None, wire_format: WireFormat) -> str | None:
    if number is None:
        return None
    return e164(parameter, number, region=wire_format.default_region, validate=wire_format.validate_phone_numbers)
