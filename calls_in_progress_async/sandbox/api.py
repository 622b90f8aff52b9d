"""The API's answers: which request gets what, with no network involved."""

import math
import time
from collections import deque
from collections.abc import Mapping
from email.utils import formatdate

import attrs

from calls_in_progress_async.sandbox.arguments import (
    ArgumentsInvalid,
    Changes,
    check_find,
    check_update,
    filters,
    matches,
    organization_key,
    parse_changes,
    parse_query,
)
from calls_in_progress_async.sandbox.faults import Fault
from calls_in_progress_async.sandbox.history import UpdateApplied
from calls_in_progress_async.sandbox.payloads import encode, updated_body
from calls_in_progress_async.sandbox.settings import OrganizationKey, SandboxSettings
from calls_in_progress_async.sandbox.simulation import Call, Organization, Simulation


@attrs.frozen
class Response:
    """A response to be sent."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    content_type: str = "application/json"


class Request:
    """A request, as far as an answer depends on it."""

    def __init__(self, *, method: str, target: str, token: str, content_type: str, body: bytes) -> None:
        """Takes a request apart.

        Args:
            method: The HTTP method.
            target: The path and query, still percent-encoded.
            token: The whole `Authorization` header.
            content_type: The whole `Content-Type` header.
            body: The body's bytes.
        """
        path, _, query = target.partition("?")
        self.route = (method, path)
        self.arguments = parse_query(query)
        self.method = method
        self.token = token
        self.content_type = content_type
        self.body = body


_NOT_AUTHORIZED = Response(401, encode({"error": "NotAuthorized"}))
_ACCEPTED = Response(202)
_CALL_IDS = ("transaction_id", "external_unique_id")


class Api:
    """Answers questions as the API would, about the organizations of one world."""

    def __init__(self, settings: SandboxSettings, world: Simulation, updates: deque[UpdateApplied]) -> None:
        self._settings = settings
        self._world = world
        self._updates = updates
        root = f"/api/{settings.version}/calls_in_progress"
        self._routes = {
            ("GET", f"{root}/current_calls.json"): self._find,
            ("PUT", f"{root}.json"): self._update,
            ("POST", f"{root}.json"): self._update,
        }
        self._tokens = frozenset({settings.token, *settings.tokens.values()})

    def refusal(self, token: str) -> Response | None:
        """Returns the 401 or the 429 that a request with this token gets whatever it asks, or `None`."""
        if token not in self._tokens:
            return _NOT_AUTHORIZED
        rate, burst = self._settings.rate_limit, self._settings.rate_burst
        if rate is None:
            return None
        wait = self._settings.buckets.take(token, rate, max(1.0, rate) if burst is None else burst)
        return self._too_many_requests(wait) if wait else None

    def answer(self, question: Request) -> Response:
        """Answers a request, and carries it out if it is an update."""
        route = self._routes.get(question.route)
        if route is None:
            return _not_found("page")
        query = question.arguments
        try:
            key = organization_key(query, self._settings.organization_type_spelling)
            if not self._opens(question.token, key):
                return _NOT_AUTHORIZED
            # No page says what an unknown id gets. A 403 is "arguments invalid"; a 404 would read as "no such call".
            if key not in self._world:
                raise ArgumentsInvalid({"id": "is invalid"})
            return route(question, key)
        except ArgumentsInvalid as invalid:
            return Response(403, encode({"errors": invalid.errors}))

    def _opens(self, token: str, key: OrganizationKey) -> bool:
        return token == self._settings.token or token == self._settings.tokens.get(key)

    def _find(self, question: Request, key: OrganizationKey) -> Response:
        query = question.arguments
        check_find(query)
        organization, wanted = self._world[key], filters(query)
        if not wanted:
            return Response(200, organization.body_of(organization.calls()))
        found = _matching(organization, wanted)
        # The API reference: the 2022-09 revisions answer a find by phone number that finds nothing with a 404.
        if not found and "calling_phone_number" in wanted and self._settings.revision.startswith("2022"):
            return Response(404, encode({"error": "RecordNotFound"}))
        return Response(200, organization.body_of(found))

    def _update(self, question: Request, key: OrganizationKey) -> Response:
        query = question.arguments
        check_update(query)
        changes = parse_changes(question.body, question.content_type)
        organization = self._world[key]
        found = _matching(organization, {name: query[name] for name in _CALL_IDS if name in query})
        if not found:
            return _not_found("call in progress")
        call = found[0]
        _apply(organization, call, changes)
        self._updates.append(
            UpdateApplied(
                time=self._world.now(),
                organization=key,
                transaction_id=call.transaction_id,
                method=question.method,
                external_unique_id=changes.external_unique_id,
                custom_data=changes.custom_data,
            )
        )
        if self._settings.accept_only:
            return _ACCEPTED
        return Response(200, updated_body(self._settings.revision, call.fields, changes.custom_data))

    def _too_many_requests(self, wait: float) -> Response:
        if self._settings.retry_after_format == "seconds":
            retry_after = str(math.ceil(wait))
        else:
            retry_after = formatdate(math.ceil(time.time() + wait), usegmt=True)
        body = encode({"errors": {"invalid_data": "rate limit exceeded", "class": "TooManyRequests"}})
        return Response(429, body, {"Retry-After": retry_after})


def response_to_fault(fault: Fault) -> Response:
    """Returns what a fault of the kind `"status"` or `"garbage"` answers."""
    if fault.kind == "garbage":
        return Response(200, b"<!DOCTYPE html><html><body>Be right back.</body></html>", content_type="text/html")
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    body = _fault_body(fault.status) if fault.body is None else fault.body
    return Response(fault.status, body, headers, fault.content_type)


def _fault_body(status: int) -> bytes:
    if status == 401:
        return _NOT_AUTHORIZED.body
    if status == 404:
        return _not_found("call in progress").body
    # The API reference's 500.
    return encode({"errors": {"invalid_data": "refer to error handle 1228118400", "class": "InternalServiceError"}})


def _not_found(what: str) -> Response:
    return Response(404, encode({"errors": {"invalid_data": f"Could not find {what}", "class": "RecordNotFound"}}))


def _matching(organization: Organization, wanted: Mapping[str, str]) -> list[Call]:
    calls = organization.calls()
    if "transaction_id" in wanted:
        calls = filter(None, [organization.call(wanted["transaction_id"])])
    return [call for call in calls if matches(call.fields, wanted)]


def _apply(organization: Organization, call: Call, changes: Changes) -> None:
    # "Not visible in the update's response nor in later finds", so it goes beside the call's own custom data.
    call.written |= changes.custom_data
    if changes.external_unique_id is not None:
        organization.change(call.transaction_id, {"external_unique_id": changes.external_unique_id})
