"""The events of a watch in numbers."""

from __future__ import annotations

from collections import Counter

from attrs import define, field

from ..organization import Organization
from ..watch.events import (
    CallChanged,
    CallEnded,
    CallEvent,
    CallStarted,
    OrganizationFailed,
    OrganizationRecovered,
)
from ..watch.stats import WatchStats
from .output import count


@define
class Tally:
    """Counts of the events so far, and the failing organizations."""

    failing: dict[Organization, Exception] = field(factory=dict)
    """The error of each organization without a recovery since."""
    _counts: Counter[type[CallEvent]] = field(factory=Counter)

    def count(self, event: CallEvent) -> None:
        """Count an event."""
        self._counts[type(event)] += 1
        if isinstance(event, OrganizationFailed):
            self.failing[event.organization] = event.error
        elif isinstance(event, OrganizationRecovered):
            self.failing.pop(event.organization, None)

    def summary(self, stats: WatchStats) -> str:
        """Return all counts in a line."""
        counts = self._counts
        parts = [
            f"{count(stats.organizations, 'organization')}: {count(counts[CallStarted], 'call')} started",
            f"{counts[CallChanged]:,} changed",
            f"{counts[CallEnded]:,} ended",
            count(stats.requests, "request"),
        ]
        if failed := counts[OrganizationFailed]:
            parts.append(f"{count(failed, 'failure')}, {counts[OrganizationRecovered]:,} recovered")
        if stats.merges:
            parts.append(count(stats.merges, "merged event"))
        return ", ".join(parts)
