"""The sandbox's own record of events, requests and updates: the ground truth for tests of a client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple

import attrs

from ..organization import Organization

HistoryEventKind = Literal["started", "changed", "ended"]


class HistoryEvent(NamedTuple):
    """One moment in the life of a call.

    Attributes:
        time: Simulated seconds since time 0; negative for calls older than the sandbox.
        kind: Start, change or end.
        transaction_id: The call's id.
    """

    time: float
    kind: HistoryEventKind
    transaction_id: str


@attrs.frozen(kw_only=True)
class RecordedRequest:
    """A request as it arrived, with the token removed.

    Attributes:
        time: Simulated seconds since time 0.
        method: The HTTP method.
        path: The raw path and query, still percent-encoded.
        headers: The headers by lower-case name; a token in `authorization` reads `"[hidden]"`.
        body: The body's bytes.
    """

    time: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen(kw_only=True)
class AppliedUpdate:
    """An update carried out by the sandbox. Its response may have been lost.

    Attributes:
        time: Simulated seconds since time 0.
        organization: The call's organization.
        transaction_id: The updated call.
        method: `PUT` or `POST`.
        external_unique_id: The call's new id; `None` if the update gave none.
        custom_data: The custom data written, by name.
    """

    time: float
    organization: Organization
    transaction_id: str
    method: str
    external_unique_id: str | None
    custom_data: Mapping[str, str]


@attrs.define(kw_only=True)
class SandboxStats:
    """Running counts of requests and responses.

    Attributes:
        requests: Requests received.
        allowed: Requests with a valid token and within the rate limit.
        throttled: Requests over the rate limit, rejected with a 429.
        faults: Requests with an injected fault.
        in_flight: Requests without a complete response now.
        peak_in_flight: The highest number of requests in flight at once.
        statuses: Responses by status, those of faults included.
        organizations: Requests by organization.
    """

    requests: int = 0
    allowed: int = 0
    throttled: int = 0
    faults: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    statuses: Counter[int] = attrs.field(factory=Counter)
    organizations: Counter[Organization] = attrs.field(factory=Counter)
