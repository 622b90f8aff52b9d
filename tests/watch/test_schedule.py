"""WriteOrder are spread, evenly stretched, and one organization's trouble is its own."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls_in_progress_async.watch.schedule import Schedule, ScheduleEntry, backoff, position


def make(
    count: int, *, interval: float = 10.0, places: int = 4, jitter: float = 0.0
) -> tuple[Schedule[ScheduleEntry], list[ScheduleEntry]]:
    schedule: Schedule[ScheduleEntry] = Schedule(interval, places)
    turns = [ScheduleEntry() for _ in range(count)]
    for number, turn in enumerate(turns):
        schedule.add(turn, f"advertiser:{number}", 1000.0, lambda: jitter)
    return schedule, turns


def run(
    schedule: Schedule[ScheduleEntry], start: float, seconds: float, cost: float, slow: frozenset[int] = frozenset()
) -> list[tuple[float, int]]:
    """Take turns one after the other, each of ``cost`` seconds; those in ``slow`` are told to be so."""
    now, end, taken = start, start + seconds, []
    while now < end:
        turn = schedule.take(now)
        if turn is None:
            wait = schedule.wait(now)
            now = end if wait is None else now + max(wait, 0.001)
            continue
        taken.append((now, id(turn)))
        now += cost
        schedule.give_back(turn, now, slow=id(turn) in slow)
    return taken


def test_a_start_is_no_stampede() -> None:
    """A thousand organizations are spread over the interval."""
    schedule, _ = make(1000)
    times = [time for time, _ in run(schedule, 1000.0, 10.0, 0.0)]
    assert len(times) == 1000
    per_second = [sum(1000 + second <= time < 1001 + second for time in times) for second in range(10)]
    assert all(70 < count < 130 for count in per_second)


def test_positions_are_the_same_in_every_process() -> None:
    """The point within the interval follows from the name alone."""
    code = "from calls_in_progress_async.watch.schedule import position; print(position('advertiser:25'))"
    shown = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert shown == {f"{position('advertiser:25')}\n"}
    assert 0 <= position("advertiser:25") < 1


def test_jitter_moves_the_point() -> None:
    """Randomness moves a point by up to a tenth of the interval."""
    still, moved = make(1)[0], make(1, jitter=1.0)[0]
    first, second = still.wait(1000.0), moved.wait(1000.0)
    assert first is not None
    assert second is not None
    assert (second - first) % 10.0 == pytest.approx(1.0)


def test_the_interval_is_kept() -> None:
    """Where there is time enough, each has its turn once an interval, to the moment."""
    schedule, turns = make(20)
    taken = run(schedule, 1000.0, 100.0, 0.01)
    for turn in turns:
        times = [time for time, one in taken if one == id(turn)]
        assert len(times) in (10, 11)
        assert all(later - earlier == pytest.approx(10.0, abs=0.3) for earlier, later in pairwise(times))


def test_overload_stretches_all_alike() -> None:
    """At half the needed capacity everybody has a turn every two intervals: nobody starves."""
    schedule, turns = make(100)
    taken = run(schedule, 1000.0, 200.0, 0.2)
    for turn in turns:
        times = [time for time, one in taken if one == id(turn)]
        assert len(times) >= 9
        assert all(later - earlier == pytest.approx(20.0, rel=0.05) for earlier, later in pairwise(times[1:]))


def test_after_a_standstill_nothing_is_made_up_for() -> None:
    """After a long pause turns come at the usual pace, spread as before."""
    schedule, _ = make(100)
    run(schedule, 1000.0, 20.0, 0.0)
    times = [time for time, _ in run(schedule, 1500.0, 10.0, 0.0)]
    assert 90 <= len(times) <= 111
    assert sum(time < 1501.0 for time in times) < 30


def test_a_missed_turn_is_missed() -> None:
    """One whose turn took longer than the interval keeps its point."""
    schedule, (turn,) = make(1)
    due = 1000.0 + (schedule.wait(1000.0) or 0.0)
    assert schedule.take(due) is turn
    assert schedule.wait(due) is None
    schedule.give_back(turn, due + 25.0, slow=False)
    assert schedule.wait(due + 25.0) == pytest.approx(5.0)


def test_a_delay_is_kept() -> None:
    """After a failure the next turn comes when it is told to."""
    schedule, (turn,) = make(1)
    assert schedule.take(1010.0) is turn
    schedule.give_back(turn, 1010.0, slow=True, delay=33.0)
    assert schedule.wait(1010.0) == pytest.approx(33.0)
    assert schedule.take(1042.9) is None
    assert schedule.take(1043.1) is turn


def take_all(schedule: Schedule[ScheduleEntry], start: float) -> list[ScheduleEntry]:
    """Take every turn of one interval when it is due."""
    steps = [start + step / 100 for step in range(1001)]
    return [turn for now in steps if (turn := schedule.take(now)) is not None]


def test_slow_ones_leave_room() -> None:
    """Of four places, those in trouble take one; the others go on."""
    schedule, turns = make(10)
    for turn in take_all(schedule, 1000.0):
        schedule.give_back(turn, 1010.0, slow=turn in turns[:3])
    running = take_all(schedule, 1010.0)
    assert sum(turn in turns[:3] for turn in running) == 1
    assert len(running) == 8
    assert schedule.wait(1020.0) is None
    (hanging,) = [turn for turn in running if turn in turns[:3]]
    schedule.give_back(hanging, 1021.0, slow=True)
    assert schedule.wait(1021.0) == 0.0
    assert schedule.take(1021.0) in turns[:3]


def test_slow_ones_are_counted_once() -> None:
    """One that stays slow counts as one, and one that is removed no more."""
    schedule, turns = make(10)
    for start in range(1000, 1100, 10):
        for turn in take_all(schedule, start):
            schedule.give_back(turn, start + 10, slow=turn in turns[:3])
    assert sum(turn in turns[:3] for turn in take_all(schedule, 1100.0)) == 1
    schedule, turns = make(10)
    for turn in take_all(schedule, 1000.0):
        schedule.give_back(turn, 1010.0, slow=turn in turns[:6])
    for turn in turns[:3]:
        schedule.remove(turn)
    assert sum(turn in turns[3:6] for turn in take_all(schedule, 1010.0)) == 1


def test_where_most_are_slow_no_room_is_kept() -> None:
    """If the server is slow for all, all places are used."""
    schedule, _ = make(10)
    for turn in take_all(schedule, 1000.0):
        schedule.give_back(turn, 1010.0, slow=True)
    assert len(take_all(schedule, 1010.0)) == 10


def test_removal_at_every_stage() -> None:
    """An organization can go while it waits, while it is held, and while it is being asked."""
    schedule, turns = make(10)
    for turn in take_all(schedule, 1000.0):
        schedule.give_back(turn, 1010.0, slow=turn in turns[:3])
    schedule.remove(turns[9])
    running = take_all(schedule, 1010.0)
    assert turns[9] not in running
    (hanging,) = [turn for turn in running if turn in turns[:3]]
    held = [turn for turn in turns[:3] if turn is not hanging]
    schedule.remove(held[0])
    schedule.remove(hanging)
    schedule.give_back(hanging, 1021.0, slow=True)
    assert schedule.take(1021.0) is held[1]
    assert schedule.take(1021.0) is None
    assert schedule.wait(1021.0) is None


def test_removed_ones_do_not_pile_up() -> None:
    """What was removed does not stay in memory."""
    schedule, turns = make(100)
    for turn in turns[:99]:
        schedule.remove(turn)
    assert len(schedule._heap) <= 2
    assert [schedule.take(1010.0), schedule.take(1010.0)] == [turns[99], None]


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 5.0), (2, 10.0), (3, 20.0), (4, 40.0), (5, 50.0), (6, 50.0), (10_000, 50.0)]
)
def test_backoff_doubles(failures: int, longest: float) -> None:
    """From an interval on, doubled each time, to ten intervals; at least half of it."""
    assert backoff(failures, 5.0, 1.0) == longest
    assert backoff(failures, 5.0, 0.0) == longest / 2


def test_backoff_has_a_limit() -> None:
    """A minute at most, unless the interval is longer."""
    assert backoff(50, 20.0, 1.0) == 60.0
    assert backoff(50, 300.0, 1.0) == 300.0


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 40), st.booleans(), st.booleans()), max_size=60))
def test_whatever_happens_everyone_has_turns(story: list[tuple[int, float, bool, bool]]) -> None:
    """After any history of slowness and failures, each organization has its turn within two minutes of calm."""
    schedule, turns = make(6, interval=5.0)
    now = 1000.0
    running: list[ScheduleEntry] = []
    for number, seconds, slow, failed in story:
        now += seconds
        while len(running) < 4 and (turn := schedule.take(now)) is not None:
            assert turn not in running
            running.append(turn)
        if running:
            turn = running.pop(number % len(running))
            schedule.give_back(turn, now, slow=slow or failed, delay=20.0 if failed else None)
    for turn in running:
        schedule.give_back(turn, now, slow=False)
    assert {one for _, one in run(schedule, now, 120.0, 0.01)} == {id(turn) for turn in turns}
