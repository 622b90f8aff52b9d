"""Figures of a fleet, from the polls that the sandbox saw and the messages in the log. Pure. Times are Unix times."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fleet.audit import Truth


def percentile(figures: Iterable[float], share: float) -> float:
    """Return a percentile; 0 of no figures."""
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def longest_gap(truths: Iterable[Truth], since: float, until: float) -> float:
    """Return the longest time without a poll of some organization that ends after ``since``."""
    gaps = [
        min(after, until) - before
        for truth in truths
        for before, after in itertools.pairwise((*truth.polls, until))
        if after > since
    ]
    return max(gaps, default=0.0)


def poll_times(truths: Iterable[Truth]) -> list[float]:
    """Return the times of all polls, in order."""
    return sorted(itertools.chain.from_iterable(truth.polls for truth in truths))


def worst_second(times: Sequence[float], since: float, until: float) -> int:
    """Return the highest number of polls in any second."""
    within = times[bisect_left(times, since) : bisect_right(times, until)]
    return max((number - bisect_left(within, time - 1.0) for number, time in enumerate(within, 1)), default=0)


def until_full_rate(times: Sequence[float], since: float, polls: int, interval: float) -> float:
    """Return the seconds until an interval begins with nearly all of its polls; infinity if there is none."""
    for tenths in range(int(10 * (times[-1] - interval - since))):
        at = since + tenths / 10
        if bisect_left(times, at + interval) - bisect_left(times, at) >= 0.95 * polls:
            return tenths / 10
    return float("inf")


def detection(messages: Sequence[dict[str, Any]], truths: Mapping[str, Truth], since: float) -> list[float]:
    """Return the seconds from each start and end of a call until its event is in the log."""
    kinds = {"started": "call_started", "ended": "call_ended"}
    logged: dict[tuple[str, str], float] = {}
    for message in messages:
        for event in message["events"]:
            if "call_id" in event:
                logged.setdefault((event["kind"], event["call_id"]), message["logged"])
    return [
        logged[key] - time
        for truth in truths.values()
        for time, kind, name in truth.history
        if time > since and (key := (kinds.get(kind, kind), name)) in logged
    ]
