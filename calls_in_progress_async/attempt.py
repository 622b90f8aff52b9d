"""What one attempt at a request came to, and where its time went."""

from __future__ import annotations

from typing import NamedTuple


class Attempt(NamedTuple):
    """One attempt: at most one request on the wire.

    Every result and every error of a request carries the list of its attempts. All times are in seconds.
    """

    status: int | None = None
    """The HTTP status, or None where no answer was had."""
    error: str | None = None
    """The class name of the error, or None where the attempt succeeded."""
    rate_limit_wait: float = 0.0
    """Time in the queue of the rate limit."""
    pool_wait: float = 0.0
    """Time in the queue for one of ``max_connections``."""
    network: float = 0.0
    """Time from then until the body was read, or until it failed."""
    backoff: float = 0.0
    """The wait after it, before the next attempt; after a 401, the time until another token was had."""
    queued: float = 0.0
    """Time before all that: behind earlier updates of the same call, and until a token callable had answered."""
