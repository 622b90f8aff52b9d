"""One organization under watch: what is known of it, and what an answer or a failure makes of that. Pure."""

from __future__ import annotations

from attrs import define, field

from ..errors import DeadlineExceededError, RateLimitedError, RateLimitWaitError, ServerError
from ..organization import Organization
from .call_set import CallSet
from .event_queue import EventQueue
from .listing import Listing
from .schedule import ScheduleEntry, backoff

_REFUSALS_TO_FAIL = 4
"""Refused turns in a row that are an organization's own failure."""
_LONGEST_RETRY_AFTER = 60.0
"""Seconds that a server may ask for."""


def is_refusal(error: Exception) -> bool:
    """Whether an error comes of a rate limit, the server's or the client's own: more were in flight than it lets by."""
    if isinstance(error, DeadlineExceededError) and error.attempts:
        last = error.attempts[-1]
        return last.rate_limit_wait + last.pool_wait > last.network  # the deadline went by in the client's own queues
    return isinstance(error, RateLimitedError | RateLimitWaitError)


@define(eq=False)
class OrganizationState(ScheduleEntry):
    """An organization under watch. Times are by the watch's clock."""

    organization: Organization = field(kw_only=True)
    seen: float = field(kw_only=True)
    """When the last good answer came; before the first, when the watch began."""
    picture: CallSet = field(factory=CallSet)
    resumed: bool = False
    """Whether an earlier watch left what it knew."""
    answered: bool = False
    """Whether a good answer has come in this watch."""
    failures: int = 0
    """How often it failed since the last good answer."""
    unsettled: bool = False
    """Whether a recovery is to be told with the next good answer."""
    failed: bool = False
    """Whether the failure was told."""
    period: float | None = None
    """Seconds between the last two good answers."""

    def take_answer(self, listing: Listing, now: float, missed_polls_before_end: int, events: EventQueue) -> int:
        """Take in a good answer.

        Returns:
            The number of events that it came to.
        """
        since, gap = self.seen, now - self.seen
        if self.answered:
            self.period = gap
        told = int(self.unsettled)
        if self.unsettled:
            events.add_recovery(self.organization, gap, since)
        self.answered, self.failures, self.unsettled, self.failed, self.seen = True, 0, False, False, now
        if differences := self.picture.update(listing, missed_polls_before_end):
            events.add(self.organization, differences, since)
        return told + len(differences)

    def take_failure(self, error: Exception, interval: float, randomness: float, events: EventQueue) -> float:
        """Take in a failure, which is told once.

        A few refusals in a row for the sake of a rate limit are none: it is everybody's as a rule, and then the whole
        schedule is late. The organization is asked again before others.

        Returns:
            Seconds until the next try.
        """
        self.failures += 1
        if is_refusal(error) and self.failures < _REFUSALS_TO_FAIL:
            return 0.0
        if not self.failed:
            self.failed = self.unsettled = True
            events.add_failure(self.organization, error, self.seen)
        wanted = error.retry_after if isinstance(error, RateLimitedError | ServerError) else None
        return max(backoff(self.failures, interval, randomness), min(wanted or 0.0, _LONGEST_RETRY_AFTER))
