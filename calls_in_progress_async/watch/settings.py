"""The settings of a watch."""

from __future__ import annotations

from attrs import field, frozen

from .. import validation


@frozen(kw_only=True, eq=False, repr=False)
class WatchSettings:
    """Rates and limits of polling. `CallsInProgressClient.watch` has the defaults."""

    interval: float = field(converter=validation.plain_number, validator=validation.number("seconds", above=True))
    """Seconds between two polls of one organization."""
    missed_polls_before_end: int = field(converter=validation.plain_integer, validator=validation.count())
    """Number of good responses in a row without a call before the call counts as ended."""
    max_in_flight: int = field(converter=validation.plain_integer, validator=validation.count())
    """Number of polls at once."""
    max_pending: int = field(converter=validation.plain_integer, validator=validation.count())
    """Number of pending events at which polling pauses. Nothing is lost, and memory is bounded."""
    max_retry_after: float = field(converter=validation.plain_number, validator=validation.number("seconds"))
    """Longest delay of a poll in seconds because of a server's Retry-After."""
