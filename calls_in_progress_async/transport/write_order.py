"""WriteOrder: writes to one thing go out one at a time, first come first served."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable


class _Queue:
    """The writes to one thing, oldest first, and a count of the writes to each of its fields."""

    __slots__ = ("fields", "tickets")

    def __init__(self) -> None:
        self.tickets: OrderedDict[WriteTicket, None] = OrderedDict()
        self.fields: Counter[Hashable] = Counter()

    @property
    def first(self) -> WriteTicket:
        return next(iter(self.tickets))


class WriteOrder:
    """A queue for each thing with a write under way. Other things take no memory."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, _Queue] = {}

    def __len__(self) -> int:
        return len(self._queues)

    def take_ticket(self, keys: tuple[Hashable, ...], fields: tuple[Hashable, ...]) -> WriteTicket:
        """Join the queues of all ``keys`` at once, so no two writes can wait for each other.

        Args:
            keys: Names of the things to write to.
            fields: Names of the overwritten fields.
        """
        keys, fields = tuple(dict.fromkeys(keys)), tuple(dict.fromkeys(fields))
        ticket = WriteTicket(self._queues, keys, fields)
        for key in keys:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue()
            queue.tickets[ticket] = None
            queue.fields.update(fields)
            first = queue.first
            if first is not ticket and first.superseded:
                first.on_superseded()
        return ticket


class WriteTicket:
    """One write's place in its queues. Always release it."""

    def __init__(
        self, queues: dict[Hashable, _Queue], keys: tuple[Hashable, ...], fields: tuple[Hashable, ...]
    ) -> None:
        self._queues = queues
        self._keys = keys
        self._fields = fields
        self._first: asyncio.Future[None] | None = None
        self.on_superseded: Callable[[], object] = _ignore
        """Called when a newer write makes the first write in a queue superseded."""

    @property
    def superseded(self) -> bool:
        """True if newer, waiting writes overwrite every field of this one. Ask only after `acquire`.

        A write without names of fields is never superseded, because nobody knows its fields.
        """
        queues = [self._queues[key] for key in self._keys]
        return bool(self._fields) and all(any(queue.fields[field] > 1 for queue in queues) for field in self._fields)

    @property
    def _is_first(self) -> bool:
        return all(self._queues[key].first is self for key in self._keys)

    async def acquire(self) -> None:
        """Wait until every earlier write to the same things is over."""
        while not self._is_first:
            self._first = asyncio.get_running_loop().create_future()
            await self._first

    def release(self) -> None:
        """Leave the queues and wake the next writes."""
        for key in self._keys:
            queue = self._queues[key]
            del queue.tickets[self]
            queue.fields -= Counter(self._fields)
            if not queue.tickets:
                del self._queues[key]
            elif (waiting := queue.first._first) is not None and not waiting.done():
                waiting.set_result(None)


def _ignore() -> None:
    """Do nothing."""
