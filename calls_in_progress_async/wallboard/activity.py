"""Live calls over the last hour, as points of a chart."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define, field

_SPAN = 3600.0
"""Width of the chart in seconds."""


@define
class Activity:
    """The number of live calls at regular moments of the last hour."""

    sample_seconds: float
    points: deque[tuple[float, int]] = field(factory=deque)
    """Pairs of seconds since 1970 and live calls, oldest first."""

    def load(self, points: Iterable[tuple[float, int]], now: float) -> None:
        """Begin with earlier points, in any order; those of the future and of more than an hour ago are left out."""
        self.points = deque(sorted(point for point in points if now - _SPAN <= point[0] < now))

    def add(self, now: float, live: int) -> tuple[float, int] | None:
        """Add a point if one is due. Returns the new point, or None."""
        if self.points and 0 <= now - self.points[-1][0] < self.sample_seconds:
            return None
        while self.points and not now - _SPAN <= self.points[0][0] <= now:
            self.points.popleft()  # too old, or from before the wall clock was set back
        point = (round(now, 1), live)
        self.points.append(point)
        return point
