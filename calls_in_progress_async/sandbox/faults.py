"""Faults on demand: the failures between a client and the API, and the choice of requests to strike."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from typing import Literal, get_args

import attrs
from attrs.validators import le

from .. import validation
from ..organization import Organization
from .organizations import to_organization

FaultKind = Literal["status", "disconnect", "disconnect-after", "truncate", "garbage", "hang"]


def _optional_organization(value: object) -> Organization | None:
    return None if value is None else to_organization(value)


@attrs.frozen(kw_only=True)
class Fault:
    """One kind of failure and its frequency.

    Attributes:
        kind: `"status"` responds with `status` and does nothing else. `"disconnect"` closes the connection without
            carrying the request out; `"disconnect-after"` carries it out first. `"truncate"` carries it out and sends
            half of the response. `"garbage"` responds 200 with a page of HTML. `"hang"` never responds.
        probability: The share of requests to strike, from 0 (none) to 1 (every request).
        status: The status of a `"status"` fault, from 200 to 599.
        retry_after: Its `Retry-After` header: seconds, or any text, sent unchanged.
        body: Its body; the API's own error body for the status if left out.
        content_type: The media type of the body.
        organization: The only organization to strike; every organization if left out.
    """

    kind: FaultKind = attrs.field(default="status", validator=validation.one_of(*get_args(FaultKind)))
    probability: float = attrs.field(default=1.0, validator=[validation.number("requests out of one"), le(1)])
    status: int = attrs.field(default=500, validator=[validation.count(200), le(599)])
    retry_after: float | str | None = None
    body: bytes | None = None
    content_type: str = "application/json"
    organization: Organization | None = attrs.field(default=None, converter=_optional_organization)


class FaultInjector:
    """Chooses the fault, if any, of each request."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"{seed}:faults")  # noqa: S311 - reproducible, not secret
        self._scheduled: deque[Fault] = deque()

    def schedule(self, count: int, fault: Fault) -> None:
        """Strike the next `count` requests (of the fault's organization); 0 clears everything scheduled."""
        if not validation.is_integer(count) or count < 0:
            raise validation.unexpected("count", "a whole number of requests", count)
        if count:
            self._scheduled.extend([fault] * int(count))
        else:
            self._scheduled.clear()

    def draw(self, organization: Organization | None, faults: Iterable[Fault]) -> Fault | None:
        """Return the fault of one request: a scheduled fault first, else one of `faults` by its probability."""
        for fault in self._scheduled:
            if fault.organization in (None, organization):
                self._scheduled.remove(fault)
                return fault
        for fault in faults:
            if fault.organization in (None, organization) and self._random.random() < fault.probability:
                return fault
        return None
