"""Pending events merge to their net effect, and never contradict each other."""

from __future__ import annotations

from typing import Any

import pytest
from watch.scripted_calls import ACME, GLOBEX

from calls_in_progress_async import (
    CallChanged,
    CallEnded,
    CallStarted,
    Organization,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
)
from calls_in_progress_async.watch.call_set import Delta
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
        case OrganizationResumed(_, gap):
            return f"resumed {gap:g}"
        case _:
            raise AssertionError(event)


def add(queue: EventQueue, *story: str, organization: Any = ACME) -> None:
    """Add "+1", "1>2", "-2": a start as state 1, a change, an end; "F1", "R5", "S5": failure, recovery, resumption."""
    for each in story:
        if each[0] == "F":
            queue.add_failure(organization, ValueError(each[1:]), 0.0)
        elif each[0] == "R":
            queue.add_recovery(organization, float(each[1:]), 0.0)
        elif each[0] == "S":
            queue.add_resumption(organization, float(each[1:]), 0.0)
        else:
            old, new = ("", each[1:]) if each[0] == "+" else (each[1:], "") if each[0] == "-" else each.split(">")
            before, after = (STATES[int(state)] if state else None for state in (old, new))
            queue.add(organization, [Delta("A", before, after)], 0.0)


def take_all(queue: EventQueue) -> list[str]:
    taken = []
    while (event := queue.take()) is not None:
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
        (["S5"], ["resumed 5"], 0),
        (["S5", "F1"], ["resumed 5", "failed 1"], 0),
        (["S5", "F1", "R7"], ["resumed 12"], 2),
        (["S5", "F1", "R7", "F2", "R1"], ["resumed 13"], 4),
    ],
)
def test_net_effect(story: list[str], told: list[str], merges: int) -> None:
    """The queue tells the net effect, counts merges, and keeps nothing after the last event is taken."""
    queue = EventQueue()
    add(queue, *story)
    assert len(queue) == len(told)
    assert take_all(queue) == told
    assert queue.merges == merges
    assert not queue._pending


@pytest.mark.parametrize("split", range(8))
def test_taking_in_between_loses_nothing(split: int) -> None:
    """Whenever the consumer takes what there is, each later event starts from the state told last."""
    story = ["+1", "1>2", "2>3", "-3", "+4", "4>1", "1>4", "-4"]
    queue = EventQueue()
    add(queue, *story[:split])
    told = take_all(queue)
    add(queue, *story[split:])
    told += take_all(queue)
    state = ""
    for each in told:
        old, new = ("", each[1:]) if each[0] == "+" else (each[1:], "") if each[0] == "-" else each.split(">")
        assert old == state
        state = new
    assert state == ""


def test_a_change_undone_in_another_spelling_is_no_event() -> None:
    """A change and its undoing cancel out, in any order of keys."""
    one, other, back = (
        ListedCall("A", each)
        for each in (
            b'{"transaction_id":"A","city":"x"}',
            b'{"transaction_id":"A"}',
            b'{"city":"x","transaction_id":"A"}',
        )
    )
    queue = EventQueue()
    queue.add(ACME, [Delta("A", one, other)], 0.0)
    queue.add(ACME, [Delta("A", other, back), Delta("B", None, one)], 0.0)
    assert take_all(queue) == ["+x"]


def test_flapping_stays_bounded() -> None:
    """However often a call changes and an organization fails while nobody listens, two events are kept."""
    queue = EventQueue()
    for number in range(1000):
        add(queue, "1>2", "2>1", f"F{number}", "R1")
    assert len(queue) == 2
    assert take_all(queue) == ["failed 999", "recovered 1000"]


def test_dropping_an_organization_leaves_the_others() -> None:
    """Dropping removes all events of one organization, and a later event of its own starts afresh."""
    queue = EventQueue()
    add(queue, "F1", "R2", "-1", "+2")
    add(queue, "+3", organization=GLOBEX)
    queue.drop([ACME])
    queue.drop([ACME])
    assert take_all(queue) == ["+3"]
    add(queue, "-2", "F1")
    assert take_all(queue) == ["-2", "failed 1"]


@pytest.mark.timeout(20)  # looking through the whole queue each time takes a minute
def test_dropping_one_by_one_takes_linear_time() -> None:
    """Dropping an organization looks at its own events alone, however many are pending."""
    queue = EventQueue()
    organizations = [Organization.advertiser(number) for number in range(1, 10_001)]
    for organization in organizations:
        add(queue, "+1", "-1", "F1", organization=organization)
    for organization in organizations:
        queue.drop([organization])
    assert len(queue) == 0


def test_events_come_in_order() -> None:
    """Events of different calls come in the order of their happening."""
    queue = EventQueue()
    add(queue, "+1")
    add(queue, "+2", organization=GLOBEX)
    add(queue, "-1")
    assert take_all(queue) == ["+1", "+2", "-1"]
