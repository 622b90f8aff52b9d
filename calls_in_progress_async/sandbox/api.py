"""The API's responses to requests, without a network."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import formatdate

import attrs

from .. import clock
from ..organization import Organization
from .arguments import (
    ArgumentsInvalid,
    Changes,
    check_find,
    check_update,
    filters,
    matches,
    named_organization,
    parse_changes,
    parse_query,
)
from .faults import Fault
from .history import AppliedUpdate
from .payloads import encode, updated_body
from .settings import SandboxSettings
from .simulation import SimulatedCall, SimulatedOrganization, Simulation


@attrs.frozen
class Response:
    """A response to send."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    content_type: str = "application/json"


class Request:
    """The parts of a request that the response depends on."""

    def __init__(self, *, method: str, target: str, token: str, content_type: str, body: bytes) -> None:
        """Parse a request.

        Args:
            method: The HTTP method.
            target: The path and query, still percent-encoded.
            token: The whole `Authorization` header.
            content_type: The whole `Content-Type` header.
            body: The body's bytes.
        """
        path, _, query = target.partition("?")
        self.path: str = path
        self.arguments: dict[str, str] = parse_query(query)
        self.method: str = method
        self.token: str = token
        self.content_type: str = content_type
        self.body: bytes = body


_NOT_AUTHORIZED = Response(401, encode({"error": "NotAuthorized"}))
_ACCEPTED = Response(202)
_CALL_IDS = ("transaction_id", "external_unique_id")


class Api:
    """Responds to requests as the API would, about the organizations of one simulation."""

    def __init__(self, settings: SandboxSettings, simulation: Simulation, updates: deque[AppliedUpdate]) -> None:
        self._settings = settings
        self._simulation = simulation
        self._updates = updates
        root = f"/api/{settings.version}/calls_in_progress"
        self._routes: dict[str, dict[str, Callable[[Request, Organization], Response]]] = {
            f"{root}/current_calls.json": {"GET": self._find},
            f"{root}.json": {"PUT": self._update, "POST": self._update},
        }
        self._tokens = frozenset({settings.token, *settings.tokens.values()})

    def rejection(self, token: str) -> Response | None:
        """Return the 401 or 429 for any request with this token, or `None`."""
        if token not in self._tokens:
            return _NOT_AUTHORIZED
        rate, burst = self._settings.rate_limit, self._settings.rate_burst
        if rate is None:
            return None
        wait = self._settings.buckets.take(token, rate, max(1.0, rate) if burst is None else burst)
        return self._too_many_requests(wait) if wait else None

    def respond(self, request: Request) -> Response:
        """Return the response to a request; carry the request out if it is an update."""
        routes = self._routes.get(request.path)
        if routes is None:
            return _not_found("page")
        route = routes.get(request.method)
        if route is None:
            return _method_not_allowed(sorted(routes))
        try:
            organization = named_organization(request.arguments, self._settings.organization_type_spelling)
            if not self._allows(request.token, organization):
                return _NOT_AUTHORIZED
            # No page documents unknown ids. A 403 is "arguments invalid"; a 404 would read as "no such call".
            if organization not in self._simulation:
                raise ArgumentsInvalid({"id": "is invalid"})
            return route(request, organization)
        except ArgumentsInvalid as invalid:
            return Response(403, encode({"errors": invalid.errors}))

    def _allows(self, token: str, organization: Organization) -> bool:
        return token == self._settings.token or token == self._settings.tokens.get(organization)

    def _find(self, request: Request, organization: Organization) -> Response:
        check_find(request.arguments)
        simulated, wanted = self._simulation[organization], filters(request.arguments)
        if not wanted:
            return Response(200, simulated.body_of(simulated.calls()))
        found = _matching(simulated, wanted)
        # The API reference: the 2022-09 revisions respond 404 to a find by phone number without a result.
        if not found and "calling_phone_number" in wanted and self._settings.revision.startswith("2022"):
            return Response(404, encode({"error": "RecordNotFound"}))
        return Response(200, simulated.body_of(found))

    def _update(self, request: Request, organization: Organization) -> Response:
        query = request.arguments
        check_update(query)
        changes = parse_changes(request.body, request.content_type)
        simulated = self._simulation[organization]
        found = _matching(simulated, {name: query[name] for name in _CALL_IDS if name in query})
        if not found:
            return _not_found("call in progress")
        call = found[0]
        _apply(simulated, call, changes)
        self._record(request, organization, call, changes)
        if self._settings.accept_only:
            return _ACCEPTED
        return Response(200, updated_body(self._settings.revision, call.fields, changes.custom_data))

    def _record(self, request: Request, organization: Organization, call: SimulatedCall, changes: Changes) -> None:
        self._updates.append(
            AppliedUpdate(
                time=self._simulation.now(),
                organization=organization,
                transaction_id=call.transaction_id,
                method=request.method,
                external_unique_id=changes.external_unique_id,
                custom_data=changes.custom_data,
            )
        )

    def _too_many_requests(self, wait: float) -> Response:
        if self._settings.retry_after_format == "seconds":
            retry_after = str(math.ceil(wait))
        else:
            retry_after = formatdate(math.ceil(clock.unix_time() + wait), usegmt=True)
        body = encode({"errors": {"invalid_data": "rate limit exceeded", "class": "TooManyRequests"}})
        return Response(429, body, {"Retry-After": retry_after})


def response_to_fault(fault: Fault) -> Response:
    """Return the response of a `"status"` or `"garbage"` fault."""
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


def _not_found(missing: str) -> Response:
    return Response(404, encode({"errors": {"invalid_data": f"Could not find {missing}", "class": "RecordNotFound"}}))


def _method_not_allowed(allowed: list[str]) -> Response:
    # RFC 9110, section 15.5.6: a 405 lists the methods of the resource.
    methods = ", ".join(allowed)
    body = encode({"errors": {"invalid_data": f"expected {methods}", "class": "MethodNotAllowed"}})
    return Response(405, body, {"Allow": methods})


def _matching(simulated: SimulatedOrganization, wanted: Mapping[str, str]) -> list[SimulatedCall]:
    calls = simulated.calls()
    if "transaction_id" in wanted:
        calls = filter(None, [simulated.find_call(wanted["transaction_id"])])
    return [call for call in calls if matches(call.fields, wanted)]


def _apply(simulated: SimulatedOrganization, call: SimulatedCall, changes: Changes) -> None:
    # "Not visible in the update's response nor in later finds", so `written` is apart from the call's custom data.
    call.written |= changes.custom_data
    if changes.external_unique_id is not None:
        simulated.change(call.transaction_id, {"external_unique_id": changes.external_unique_id})
