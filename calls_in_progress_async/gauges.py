"""Gauges: each makes one number of the levels of all clients, or of all watches and fleet workers, of a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from .instrumentation import ClientLevels, WatchLevels

Levels = TypeVar("Levels")


class Gauge(NamedTuple, Generic[Levels]):
    """A gauge without attributes."""

    name: str
    unit: str
    """The unit, in the notation of UCUM."""
    description: str
    choose: Callable[[list[Levels]], float]
    """Makes the value of one or more levels."""


CLIENT_GAUGES: tuple[Gauge[ClientLevels], ...] = (
    Gauge(
        "calls_in_progress.retry_budget.remaining",
        "{retry}",
        "Retries left until a success, of the client with the fewest.",
        lambda levels: min(each.retry_budget for each in levels),
    ),
)
WATCH_GAUGES: tuple[Gauge[WatchLevels], ...] = (
    Gauge(
        "calls_in_progress.watch.calls",
        "{call}",
        "Calls in progress, in the last good responses.",
        lambda levels: sum(each.calls for each in levels),
    ),
    Gauge(
        "calls_in_progress.watch.organizations",
        "{organization}",
        "Organizations polled.",
        lambda levels: sum(each.organizations for each in levels),
    ),
    Gauge(
        "calls_in_progress.watch.failing",
        "{organization}",
        "Organizations polled that fail at present.",
        lambda levels: sum(each.failing for each in levels),
    ),
    Gauge(
        "calls_in_progress.watch.staleness",
        "s",
        "Age of the oldest last good response.",
        lambda levels: max(each.max_staleness for each in levels),
    ),
)
