"""What the sandbox remembers of what happened to it: the ground truth that tests compare a client with."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple

import attrs

EventKind = Literal["started", "changed", "ended"]


class Event(NamedTuple):
    """One moment in the life of a call.

    Attributes:
        time: Simulated seconds since the sandbox was made; negative for calls that were live before it.
        kind: What happened.
        transaction_id: The call it happened to.
    """

    time: float
    kind: EventKind
    transaction_id: str


@attrs.frozen(kw_only=True)
class RequestSeen:
    """A request as it arrived. The token is taken out of it before it is kept.

    Attributes:
        time: Simulated seconds since the sandbox was made.
        method: The HTTP method.
        path: The raw path and query, still percent-encoded.
        headers: The headers, by lower-case name; `authorization` reads `"[hidden]"` where there was one.
        body: The body's bytes.
    """

    time: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen(kw_only=True)
class UpdateApplied:
    """An update that the sandbox carried out, whether or not its answer arrived.

    Attributes:
        time: Simulated seconds since the sandbox was made.
        organization: The organization's id and type.
        transaction_id: The call that was updated.
        method: `PUT` or `POST`.
        external_unique_id: The id given to the call, or `None` if the update gave none.
        custom_data: The custom data written, by name.
    """

    time: float
    organization: tuple[int, str]
    transaction_id: str
    method: str
    external_unique_id: str | None
    custom_data: Mapping[str, str]


@attrs.define(kw_only=True)
class Stats:
    """Running counts of what the sandbox was asked and did.

    Attributes:
        requests: Requests that arrived.
        allowed: Requests with a valid token that the rate limit let through.
        refused: Requests answered 429 by the rate limit.
        faults: Requests that were given a fault instead of, or on top of, their answer.
        in_flight: Requests being answered now.
        peak_in_flight: The most that were ever being answered at once.
        statuses: Answers by status, those of faults included.
        organizations: Requests by the organization they named.
    """

    requests: int = 0
    allowed: int = 0
    refused: int = 0
    faults: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    statuses: Counter[int] = attrs.field(factory=Counter)
    organizations: Counter[tuple[int, str]] = attrs.field(factory=Counter)
