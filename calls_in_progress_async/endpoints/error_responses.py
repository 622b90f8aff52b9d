"""Answers that are not what was asked for, as errors: what a status and its body mean in this API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .. import errors
from ..records.codec import PayloadError, parse_json
from ..transport.wire import WireResponse

T = TypeVar("T")

_HANDLE = re.compile(r"error handle (\w{1,64})")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_NOT_FIELDS = ("class", "invalid_data")
"""What else stands among the errors: the kind of the refusal, and its reason."""
_LONGEST = 2000
"""Characters of a server's own words in an error."""
_KINDS: Mapping[int, type[errors.ResponseError]] = {
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    429: errors.RateLimitedError,
}
_HINTS = {401: " (is the token right, and for this organization?)"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def raise_for_status(response: WireResponse, *, update: bool) -> None:
    """Raise what an answer outside 200 to 299 means.

    Raises:
        ResponseError: Of the class that says what the caller can do about it.
    """
    if 200 <= response.status < 300:
        return
    payload = _payload(response)
    faults = _faults(payload)
    said = _said(payload, faults)
    facts = _facts(response)
    text = f"HTTP {response.status}{f': {said}' if said else ''}"
    error = _error(response.status, text, facts, faults, update=update)
    error.retry_after = response.retry_after
    if 400 <= response.status < 500 and b"organization_type" in response.body.lower():
        error.add_note(
            'The server objects to organization_type: try organization_type_case="capitalized" (or "lower").'
        )
    raise error


def says_record_not_found(response: WireResponse) -> bool:
    """Whether the body is one of the API's two ways to say that nothing was found."""
    payload = _payload(response)
    return payload.get("error") == "RecordNotFound" or _faults(payload).get("class") == "RecordNotFound"


def parse_body(structure: Callable[..., T], response: WireResponse, *, strict: bool) -> T:
    """Turn the body of a 2xx into records, by one of the functions that do so.

    Raises:
        UnexpectedResponseError: It cannot be read.
    """
    try:
        return structure(response.body, strict=strict)
    except PayloadError as error:
        path, reason = _one_line(error.path), error.reason
    text = f"HTTP {response.status}: {f'{path}: ' if path else ''}{reason}"
    raise errors.UnexpectedResponseError(text, path=path, **_facts(response))


def _error(
    status: int, text: str, facts: dict[str, Any], faults: dict[str, Any], *, update: bool
) -> errors.ResponseError:
    fields = _field_errors(faults)
    if status in (400, 422) or (status == 403 and fields):
        return errors.RequestRejectedError(text, field_errors=fields, **facts)
    if status in _REDIRECTS:
        return errors.RedirectRefusedError(f"{text} (redirects are not followed: set base_url or network)", **facts)
    if status >= 500:
        handle = _HANDLE.search(str(faults.get("invalid_data")))
        return errors.ServerError(text, error_handle=handle and handle[1], **facts)
    if status == 404 and update:
        return errors.CallNotFoundError(f"{text} (no such call is in progress)", **facts)
    kind = _KINDS.get(status, errors.UnexpectedResponseError)
    return kind(f"{text}{_HINTS.get(status, '')}", **facts)


def _facts(response: WireResponse) -> dict[str, Any]:
    request_id = response.headers.get("X-Request-Id")
    return {"status": response.status, "request_id": request_id and _one_line(request_id)}


def _payload(response: WireResponse) -> dict[str, Any]:
    try:
        payload = parse_json(response.body)
    except PayloadError:
        return {}
    return payload if isinstance(payload, dict) else {}


def _faults(payload: dict[str, Any]) -> dict[str, Any]:
    faults = payload.get("errors")
    return faults if isinstance(faults, dict) else {}


def _field_errors(faults: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What is said of each field: ``{"<field>": ["can't be blank"]}``, or without the list."""
    return {
        _one_line(name): tuple(_one_line(str(text)) for text in (texts if isinstance(texts, list) else [texts]))
        for name, texts in faults.items()
        if isinstance(texts, list | str) and name not in _NOT_FIELDS
    }


def _said(payload: Mapping[str, Any], faults: Mapping[str, Any]) -> str:
    """The body's own words in one short line, or nothing where it has none that the API documents."""
    fields = _field_errors(faults)
    words = [payload.get("error"), faults.get("class"), faults.get("invalid_data")]
    words += [f"{name}: {'; '.join(texts)}" for name, texts in fields.items()]
    return ", ".join(_one_line(word) for word in words if isinstance(word, str) and word)[:_LONGEST]


def _one_line(text: str) -> str:
    """Make the server's text harmless in a terminal or a log."""
    return _UNPRINTABLE.sub("?", text[:200])
