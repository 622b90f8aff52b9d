"""A queue shared fairly: keys take turns, each key in its own order of arrival, and a waiter may have an expiry."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

_SLACK = 32
"""Entries of served waiters to keep in the heap of expiries, beyond one for each live waiter, before it is rebuilt."""


class Waiter:
    """One waiting task: a link in the circular list of its key, so that leaving costs the same everywhere."""

    __slots__ = ("expires", "future", "key", "next", "number", "previous", "since")

    def __init__(self, key: Hashable, future: asyncio.Future[None], since: float, expires: float) -> None:
        self.key: Hashable = key
        self.future: asyncio.Future[None] = future
        self.since: float = since
        self.expires: float = expires
        self.number: int = 0
        self.next: Any = None  # the next waiter of the key while queued, None afterwards
        self.previous: Any = None

    def __lt__(self, other: Waiter) -> bool:
        """Order by expiry, for the heap."""
        return self.expires < other.expires


class FairQueue:
    """The waiters of one bucket, and the timer to wake them.

    Attributes:
        length: Waiters in the queue.
        granted_not_resumed: Waiters with a grant whose tasks have not run since.
        heads: The oldest waiter of each key, the next to be served first.
        timer: The timer of the bucket, or None.
        due: The loop's time in seconds at which the timer fires; infinite without a timer.
    """

    __slots__ = ("_expiring", "due", "granted_not_resumed", "heads", "length", "timer")

    def __init__(self) -> None:
        self.length: int = 0
        self.granted_not_resumed: int = 0
        self.heads: OrderedDict[Hashable, Waiter] = OrderedDict()
        self.timer: asyncio.TimerHandle | None = None
        self.due: float = inf
        self._expiring: list[Waiter] = []  # a heap; served waiters leave it late

    def first(self) -> Waiter:
        """Return the next waiter to serve."""
        return next(iter(self.heads.values()))

    def add(self, waiter: Waiter) -> None:
        """Append a waiter to the list of its key."""
        head = self.heads.setdefault(waiter.key, waiter)
        waiter.next = head
        waiter.previous = head.previous or head
        waiter.number = waiter.previous.number + 1
        waiter.previous.next = head.previous = waiter
        self.length += 1
        if waiter.expires < inf:
            heappush(self._expiring, waiter)

    def remove(self, waiter: Waiter, *, served: bool = False) -> None:
        """Take a waiter out. Only a served key moves behind the other keys."""
        heads, following = self.heads, waiter.next
        if following is waiter:
            del heads[waiter.key]
        else:
            waiter.previous.next = following
            following.previous = waiter.previous
            if heads[waiter.key] is waiter:
                heads[waiter.key] = following
            if served and len(heads) > 1:
                heads.move_to_end(waiter.key)
        waiter.next = waiter.previous = None
        self.length -= 1
        if len(self._expiring) > 2 * self.length + _SLACK:
            self._expiring = [each for each in self._expiring if each.next is not None]
            heapify(self._expiring)

    def ahead(self, key: Hashable) -> int:
        """Estimate how many waiters go before one more of a key, never too few.

        They are the waiters of the key, and of every other key one more than these. The estimate is too high if
        others have fewer waiters.
        """
        if not self.length:
            return 0
        head = self.heads.get(key)
        own = head.previous.number - head.number + 1 if head else 0
        others = (own + 1) * (len(self.heads) - (head is not None))
        return min(self.length, own + others)

    def earliest_expiry(self) -> float:
        """Return the loop's time in seconds of the next expiry; infinite if no waiter has one."""
        heap = self._expiring
        while heap and heap[0].next is None:
            heappop(heap)
        return heap[0].expires if heap else inf

    def pop_expiring(self, before: float) -> Waiter | None:
        """Take out the waiter to expire first, if it expires before a moment of the loop's time."""
        if self.earliest_expiry() >= before:
            return None
        waiter = heappop(self._expiring)
        self.remove(waiter)
        return waiter

    def disarm(self) -> None:
        """Cancel the timer."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.due = inf
