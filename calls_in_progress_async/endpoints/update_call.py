"""Update a call in progress: ``PUT`` or ``POST /api/<version>/calls_in_progress.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any  # noqa: F401 - attrs copies the annotation of a converter

from attrs import field, frozen

from .. import validation
from ..attempt import Attempt
from ..errors import CallNotFoundError, NotFoundError
from ..organization import Organization
from ..records import CallUpdate
from ..records.results import structure_update
from ..transport.wire import WireRequest, WireResponse
from .arguments import is_optional_text, is_organization, is_transaction_id, show_names, to_custom_data
from .error_responses import error_of, parse_body
from .wire_format import WireFormat


@frozen(kw_only=True)
class UpdateCallRequest:
    """Write an external id or custom data, or both, onto a live call named by either id, or both.

    Raises:
        InvalidRequestError: No call is named, nothing is to change, or a value is malformed.
    """

    organization: Organization = field(validator=is_organization)
    transaction_id: str | None = field(default=None, validator=is_transaction_id)
    """The API's own id of the call."""
    external_unique_id: str | None = field(default=None, validator=is_optional_text)
    """The id that an earlier update gave the call."""
    new_external_unique_id: str | None = field(default=None, validator=is_optional_text)
    """The id to give the call now."""
    custom_data: Mapping[str, str] | None = field(default=None, converter=to_custom_data, repr=show_names)
    """Names and values to add or to change. The API has no removal."""
    method: str = field(default="PUT", validator=validation.one_of("PUT", "POST"))
    """Both do the same; a POST is not repeated once it may have been carried out."""

    def __attrs_post_init__(self) -> None:
        """Reject an update that names no call or changes nothing."""
        if self.transaction_id is None and self.external_unique_id is None:
            raise validation.invalid("transaction_id", "is missing: name the call by it or by external_unique_id")
        if self.new_external_unique_id is None and self.custom_data is None:
            raise validation.invalid(
                "new_external_unique_id", "is missing, and so is custom_data: nothing would change"
            )

    def wire(self, wire_format: WireFormat) -> WireRequest:
        """Turn the request into method, path, query string and body."""
        names = {"transaction_id": self.transaction_id, "external_unique_id": self.external_unique_id}
        target = wire_format.target("calls_in_progress", self.organization, names)
        # A repeated rename would find nothing and report a false 404: the call no longer has the id it is named by.
        renames = None not in (old := self.external_unique_id, new := self.new_external_unique_id) and old != new
        # A transaction id is the call's own, whichever organization asks; an external one is the organization's.
        ids = ((None, self.transaction_id), (self.organization, old), (self.organization, new))
        keys = tuple(key for key in ids if key[1] is not None)
        body = self._body()
        fields = tuple(("custom_data", name) for name in self.custom_data or ())
        return WireRequest(
            operation="update",
            method=self.method,
            target=target,
            body=body,
            repeatable=not renames,
            ordering_keys=keys,
            written_fields=fields if new is None else (*fields, "external_unique_id"),
        )

    def _body(self) -> bytes:
        changes: dict[str, object] = {}
        if self.new_external_unique_id is not None:
            changes["external_unique_id"] = self.new_external_unique_id
        if self.custom_data is not None:
            changes["custom_data"] = [{"name": name, "value": value} for name, value in self.custom_data.items()]
        return json.dumps({"call_in_progress": changes}, ensure_ascii=False, separators=(",", ":")).encode()

    def read(self, response: WireResponse, wire_format: WireFormat, attempts: tuple[Attempt, ...] = ()) -> CallUpdate:
        """Turn the response into a record. A 2xx without a body is a success.

        Raises:
            CallNotFoundError: No such call is in progress (404).
            ResponseError: The server rejected the request, or its response cannot be read.
        """
        error = error_of(response, within_success=True)
        if isinstance(error, NotFoundError):
            error = CallNotFoundError(f"{error.message} (no such call is in progress)", **vars(error))
        if error is not None:
            raise error
        accepted_only = response.status == 202
        if not response.body.strip():
            return CallUpdate(accepted_only=accepted_only, attempts=attempts)
        found = parse_body(structure_update, response, strict=wire_format.strict)
        return CallUpdate(accepted_only=accepted_only, calls=found.calls, problems=found.problems, attempts=attempts)
