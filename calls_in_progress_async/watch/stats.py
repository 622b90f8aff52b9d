"""The numbers of a watch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from attrs import frozen

from ..instrumentation import WatchLevels
from ..organization import Organization
from .organization_state import OrganizationState


class SecondsByOrganization(Mapping[Organization, float]):
    """Seconds by organization. Immutable. ``attrs.asdict`` cannot take organizations as keys, and leaves this whole."""

    def __init__(self, seconds: Mapping[Organization, float]) -> None:
        self._seconds = dict(seconds)

    def __getitem__(self, organization: Organization) -> float:
        return self._seconds[organization]

    def __iter__(self) -> Iterator[Organization]:
        return iter(self._seconds)

    def __len__(self) -> int:
        return len(self._seconds)

    def __hash__(self) -> int:
        return hash(frozenset(self._seconds.items()))

    def __repr__(self) -> str:
        return f"SecondsByOrganization({self._seconds!r})"


@frozen(kw_only=True)
class WatchStats:
    """The state of a watch at one moment. Times are in seconds."""

    organizations: int
    """Number of organizations under watch."""
    failing: int
    """Number of organizations failing at present."""
    interval: float
    """The interval of the settings."""
    effective_interval: float
    """The interval kept: the mean time between the last two good responses. Larger than ``interval`` if the rate limit
    or the server is too slow."""
    effective_intervals: Mapping[Organization, float]
    """The time between the last two good responses, for each organization with three of them."""
    staleness: float
    """The mean age of the last good responses."""
    max_staleness: float
    """The age of the oldest last good response."""
    staleness_by_organization: Mapping[Organization, float]
    """The age of the last good response of each organization; before the first, the time since its watch began."""
    requests: int
    """Number of polls, without the client's own retries."""
    requests_saved: int
    """Number of polls not made because an organization backed off, or because all were stretched."""
    unchanged: int
    """Number of responses equal to the last, byte for byte. Nothing of these was decoded."""
    failures: int
    """Number of failed polls."""
    events: int
    """Number of events so far."""
    pending: int
    """Number of events not taken yet."""
    merges: int
    """Number of events merged into others, or undone by others, before anybody took them."""
    paused: bool
    """True while polling waits because ``max_pending`` events are pending."""


def levels(states: Collection[OrganizationState], now: float) -> WatchLevels:
    """Return the numbers for a gauge."""
    return WatchLevels(
        organizations=len(states),
        failing=sum(each.failed for each in states),
        calls=sum(len(each.calls.calls) for each in states),
        max_staleness=max((now - each.last_response_at for each in states), default=0.0),
    )


def effective_intervals(states: Iterable[OrganizationState]) -> SecondsByOrganization:
    """Return the time between the last two good responses of each organization."""
    return SecondsByOrganization({each.organization: each.period for each in states if each.period is not None})


def mean(numbers: Iterable[float], default: float) -> float:
    """Return the mean of some numbers, or ``default`` if there are none."""
    known = list(numbers)
    return sum(known) / len(known) if known else default
