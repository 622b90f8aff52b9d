"""Attempt: the result of one attempt at a request, and where its time went."""

from __future__ import annotations

from typing import NamedTuple


class Attempt(NamedTuple):
    """One attempt: at most one request on the wire.

    Every result and every error of a request carries the list of its attempts. All times are in seconds.
    """

    status: int | None = None
    """The HTTP status; None if there was no response."""
    error: str | None = None
    """The class name of the error; None if there was a response, of any status."""
    rate_limit_wait: float = 0.0
    """Time in the queue of the rate limit."""
    pool_wait: float = 0.0
    """Time in the queue for one of ``max_connections``."""
    network: float = 0.0
    """Time from then until the body was read, or until the attempt failed."""
    backoff: float = 0.0
    """The wait after the attempt, before the next one; after a 401, the time until there was another token."""
    queued: float = 0.0
    """Time before all of the above: behind earlier updates of the same call, and in the token callable."""
