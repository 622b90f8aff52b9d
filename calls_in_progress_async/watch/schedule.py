"""Who is asked when. Pure: it is told the time.

Every organization has its own point within the interval, from a hash of its name: neither a start nor a restart asks
all at once. The schedule runs on a clock of its own that stands still while it cannot be kept, so that when rate limit
or server are too slow, every organization is asked later by the same amount, in the same order, and nothing is made up
for in a rush afterwards.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Generic, TypeVar

from attrs import define

_JITTER = 0.1
"""The share of the interval by which a point is moved at random."""
_SLACK = 0.1
"""The share of the interval by which one may be late before all are: a pause of the loop is made up for."""


@define(eq=False)
class ScheduleEntry:
    """One organization's place in the schedule."""

    due: float = 0.0
    """When it is to be asked, by the schedule's own clock."""
    slow: bool = False
    """Whether it failed or was slow the last time."""
    waiting: bool = False
    """Whether it waits for its turn; else it is being asked, or is out."""
    out: bool = False
    """Whether it was removed."""


T = TypeVar("T", bound=ScheduleEntry)


class Schedule(Generic[T]):
    """The turns of all organizations.

    Those that failed or were slow the last time share a quarter of the places, unless they are the most: one that
    hangs does not delay the others.

    Args:
        interval: Seconds between two turns of one organization.
        places: How many are asked at once, at most.
    """

    def __init__(self, interval: float, places: int) -> None:
        self._interval = interval
        self._places = places
        self._slip = 0.0
        self._heap: list[tuple[float, int, T]] = []
        self._numbers = itertools.count()
        self._held: deque[T] = deque()
        self._size = self._out = self._slow = self._slow_running = 0

    def add(self, turn: T, name: str, now: float, randomness: Callable[[], float]) -> None:
        """Give an organization its point within the interval."""
        self._size += 1
        share = (position(name) + _JITTER * randomness()) % 1.0
        self._push(turn, now - self._slip + share * self._interval)

    def remove(self, turn: T) -> None:
        """Take an organization out."""
        turn.out = True
        self._size -= 1
        self._slow -= turn.slow
        if not turn.waiting:
            return
        if turn in self._held:
            self._held.remove(turn)
            return
        self._out += 1
        if self._out * 2 > len(self._heap):
            self._heap = [each for each in self._heap if not each[2].out]
            heapq.heapify(self._heap)
            self._out = 0

    def take(self, now: float) -> T | None:
        """Take the turn that is due longest, if one is due."""
        if self._held and self._room_for_slow():
            return self._run(self._held.popleft())
        while self._heap and self._heap[0][0] + self._slip <= now:
            _, _, turn = heapq.heappop(self._heap)
            if turn.out:
                self._out -= 1
            elif turn.slow and not self._room_for_slow():
                self._held.append(turn)
            else:
                if not turn.slow:
                    self._slip += max(0.0, now - self._slip - turn.due - _SLACK * self._interval)
                return self._run(turn)
        return None

    def wait(self, now: float) -> float | None:
        """Seconds until the next turn; None where there is none."""
        if self._held and self._room_for_slow():
            return 0.0
        return max(0.0, self._heap[0][0] + self._slip - now) if self._heap else None

    def give_back(self, turn: T, now: float, *, slow: bool, delay: float | None = None) -> None:
        """End a turn: the next one comes an interval after it was due, or after ``delay`` seconds."""
        self._slow_running -= turn.slow
        if turn.out:
            return
        self._slow += slow - turn.slow
        turn.slow = slow
        own = now - self._slip
        if delay is not None:
            self._push(turn, own + delay)
            return
        missed = math.floor((own - turn.due) / self._interval)
        self._push(turn, turn.due + self._interval * (1 + max(0, missed)))

    def _push(self, turn: T, due: float) -> None:
        turn.due = due
        turn.waiting = True
        heapq.heappush(self._heap, (due, next(self._numbers), turn))

    def _run(self, turn: T) -> T:
        turn.waiting = False
        self._slow_running += turn.slow
        return turn

    def _room_for_slow(self) -> bool:
        if self._slow * 2 > self._size:
            return True
        return self._slow_running < max(1, self._places // 4)


def position(name: str) -> float:
    """A point from 0 to 1 that is the same for a name in every process."""
    return int.from_bytes(blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48


def backoff(failures: int, interval: float, randomness: float) -> float:
    """Seconds to wait after so many failures in a row: doubling from an interval, to a minute or ten intervals."""
    longest = max(interval, min(60.0, 10 * interval))
    return min(longest, interval * 2.0 ** min(failures - 1, 32)) * (0.5 + 0.5 * randomness)
