"""The times of polls. Pure: the caller tells the time.

A new organization is polled at once. After that each has its own point within the interval, from a hash of its name,
counted in Unix time: polls are spread evenly, and processes with the same organizations agree on the points.

The schedule runs on a clock of its own, which stands still while the schedule cannot be kept. If the rate limit or the
server is too slow, every organization is polled later by the same amount, in the same order, and no burst makes up for
it afterwards. The lost time is won back slowly once polls are on time again.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict
from hashlib import blake2b
from typing import Generic, TypeVar

from attrs import define, field

T = TypeVar("T")

_SLACK = 0.1
"""Share of the interval. A poll may be late by so much before all become later: a short pause is made up for.

A first poll may be late by a whole interval, and a point nearer than this is skipped after it."""
_CATCH_UP = 0.1
"""Share of the interval to win back in one round of punctual polls, after time was lost."""
_NEAR = 0.01
"""Share of the interval. A point nearer than this is skipped after a poll."""
_LONGEST_BACKOFF = 60.0
"""Seconds of backoff at most, unless the interval is longer."""


@define(eq=False, repr=False)
class ScheduleEntry(Generic[T]):
    """The place of one organization in a schedule."""

    item: T
    """The thing to poll."""
    offset: float
    """Point within the interval, as a share of it."""
    due: float = field(default=0.0, init=False)
    """Time of the next poll, on the schedule's own clock."""
    slow: bool = field(default=False, init=False)
    """True if the last poll failed or was slow."""
    waiting: bool = field(default=False, init=False)
    """True while the entry waits for its time; False while a poll runs, and after removal."""
    first: bool = field(default=False, init=False)
    """True until the first poll, if that is due at once."""
    removed: bool = field(default=False, init=False)
    """True after removal."""


class Schedule(Generic[T]):
    """The next poll of every organization.

    Entries whose last poll failed or was slow share a quarter of `max_in_flight`, unless they are the majority: a
    hanging organization does not delay the others.

    Args:
        interval: Seconds between two polls of one organization.
        max_in_flight: Number of polls at once.
        epoch: Unix time minus ``now``.
    """

    def __init__(self, interval: float, max_in_flight: int, epoch: float = 0.0) -> None:
        self.interval = interval
        self.max_in_flight = max_in_flight
        self.epoch = epoch
        self._lost = 0.0  # the lag of the schedule's own clock in seconds
        self._heap: list[tuple[float, int, ScheduleEntry[T]]] = []
        self._numbers = itertools.count()
        self._held: OrderedDict[ScheduleEntry[T], None] = OrderedDict()  # due, but slow
        self._size = self._dead = self._slow = self._slow_running = 0

    def add(self, item: T, name: str, now: float, *, at_once: bool = True) -> ScheduleEntry[T]:
        """Add an organization, to be polled at once and then at the point of its name, or only at the point.

        First polls come in the order of the points. If a rate limit makes these take longer than an interval, the
        second polls then follow in the same order, and as far apart.
        """
        entry = ScheduleEntry(item, position(name))
        self._size += 1
        self._stop_clock(now)
        own = now - self._lost
        point = self._next_point(entry, own, near=0.0)
        entry.first = at_once
        if at_once:
            self._push(entry, own, min(own, point - self.interval))
        else:
            self._push(entry, point, point)
        return entry

    def remove(self, entry: ScheduleEntry[T]) -> None:
        """Remove an organization. Removing twice does nothing."""
        if entry.removed:
            return
        entry.removed = True
        self._size -= 1
        self._slow -= entry.slow
        if not entry.waiting:
            return
        if entry in self._held:
            del self._held[entry]
            return
        self._dead += 1
        if self._dead * 2 > len(self._heap):
            self._heap = [each for each in self._heap if not each[2].removed]
            heapq.heapify(self._heap)
            self._dead = 0

    def since_point(self, name: str, now: float) -> float:
        """Return the seconds since the last point of a name."""
        return ((now - self._lost + self.epoch) / self.interval - position(name)) % 1.0 * self.interval

    def take(self, now: float) -> ScheduleEntry[T] | None:
        """Take the longest overdue entry; return None if no entry is due."""
        if self._held and self._has_room_for_slow():
            return self._run(self._held.popitem(last=False)[0])
        while self._heap and self._heap[0][0] + self._lost <= now:
            _, _, entry = heapq.heappop(self._heap)
            if entry.removed:
                self._dead -= 1
            elif entry.slow and not self._has_room_for_slow():
                self._held[entry] = None
            else:
                self._adjust_clock(entry, now - self._lost - entry.due)
                return self._run(entry)
        return None

    def _stop_clock(self, now: float) -> None:
        """Let the own clock stand still while a poll is overdue, so that new entries do not wait for it again."""
        while self._heap and self._heap[0][2].removed:
            heapq.heappop(self._heap)
            self._dead -= 1
        if self._heap:
            entry = self._heap[0][2]
            self._adjust_clock(entry, max(now - self._lost - entry.due, _SLACK * self.interval))

    def _adjust_clock(self, entry: ScheduleEntry[T], late: float) -> None:
        if entry.slow:
            return
        allowed = self.interval if entry.first else _SLACK * self.interval
        if late > allowed:
            self._lost += late - allowed
        elif self._lost and late < _NEAR * self.interval:
            self._lost = max(0.0, self._lost - _CATCH_UP * self.interval / self._size)

    def wait(self, now: float) -> float | None:
        """Return the seconds until the next entry is due; None if there is none."""
        if self._held and self._has_room_for_slow():
            return 0.0
        return max(0.0, self._heap[0][0] + self._lost - now) if self._heap else None

    def give_back(self, entry: ScheduleEntry[T], now: float, *, slow: bool, delay: float | None = None) -> None:
        """End a poll: the next poll is at the entry's next point, or after ``delay`` seconds."""
        self._slow_running -= entry.slow
        if entry.removed:
            return
        self._slow += slow - entry.slow
        entry.slow = slow
        self._stop_clock(now)
        own = now - self._lost
        near = _SLACK if entry.first else _NEAR
        due = self._next_point(entry, own, near=near) if delay is None else own + delay
        entry.first = False
        self._push(entry, due, due)

    def _next_point(self, entry: ScheduleEntry[T], own: float, *, near: float) -> float:
        rounds = (own + self.epoch) / self.interval - entry.offset
        ahead = (math.floor(rounds) + 1 - rounds) * self.interval
        return own + (ahead if ahead > near * self.interval else ahead + self.interval)

    def _push(self, entry: ScheduleEntry[T], due: float, order: float) -> None:
        entry.due = due
        entry.waiting = True
        heapq.heappush(self._heap, (order, next(self._numbers), entry))

    def _run(self, entry: ScheduleEntry[T]) -> ScheduleEntry[T]:
        entry.waiting = False
        self._slow_running += entry.slow
        return entry

    def _has_room_for_slow(self) -> bool:
        if self._slow * 2 > self._size:
            return True
        return self._slow_running < max(1, self.max_in_flight // 4)


def position(name: str) -> float:
    """Return a point from 0 to 1, the same for a name in every process."""
    return int.from_bytes(blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48


def backoff(failures: int, interval: float, randomness: float) -> float:
    """Return the seconds to wait after some failures in a row.

    The wait doubles from one interval to ten intervals or a minute, and half of it is random.
    """
    longest = max(interval, min(_LONGEST_BACKOFF, 10 * interval))
    return min(longest, interval * 2.0 ** min(failures - 1, 32)) * (0.5 + 0.5 * randomness)
