"""Faults on demand: what can go wrong between a client and the API, and when it does."""

import random
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal, get_args

import attrs

FaultKind = Literal["status", "disconnect", "disconnect-after", "truncate", "garbage", "hang"]


@attrs.frozen(kw_only=True)
class Fault:
    """One kind of failure, and how often it strikes.

    Attributes:
        kind: `"status"` answers with `status` and does nothing else. `"disconnect"` closes the connection without
            carrying the request out; `"disconnect-after"` carries it out first. `"truncate"` carries it out and sends
            the first half of the answer. `"garbage"` answers 200 with a page of HTML. `"hang"` never answers.
        probability: How often it strikes, from 0 (never) to 1 (every request).
        status: The status that `"status"` answers with.
        retry_after: The `Retry-After` header that goes with it: seconds, or any text, which is sent as it is.
        body: The body that goes with it; the API's own error body for that status if left out.
        content_type: The media type of that body.
        organization: The only organization (id, type) it strikes; every one if left out.
    """

    kind: FaultKind = attrs.field(default="status", validator=attrs.validators.in_(get_args(FaultKind)))
    probability: float = attrs.field(default=1.0, validator=[attrs.validators.ge(0), attrs.validators.le(1)])
    status: int = attrs.field(default=500, validator=[attrs.validators.ge(200), attrs.validators.le(599)])
    retry_after: float | str | None = None
    body: bytes | None = None
    content_type: str = "application/json"
    organization: tuple[int, str] | None = None


class FaultInjector:
    """Decides which fault, if any, a request is given."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"{seed}:faults")  # noqa: S311 - reproducible, not secret
        self._next: deque[Fault] = deque()

    def schedule(self, count: int, **settings: Any) -> None:
        """Gives the next `count` requests (those the fault applies to) a `Fault` with these settings."""
        self._next.extend([Fault(**settings)] * count)

    def throw(self, organization: tuple[int, str] | None, faults: Iterable[Fault]) -> Fault | None:
        """Returns the fault for one request about an organization: a scheduled one first, else by probability."""
        for fault in self._next:
            if fault.organization in (None, organization):
                self._next.remove(fault)
                return fault
        for fault in faults:
            if fault.organization in (None, organization) and self._random.random() < fault.probability:
                return fault
        return None
