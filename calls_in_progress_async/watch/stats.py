"""The numbers of a watch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from ..organization import Organization
from .organization_state import OrganizationState


@frozen(kw_only=True)
class WatchStats:
    """How a watch is doing, at one moment. Times are in seconds."""

    organizations: int
    """Organizations under watch."""
    failing: int
    """Those whose finds fail at present."""
    interval: float
    """What was asked for."""
    effective_interval: float
    """What is kept: the mean time between the last two good answers. Larger than ``interval`` where the rate limit or
    the server is too slow for it."""
    effective_intervals: Mapping[Organization, float]
    """The same for each organization that has had two good answers."""
    staleness: float
    """The mean age of the last good answers."""
    max_staleness: float
    """The age of the oldest one."""
    staleness_by_organization: Mapping[Organization, float]
    """The age of the last good response of each organization; before the first, the time since its watch began."""
    requests: int
    """Finds made, without the client's own retries."""
    requests_saved: int
    """Finds that one an interval would have made beyond that: not made while an organization backed off, or while
    all were stretched."""
    unchanged: int
    """Answers that were the same as the last, of which nothing was decoded."""
    failures: int
    """Finds that failed."""
    events: int
    """Events that happened."""
    pending: int
    """Events that nobody has taken yet."""
    merges: int
    """Events that were merged into others, or undone by them, before anybody took them."""
    paused: bool
    """Whether polling waits because ``max_pending`` events are pending."""


def effective_intervals(watched: Iterable[OrganizationState]) -> dict[Organization, float]:
    """List the time between the last two good answers of each organization."""
    return {each.organization: each.period for each in watched if each.period is not None}


def mean(numbers: Iterable[float], default: float) -> float:
    """The mean of some numbers, or ``default`` where there are none."""
    known = list(numbers)
    return sum(known) / len(known) if known else default
