"""The settings of a watch."""

from __future__ import annotations

from attrs import field, frozen

from .. import validation


@frozen(kw_only=True)
class WatchSettings:
    """How often and how much to poll. `CallsInProgressClient.watch` has the defaults."""

    interval: float = field(validator=validation.number("seconds", above=True))
    """Seconds between two polls of one organization."""
    missed_polls_before_end: int = field(validator=validation.count())
    """Number of good responses in a row without a call after which the call has ended."""
    max_in_flight: int = field(validator=validation.count())
    """Number of polls at once."""
    max_pending: int = field(validator=validation.count())
    """Number of events that nobody has taken at which polling pauses. Nothing is lost, and memory is bounded."""
    max_retry_after: float = field(validator=validation.number("seconds"))
    """Longest Retry-After of a server, in seconds, that delays the next poll of an organization."""
