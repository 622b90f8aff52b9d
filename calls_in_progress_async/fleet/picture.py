"""A fleet at one moment: its workers, its log and its consumers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import asdict, frozen

from .log_values import Consumer, StreamState
from .status import FleetStatus


@frozen(kw_only=True)
class FleetPicture:
    """A fleet at one moment."""

    name: str
    """The name of the fleet."""
    status: FleetStatus
    log: StreamState | None
    """The extent of the log; None if the log does not respond."""
    consumers: Sequence[Consumer]

    def to_dict(self) -> dict[str, Any]:
        """Return the picture as JSON-ready values."""
        status = self.status
        totals = ("shards", "organizations", "failing", "staleness", "polls_per_second", "rate", "events_per_second")
        return {
            "fleet": self.name,
            "total": _rounded({"workers": len(status.workers), **{name: getattr(status, name) for name in totals}}),
            "workers": [_rounded(asdict(worker)) for worker in status.workers],
            "log": None if self.log is None else self.log._asdict(),
            "consumers": [
                {"group": each.group, "lag": each.pending, "unacknowledged": each.unacknowledged}
                for each in self.consumers
            ],
        }


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in fields.items()}
