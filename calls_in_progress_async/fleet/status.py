"""The health of a fleet, from its workers' beats. Pure: the caller tells the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

_SHORTEST = 0.5
"""Seconds over which a rate is measured at least: a change of shards sends beats out of turn."""


@frozen(kw_only=True)
class WorkerStatus:
    """One worker, as of its last beat."""

    worker: str
    """The id of the worker."""
    shards: int
    """Number of shards held."""
    organizations: int
    """Number of organizations polled."""
    failing: int
    """Number of organizations in an outage."""
    share: float
    """The worker's share of the rate, from 0 to 1."""
    staleness: float
    """Age of the oldest last good response in seconds, organizations in an outage aside."""
    polls_per_second: float
    """Polls per second between the last two beats: the rate in use."""
    rate: float | None
    """Requests per second that the worker's share of the rate limit allows; None without a limit."""
    events_per_second: float
    """Events per second between the last two beats."""
    refused: int
    """Number of commits refused so far, because another worker had written."""


@frozen(kw_only=True)
class FleetStatus:
    """A fleet at one moment: its living workers, and their totals."""

    workers: tuple[WorkerStatus, ...]
    """The living workers, by name."""
    interval: float | None
    """Seconds between two polls of an organization, as set; None if no worker lives."""
    polls: int
    """Number of polls since the first beat heard."""

    @property
    def shards(self) -> int:
        """Number of shards held."""
        return sum(each.shards for each in self.workers)

    @property
    def organizations(self) -> int:
        """Number of organizations polled."""
        return sum(each.organizations for each in self.workers)

    @property
    def failing(self) -> int:
        """Number of organizations in an outage."""
        return sum(each.failing for each in self.workers)

    @property
    def staleness(self) -> float:
        """Age of the oldest last good response in seconds; 0 if no worker lives."""
        return max((each.staleness for each in self.workers), default=0.0)

    @property
    def polls_per_second(self) -> float:
        """Polls per second: the rate in use."""
        return sum(each.polls_per_second for each in self.workers)

    @property
    def rate(self) -> float | None:
        """Requests per second that the rate limit allows all living workers; None without a limit."""
        rates = [each.rate for each in self.workers if each.rate is not None]
        return sum(rates) if rates else None

    @property
    def events_per_second(self) -> float:
        """Events per second."""
        return sum(each.events_per_second for each in self.workers)

    @property
    def refused(self) -> int:
        """Number of commits refused so far."""
        return sum(each.refused for each in self.workers)


@define
class _Heard:
    """The last beat of a worker, and an earlier one to measure rates from."""

    beat: Mapping[str, Any]
    at: float
    earlier: Mapping[str, Any]
    earlier_at: float
    polls_per_second: float = 0.0
    events_per_second: float = 0.0

    def hear(self, beat: Mapping[str, Any], now: float) -> None:
        self.beat, self.at = beat, now
        if (seconds := now - self.earlier_at) >= _SHORTEST:
            self.polls_per_second = (beat["polls"] - self.earlier["polls"]) / seconds
            self.events_per_second = (beat["events"] - self.earlier["events"]) / seconds
            self.earlier, self.earlier_at = beat, now

    def status(self, now: float) -> WorkerStatus:
        beat = self.beat
        return WorkerStatus(
            worker=str(beat["by"]),
            shards=int(beat["shards"]),
            organizations=int(beat["organizations"]),
            failing=int(beat["failing"]),
            share=float(beat["share"]),
            staleness=float(beat["stale"]) + now - self.at,
            polls_per_second=self.polls_per_second,
            rate=None if beat["rate"] is None else float(beat["rate"]),
            events_per_second=self.events_per_second,
            refused=int(beat["refused"]),
        )


@define
class Workers:
    """The workers heard of lately."""

    polls: int = 0
    """Number of polls since the first beat heard."""
    _heard: dict[str, _Heard] = field(factory=dict, init=False)

    def hear(self, beat: Mapping[str, Any], now: float) -> None:
        """Take a beat of a worker."""
        name = str(beat["by"])
        heard = self._heard.get(name)
        if beat.get("leaving"):
            self._heard.pop(name, None)
        elif heard is None or beat["polls"] < heard.beat["polls"]:  # a new worker, or a new process of its name
            self._heard[name] = _Heard(beat, now, beat, now)
        else:
            self.polls += beat["polls"] - heard.beat["polls"]
            heard.hear(beat, now)

    def living(self, now: float) -> dict[str, Mapping[str, Any]]:
        """Return the last beats of the workers not silent for a lease, by name."""
        self._heard = {name: each for name, each in self._heard.items() if now - each.at < each.beat["lease"]}
        return {name: self._heard[name].beat for name in sorted(self._heard)}

    def status(self, now: float) -> FleetStatus:
        """Return the health of the fleet."""
        living = self.living(now)
        return FleetStatus(
            workers=tuple(self._heard[name].status(now) for name in living),
            interval=next((float(beat["interval"]) for beat in living.values()), None),
            polls=self.polls,
        )
