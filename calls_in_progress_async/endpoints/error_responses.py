"""Error responses: the meaning of a status and a body in this API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .. import errors
from ..records.codec import PayloadError, parse_json
from ..records.reported_errors import ReportedError
from ..transport.wire import WireResponse

T = TypeVar("T")

_HANDLE = re.compile(r"error handle (\w{1,64})")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_NOT_FIELDS = ("class", "invalid_data")
"""The keys among the errors that are no fields: the class of the error, and its reason."""
_MAX_SAID = 2000
"""Characters of a server's own words in an error."""
_MAX_BODY = 2**14
"""Most bytes of an error's body to read: the API's are far shorter, and a longer one would hold the event loop."""
_BY_STATUS: Mapping[int, type[errors.ResponseError]] = {
    400: errors.RequestRejectedError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    422: errors.RequestRejectedError,
    429: errors.RateLimitedError,
}
# The classes on the vendor's pages, those of the Signal API included. Classes that begin with "Unauthorized" are
# about permission.
_BY_CLASS: Mapping[str, type[errors.ResponseError]] = {
    "NotAuthorized": errors.AuthenticationError,
    "RecordNotFound": errors.NotFoundError,
    "InvalidInput": errors.RequestRejectedError,
    "RecordInvalid": errors.RequestRejectedError,
    "InternalServiceError": errors.ServerError,
}
_HINTS: Mapping[type[errors.ResponseError], str] = {
    errors.AuthenticationError: " (is the token right, and for this organization?)",
    errors.RedirectRefusedError: " (redirects are not followed: set base_url or network)",
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def raise_for_status(response: WireResponse) -> None:
    """Raise the error for a status outside 200 to 299.

    Raises:
        ResponseError: The class says what the caller can do.
    """
    if (error := error_of(response)) is not None:
        raise error


def error_of(response: WireResponse, *, within_success: bool = False) -> errors.ResponseError | None:
    """Return the error for a response, or None for a success.

    Args:
        response: The response.
        within_success: True to take ``error`` or ``errors`` in a body for an error even with a status of 200 to 299.
    """
    success = 200 <= response.status < 300
    if success and not within_success:
        return None
    payload = _payload(response)
    if success and not payload.keys() & {"error", "errors"}:
        return None
    faults = _faults(payload)
    kind = _kind_within_success(payload, faults) if success else _kind(response.status, payload, faults)
    error = _make_error(kind, response, payload, faults)
    error.retry_after = response.retry_after
    if kind is not errors.ServerError and b"organization_type" in response.body[:_MAX_BODY].lower():
        error.add_note(
            'The server objects to organization_type: try organization_type_case="capitalized" (or "lower").'
        )
    return error


def says_record_not_found(response: WireResponse) -> bool:
    """Return True if the body is one of the API's two ways to say that nothing was found."""
    payload = _payload(response)
    return payload.get("error") == "RecordNotFound" or _faults(payload).get("class") == "RecordNotFound"


def parse_body(structure: Callable[..., T], response: WireResponse, *, strict: bool) -> T:
    """Turn the body of a 2xx into records with a function such as `structure_calls`.

    Raises:
        UnexpectedResponseError: The body cannot be read.
    """
    try:
        return structure(response.body, strict=strict)
    except PayloadError as error:
        path, reason = _one_line(error.path), error.reason
        payload = _payload(response) if isinstance(error, ReportedError) else {}
    if said := _said(payload, _faults(payload)):
        reason += f": {said}"
    text = f"HTTP {response.status}: {f'{path}: ' if path else ''}{reason}"
    request_id = response.headers.get("X-Request-Id")
    raise errors.UnexpectedResponseError(
        text, path=path, status=response.status, request_id=request_id and _one_line(request_id)
    )


def _kind(status: int, payload: Mapping[str, Any], faults: Mapping[str, Any]) -> type[errors.ResponseError]:
    if status in _REDIRECTS:
        return errors.RedirectRefusedError
    if status >= 500:
        return errors.ServerError
    if status == 403 and _names_arguments(payload, faults):
        return errors.RequestRejectedError
    return _BY_STATUS.get(status, errors.UnexpectedResponseError)


def _names_arguments(payload: Mapping[str, Any], faults: Mapping[str, Any]) -> bool:
    """Return True if an error is about the arguments: every class is, except for "Unauthorized...", and every field."""
    if isinstance(name := faults.get("class"), str) and name:
        return not name.startswith("Unauthorized")
    return bool(_field_errors(faults)) or _kind_named(payload, faults) is errors.RequestRejectedError


def _kind_named(payload: Mapping[str, Any], faults: Mapping[str, Any]) -> type[errors.ResponseError] | None:
    name = faults.get("class") or payload.get("error")
    if not isinstance(name, str):
        return None
    return errors.PermissionDeniedError if name.startswith("Unauthorized") else _BY_CLASS.get(name)


def _kind_within_success(payload: Mapping[str, Any], faults: Mapping[str, Any]) -> type[errors.ResponseError]:
    fallback = errors.RequestRejectedError if _field_errors(faults) else errors.UnexpectedResponseError
    return _kind_named(payload, faults) or fallback


def _make_error(
    kind: type[errors.ResponseError], response: WireResponse, payload: Mapping[str, Any], faults: Mapping[str, Any]
) -> errors.ResponseError:
    too_long = f"the body of {len(response.body) >> 10} KiB is too long to read"  # more digits could be a phone number
    said = too_long if len(response.body) > _MAX_BODY else _said(payload, faults)
    request_id = response.headers.get("X-Request-Id")
    attributes: dict[str, Any] = {"status": response.status, "request_id": request_id and _one_line(request_id)}
    if kind is errors.RequestRejectedError:
        attributes["field_errors"] = _field_errors(faults)
    if kind is errors.ServerError:
        handle = _HANDLE.search(str(faults.get("invalid_data")))
        attributes["error_handle"] = handle and handle[1]
    return kind(f"HTTP {response.status}{f': {said}' if said else ''}{_HINTS.get(kind, '')}", **attributes)


def _payload(response: WireResponse) -> dict[str, Any]:
    if len(response.body) > _MAX_BODY:
        return {}
    try:
        payload = parse_json(response.body)
    except PayloadError:
        return {}
    # The vendor writes the names of errors small; a proxy in between may not.
    return {name.lower(): value for name, value in payload.items() if value} if isinstance(payload, dict) else {}


def _faults(payload: dict[str, Any]) -> dict[str, Any]:
    faults = payload.get("errors")
    return faults if isinstance(faults, dict) else {}


def _field_errors(faults: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the server's words on each field: ``{"<field>": ["can't be blank"]}``, or without the list."""
    return {
        _one_line(name): tuple(_one_line(str(text)) for text in (texts if isinstance(texts, list) else [texts]))
        for name, texts in faults.items()
        if isinstance(texts, list | str) and name not in _NOT_FIELDS
    }


def _said(payload: Mapping[str, Any], faults: Mapping[str, Any]) -> str:
    """Return the body's own words in one short line; nothing if it has none in the API's form."""
    fields = _field_errors(faults)
    words = [payload.get("error"), payload.get("errors"), faults.get("class"), faults.get("invalid_data")]
    words += [f"{name}: {'; '.join(texts)}" for name, texts in fields.items()]
    return ", ".join(_one_line(word) for word in words if isinstance(word, str) and word)[:_MAX_SAID]


def _one_line(text: str) -> str:
    """Make the server's text harmless in a terminal or a log."""
    return _UNPRINTABLE.sub("?", text[:200])
