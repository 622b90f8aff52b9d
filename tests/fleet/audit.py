"""An audit: every message of the log held against every call of the sandbox. Pure. All times are Unix times."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from calls_in_progress_async.sandbox.history import HistoryEvent

_RESPONSE = 0.1
"""Seconds from the record of a request until the sandbox looks up the calls, at most, on a loaded machine."""


@frozen
class Truth:
    """One organization in the sandbox."""

    history: Sequence[HistoryEvent]
    polls: Sequence[float]
    """Times of all polls, in order."""


def audit(
    messages: Sequence[dict[str, Any]], truths: Mapping[str, Truth], unsure: Sequence[tuple[float, float]] = ()
) -> dict[str, int]:
    """Count the faults of a log; an empty result means a log without any.

    Args:
        messages: The messages of the log as JSON, in order.
        truths: The organizations, by name.
        unsure: Spans of time whose findings may have died with a worker or with a part of the log.
    """
    found: Counter[str] = Counter()
    by_organization = defaultdict(list)
    for message in messages:
        by_organization[message["organization"]].append(message)
    ids = Counter(event["id"] for message in messages for event in message["events"])
    found["the same id twice"] = sum(count > 1 for count in ids.values())
    for name, truth in truths.items():
        found += _audit_order(by_organization[name])
        found += _audit_truth(by_organization[name], truth, unsure)
    return dict(+found)


def _audit_order(messages: Sequence[dict[str, Any]]) -> Counter[str]:
    """Check the messages of one organization against each other."""
    found: Counter[str] = Counter()
    calls: dict[str, Any] = {}
    for rev, message in enumerate(messages, 1):
        found["misordered"] += message["rev"] != rev
        for event in message["events"]:
            name, kind = event.get("call_id"), event["kind"]
            if name is None:
                continue
            found["contradiction"] += (name in calls) is (kind == "call_started")
            found["change of nothing"] += kind == "call_changed" and event["call"] == calls.get(name)
            if kind == "call_ended":
                calls.pop(name, None)
            else:
                calls[name] = event["call"]
        found["state unlike the events"] += set(message["calls"]) != calls.keys()
    return found


def _audit_truth(
    messages: Sequence[dict[str, Any]], truth: Truth, unsure: Sequence[tuple[float, float]]
) -> Counter[str]:
    """Check the messages of one organization against the sandbox."""
    found: Counter[str] = Counter()
    told = Counter(
        (event["kind"], event["call_id"]) for each in messages for event in each["events"] if "call_id" in event
    )
    born = {name: time for time, kind, name in truth.history if kind == "started"}
    died = {name: time for time, kind, name in truth.history if kind == "ended"}
    last = truth.polls[-1]
    last_sure = max((time for time in truth.polls if not any(a <= time <= b for a, b in unsure)), default=0.0)
    for name, began in born.items():
        ended = died.get(name, float("inf"))
        polls = truth.polls[bisect_left(truth.polls, began) : bisect_right(truth.polls, ended)]
        surely = [time for time in polls if not any(a <= time <= b for a, b in unsure) and time + _RESPONSE < ended]
        found["start lost"] += bool(surely) and not told["call_started", name]
        found["end lost"] += ended < last_sure and told["call_started", name] > told["call_ended", name]
    for (kind, name), count in told.items():
        found["of no call"] += name not in born
        found["doubled"] += kind != "call_changed" and count > 1
        found["end of a live call"] += kind == "call_ended" and died.get(name, float("inf")) > last + _RESPONSE
    return found
