"""Events that nobody has taken are merged to their net effect, and never contradict each other."""

from __future__ import annotations

from typing import Any

import pytest
from watch.worlds import ACME, GLOBEX

from calls_in_progress_async import CallChanged, CallEnded, CallStarted, OrganizationFailed, OrganizationRecovered
from calls_in_progress_async.watch.call_state import ListedCall
from calls_in_progress_async.watch.event_queue import EventQueue

STATES = {number: ListedCall("A", b'{"transaction_id":"A","city":"%d"}' % number) for number in range(5)}


def short(event: Any) -> str:
    match event:
        case CallStarted(_, call):
            return f"+{call.city}"
        case CallEnded(_, call):
            return f"-{call.city}"
        case CallChanged(_, call, previous, _):
            return f"{previous.city}>{call.city}"
        case OrganizationFailed(_, error):
            return f"failed {error}"
        case OrganizationRecovered(_, gap):
            return f"recovered {gap:g}"
        case _:
            raise AssertionError(event)


def add(events: EventQueue, *story: str, organization: Any = ACME) -> None:
    """Add "+1", "1>2", "-2": a start as state 1, a change, an end; "F1" and "R5": a failure and a recovery."""
    for each in story:
        if each[0] == "F":
            events.add_failure(organization, ValueError(each[1:]), 0.0)
        elif each[0] == "R":
            events.add_recovery(organization, float(each[1:]), 0.0)
        else:
            old, new = ("", each[1:]) if each[0] == "+" else (each[1:], "") if each[0] == "-" else each.split(">")
            before, after = (STATES[int(state)] if state else None for state in (old, new))
            events.add(organization, [("A", before, after)], 0.0)


def take_all(events: EventQueue) -> list[str]:
    taken = []
    while (event := events.take()) is not None:
        taken.append(short(event))
    return taken


@pytest.mark.parametrize(
    ("story", "told", "merges"),
    [
        (["+1"], ["+1"], 0),
        (["+1", "1>2"], ["+2"], 1),
        (["+1", "1>2", "2>3"], ["+3"], 2),
        (["+1", "-1"], ["+1", "-1"], 0),
        (["+1", "1>2", "-2"], ["+2", "-2"], 1),
        (["1>2", "2>3"], ["1>3"], 1),
        (["1>2", "2>1"], [], 2),
        (["1>2", "2>1", "1>3"], ["1>3"], 2),
        (["1>2", "-2"], ["1>2", "-2"], 0),
        (["1>2", "2>1", "-1"], ["-1"], 2),
        (["-1", "+2"], ["-1", "+2"], 0),
        (["-1", "+2", "2>3"], ["-1", "+3"], 1),
        (["-1", "+2", "2>3", "-3", "+4"], ["-1", "+3", "-3", "+4"], 1),
        (["F1", "R5"], ["failed 1", "recovered 5"], 0),
        (["F1", "R5", "F2"], ["failed 2"], 2),
        (["F1", "R5", "F2", "R7"], ["failed 2", "recovered 12"], 2),
        (["F1", "R5", "F2", "R7", "F3", "R1"], ["failed 3", "recovered 13"], 4),
        (["R5"], ["recovered 5"], 0),
        (["R5", "F1"], ["recovered 5", "failed 1"], 0),
        (["R5", "F1", "R7"], ["recovered 12"], 2),
        (["R5", "F1", "R7", "F2"], ["recovered 12", "failed 2"], 2),
    ],
)
def test_net_effect(story: list[str], told: list[str], merges: int) -> None:
    """What is told is what it comes to, and merges are counted."""
    events = EventQueue()
    add(events, *story)
    assert len(events) == len(told)
    assert take_all(events) == told
    assert events.merges == merges
    assert not any(events._latest.values())
    assert not events._outages


@pytest.mark.parametrize("split", range(8))
def test_taking_in_between_loses_nothing(split: int) -> None:
    """Wherever the consumer takes what there is, the rest goes on from there."""
    story = ["+1", "1>2", "2>3", "-3", "+4", "4>1", "1>4", "-4"]
    events = EventQueue()
    add(events, *story[:split])
    told = take_all(events)
    add(events, *story[split:])
    told += take_all(events)
    state = ""
    for each in told:
        old, new = ("", each[1:]) if each[0] == "+" else (each[1:], "") if each[0] == "-" else each.split(">")
        assert old == state
        state = new
    assert state == ""


def test_a_change_that_is_undone_in_another_order_of_keys() -> None:
    """A call that changes and changes back is no event, in whatever order its keys come."""
    one, other, turned = (
        ListedCall("A", each)
        for each in (
            b'{"transaction_id":"A","city":"x"}',
            b'{"transaction_id":"A"}',
            b'{"city":"x","transaction_id":"A"}',
        )
    )
    events = EventQueue()
    events.add(ACME, [("A", one, other)], 0.0)
    events.add(ACME, [("A", other, turned)], 0.0)
    assert take_all(events) == []


def test_flapping_stays_bounded() -> None:
    """However often a call changes and an organization fails while nobody listens, little is kept."""
    events = EventQueue()
    for number in range(1000):
        add(events, "1>2", "2>1", f"F{number}", "R1")
    assert len(events) == 2
    assert take_all(events) == ["failed 999", "recovered 1000"]


def test_dropping_an_organization_leaves_the_others() -> None:
    """All events of one organization can be dropped."""
    events = EventQueue()
    add(events, "F1", "R2", "-1", "+2")
    add(events, "+3", organization=GLOBEX)
    events.drop([ACME])
    assert take_all(events) == ["+3"]
    add(events, "-2", "F1")
    assert take_all(events) == ["-2", "failed 1"]


def test_events_come_in_order() -> None:
    """Events of different calls come in the order in which they happened."""
    events = EventQueue()
    add(events, "+1")
    add(events, "+2", organization=GLOBEX)
    add(events, "-1")
    assert take_all(events) == ["+1", "+2", "-1"]
