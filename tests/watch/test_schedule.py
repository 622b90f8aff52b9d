"""First polls are prompt, later ones spread and evenly stretched, and one organization's trouble is its own."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls_in_progress_async.watch.schedule import Schedule, ScheduleEntry, backoff, position

Entry: TypeAlias = ScheduleEntry[int]
START = 1000.0


def make(count: int, *, interval: float = 10.0, max_in_flight: int = 4) -> tuple[Schedule[int], list[Entry]]:
    schedule: Schedule[int] = Schedule(interval, max_in_flight)
    return schedule, [schedule.add(number, f"advertiser:{number}", START) for number in range(count)]


def run(
    schedule: Schedule[int], start: float, seconds: float, cost: float, slow: frozenset[int] = frozenset()
) -> list[tuple[float, int]]:
    """Take polls one after the other, each of ``cost`` seconds; give back the items in ``slow`` as slow."""
    now, end, taken = start, start + seconds, []
    while now < end:
        entry = schedule.take(now)
        if entry is None:
            wait = schedule.wait(now)
            now = end if wait is None else now + max(wait, 0.001)
            continue
        taken.append((now, entry.item))
        now += cost
        schedule.give_back(entry, now, slow=entry.item in slow)
    return taken


def times_of(taken: list[tuple[float, int]], item: int) -> list[float]:
    return [moment for moment, one in taken if one == item]


def test_every_first_poll_is_due_at_once() -> None:
    """A thousand organizations are polled as fast as the caller can, in the order of their points."""
    schedule, entries = make(1000)
    assert schedule.wait(START) == 0.0
    taken = [item for _, item in run(schedule, START, 0.5, 0.0001)][:1000]
    assert sorted(taken) == list(range(1000))
    points = [entries[item].offset for item in taken]
    assert points == sorted(points)  # a round begins now


def test_first_polls_that_take_long_are_no_reason_for_long_gaps() -> None:
    """With capacity for half of the polls, the second poll of each comes two intervals after the first."""
    schedule, entries = make(100)
    taken = run(schedule, START, 60.0, 0.2)
    gaps = [later - earlier for each in entries for earlier, later in pairwise(times_of(taken, each.item))]
    assert min(gaps) > 19.0
    assert max(gaps) < 21.0


@pytest.mark.parametrize("before", [0.02, 5.0, 9.0])
def test_a_first_poll_may_wait_for_its_point(before: float) -> None:
    """An organization that another process polled until now keeps its rhythm, even if its point is very near."""
    schedule: Schedule[int] = Schedule(10.0, 4)
    start = START + 10.0 * position("advertiser:1") - before
    schedule.add(1, "advertiser:1", start, at_once=False)
    (taken, *_) = times_of(run(schedule, start, 20.0, 0.001), 1)
    assert taken == pytest.approx(start + before, abs=0.01)


def test_a_schedule_tells_the_time_since_a_point() -> None:
    """The points of a name are an interval apart, in Unix time."""
    schedule: Schedule[int] = Schedule(10.0, 4)
    point = START + 10.0 * position("advertiser:1")
    assert schedule.since_point("advertiser:1", point + 0.5) == pytest.approx(0.5)
    assert schedule.since_point("advertiser:1", point - 0.5) == pytest.approx(9.5)


def test_later_polls_are_spread_over_the_interval() -> None:
    """From the second poll on, a thousand organizations are spread evenly."""
    schedule, _ = make(1000)
    run(schedule, START, 10.0, 0.0)
    times = [moment for moment, _ in run(schedule, START + 10, 10.0, 0.0)]
    per_second = [sum(START + 10 + second <= each < START + 11 + second for each in times) for second in range(10)]
    assert len(times) == 1000
    assert all(70 < count < 130 for count in per_second)


def test_points_are_the_same_in_every_process() -> None:
    """The point within the interval follows from the name alone."""
    code = "from calls_in_progress_async.watch.schedule import position; print(position('advertiser:25'))"
    shown = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert shown == {f"{position('advertiser:25')}\n"}
    assert 0 <= position("advertiser:25") < 1


@pytest.mark.parametrize("started", [0.0, 3.3, 77.7])
def test_points_are_counted_in_unix_time(started: float) -> None:
    """Schedules of two machines, with clocks and starts of their own, poll an organization at the same Unix times."""
    unix = []
    for epoch in (1_700_000_000.0, 1_699_999_123.4):
        schedule: Schedule[int] = Schedule(10.0, 4, epoch)
        schedule.add(0, "advertiser:25", 1_700_000_000.0 + started - epoch)
        taken = run(schedule, 1_700_000_000.0 + started - epoch, 50.0, 0.01)
        unix.append([moment + epoch for moment, _ in taken][1:5])
    assert unix[0] == pytest.approx(unix[1], abs=0.01)
    assert [each % 10.0 for each in unix[0]] == pytest.approx([10 * position("advertiser:25")] * 4, abs=0.01)


def test_the_interval_is_kept() -> None:
    """If there is time enough, each organization is polled once an interval, to the moment."""
    schedule, entries = make(20)
    taken = run(schedule, START, 100.0, 0.01)
    for entry in entries:
        times = times_of(taken, entry.item)
        assert len(times) in (10, 11, 12)
        assert all(later - earlier == pytest.approx(10.0, abs=0.3) for earlier, later in pairwise(times[1:]))
        assert times[1] - times[0] < 11.1  # a point soon after the first poll is skipped


def test_overload_stretches_all_alike() -> None:
    """At half the needed capacity every organization is polled every two intervals: none starves."""
    schedule, entries = make(100)
    taken = run(schedule, START, 200.0, 0.2)
    for entry in entries:
        times = times_of(taken, entry.item)
        assert len(times) >= 8
        assert all(later - earlier == pytest.approx(20.0, rel=0.05) for earlier, later in pairwise(times[4:]))


def test_after_an_overload_the_points_are_those_of_the_names_again() -> None:
    """Lost time is won back slowly, by polls at most a tenth too early."""
    schedule, (entry, *_) = make(100)
    run(schedule, START, 200.0, 0.2)
    taken = run(schedule, START + 200, 2000.0, 0.001)
    times = times_of(taken, entry.item)
    assert all(8.8 < later - earlier < 10.2 for earlier, later in pairwise(times[2:]))
    assert times[-1] % 10.0 == pytest.approx(10 * position("advertiser:0"), abs=0.1)


def test_after_a_standstill_no_burst_makes_up_for_it() -> None:
    """After a long pause polls come at about the usual pace, spread as before."""
    schedule, _ = make(100)
    run(schedule, START, 20.0, 0.0)
    times = [moment for moment, _ in run(schedule, START + 500, 10.0, 0.0)]
    assert 90 <= len(times) <= 115
    assert sum(moment < START + 501 for moment in times) < 30


@pytest.mark.parametrize("removed", [False, True])
def test_a_standstill_is_over_for_polls_that_end_with_it(removed: bool) -> None:
    """Polls that hung in a standstill of 60 s, and organizations added at its end, are polled an interval later."""
    schedule, _ = make(100)
    run(schedule, START, 20.0, 0.001)
    hung = next(filter(None, (schedule.take(START + 20 + tenth / 10) for tenth in range(10))))
    now = START + 80
    if removed:  # the longest overdue one leaves meanwhile
        schedule.remove(schedule._heap[0][2])
    new = schedule.add(1000, "advertiser:1000", now)
    schedule.give_back(hung, now, slow=False)
    taken = run(schedule, now, 15.0, 0.001)
    assert times_of(taken, new.item)[0] <= now + 1
    assert times_of(taken, hung.item)[0] <= now + 11


def test_a_missed_point_is_missed() -> None:
    """A poll that takes longer than the interval is followed by the next point, not by the points it missed."""
    schedule, (entry,) = make(1)
    assert schedule.take(START) is entry
    assert schedule.wait(START) is None
    schedule.give_back(entry, START + 25.0, slow=False)
    due = START + 25.0 + (schedule.wait(START + 25.0) or 0.0)
    assert due % 10.0 == pytest.approx(10 * position("advertiser:0"))
    assert due < START + 36.1


def test_a_late_first_poll_delays_nobody() -> None:
    """A first pass that takes half an interval costs no time: later polls come at the points of the names."""
    schedule, (entry,) = make(1)
    assert schedule.take(START + 5.0) is entry
    schedule.give_back(entry, START + 5.0, slow=False)
    due = START + 5.0 + (schedule.wait(START + 5.0) or 0.0)
    assert due % 10.0 == pytest.approx(10 * position("advertiser:0"))


@pytest.mark.parametrize("before", [0.0, 1e-7, 0.05])
def test_a_point_that_is_too_near_is_skipped(before: float) -> None:
    """A poll that ends right at a point, or a rounding error before it, is not followed by another at once."""
    schedule, (entry,) = make(1)
    point = START + 10.0 * position("advertiser:0") + 10.0
    assert schedule.take(START) is entry
    schedule.give_back(entry, point - before, slow=False)
    assert schedule.wait(point - before) == pytest.approx(10.0 + before)


def test_a_delay_is_kept() -> None:
    """After a failure the next poll comes after the given delay."""
    schedule, (entry,) = make(1)
    assert schedule.take(START) is entry
    schedule.give_back(entry, START, slow=True, delay=33.0)
    assert schedule.wait(START) == pytest.approx(33.0)
    assert schedule.take(START + 32.9) is None
    assert schedule.take(START + 33.1) is entry


def take_due(schedule: Schedule[int], start: float) -> list[Entry]:
    """Take every entry due within one interval and a bit."""
    steps = [start + step / 100 for step in range(1101)]
    return [entry for now in steps if (entry := schedule.take(now)) is not None]


def give_back_all(schedule: Schedule[int], entries: list[Entry], now: float, slow: list[Entry]) -> None:
    for entry in entries:
        schedule.give_back(entry, now, slow=entry in slow)


def test_slow_entries_leave_room() -> None:
    """Slow entries take one place of four; the others go on."""
    schedule, entries = make(10)
    give_back_all(schedule, take_due(schedule, START), START + 11, entries[:3])
    running = take_due(schedule, START + 11)
    assert sum(entry in entries[:3] for entry in running) == 1
    assert len(running) == 8
    assert schedule.wait(START + 22) is None
    (hanging,) = [entry for entry in running if entry in entries[:3]]
    schedule.give_back(hanging, START + 22, slow=True)
    assert schedule.wait(START + 22) == 0.0
    assert schedule.take(START + 22) in entries[:3]


def test_slow_entries_are_counted_once() -> None:
    """An entry that stays slow counts once, and not at all after its removal."""
    schedule, entries = make(10)
    for start in range(1000, 1110, 11):
        give_back_all(schedule, take_due(schedule, start), start + 11, entries[:3])
    assert sum(entry in entries[:3] for entry in take_due(schedule, 1110.0)) == 1
    schedule, entries = make(10)
    give_back_all(schedule, take_due(schedule, START), START + 11, entries[:6])
    for entry in entries[:3]:
        schedule.remove(entry)
    assert sum(entry in entries[3:6] for entry in take_due(schedule, START + 11)) == 1


def test_if_most_are_slow_no_room_is_kept() -> None:
    """If the server is slow for all, slow entries may be all polls in flight."""
    schedule, entries = make(10)
    give_back_all(schedule, take_due(schedule, START), START + 11, entries)
    assert len(take_due(schedule, START + 11)) == 10


def test_removal_at_every_stage() -> None:
    """An entry can be removed while it waits, while it is held back, and while its poll runs."""
    schedule, entries = make(10)
    give_back_all(schedule, take_due(schedule, START), START + 11, entries[:3])
    schedule.remove(entries[9])
    schedule.remove(entries[9])
    running = take_due(schedule, START + 11)
    assert entries[9] not in running
    (hanging,) = [entry for entry in running if entry in entries[:3]]
    held = [entry for entry in entries[:3] if entry is not hanging]
    schedule.remove(held[0])
    schedule.remove(hanging)
    schedule.give_back(hanging, START + 22, slow=True)
    assert schedule.take(START + 22) is held[1]
    assert schedule.take(START + 22) is None
    assert schedule.wait(START + 22) is None


def test_removed_entries_do_not_pile_up() -> None:
    """Removed entries do not stay in memory."""
    schedule, entries = make(100)
    for entry in entries[:99]:
        schedule.remove(entry)
    assert len(schedule._heap) <= 2
    assert [schedule.take(START), schedule.take(START)] == [entries[99], None]


@pytest.mark.timeout(20)  # a search for each takes minutes
def test_removing_entries_that_are_held_takes_linear_time() -> None:
    """Thousands of slow entries that wait for one place are removed without a search for each."""
    schedule, entries = make(10_000)
    taken = [schedule.take(START) for _ in entries]
    for number, entry in enumerate(taken):
        assert entry is not None
        schedule.give_back(entry, START, slow=number % 2 == 0 and number > 2, delay=1.0)
    while schedule.take(START + 2) is not None:
        pass
    for entry in reversed(entries):
        schedule.remove(entry)


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 5.0), (2, 10.0), (3, 20.0), (4, 40.0), (5, 50.0), (6, 50.0), (10_000, 50.0)]
)
def test_backoff_doubles(failures: int, longest: float) -> None:
    """The backoff doubles from one interval to ten intervals, and half of it is random."""
    assert backoff(failures, 5.0, 1.0) == longest
    assert backoff(failures, 5.0, 0.0) == longest / 2


def test_backoff_has_a_limit() -> None:
    """The backoff is a minute at most, unless the interval is longer."""
    assert backoff(50, 20.0, 1.0) == 60.0
    assert backoff(50, 300.0, 1.0) == 300.0


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 40), st.booleans(), st.booleans()), max_size=60))
def test_whatever_happens_every_organization_is_polled(story: list[tuple[int, float, bool, bool]]) -> None:
    """After any history of slowness and failures, each organization is polled within two minutes of calm."""
    schedule, entries = make(6, interval=5.0)
    now = START
    running: list[Entry] = []
    for number, seconds, slow, failed in story:
        now += seconds
        while len(running) < 4 and (entry := schedule.take(now)) is not None:
            assert entry not in running
            running.append(entry)
        if running:
            entry = running.pop(number % len(running))
            schedule.give_back(entry, now, slow=slow or failed, delay=20.0 if failed else None)
    for entry in running:
        schedule.give_back(entry, now, slow=False)
    assert {item for _, item in run(schedule, now, 120.0, 0.01)} == {entry.item for entry in entries}
