"""WriteOrder: writes to one thing go out in the order they were asked for, one at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable


class WriteOrder:
    """A queue for each thing that is being written to; one that is not being written to takes no memory."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[WriteTicket]] = {}

    def take(self, keys: tuple[Hashable, ...]) -> WriteTicket:
        """Stand in the queues of all ``keys`` at once, so that no two turns can wait for each other."""
        turn = WriteTicket(self._queues, keys)
        for key in keys:
            queue = self._queues.setdefault(key, deque())
            for older in queue:
                older.on_newer()
            queue.append(turn)
        return turn


class WriteTicket:
    """One place in the queues. Leave it, whatever happens."""

    def __init__(self, queues: dict[Hashable, deque[WriteTicket]], keys: tuple[Hashable, ...]) -> None:
        self._queues = queues
        self._keys = keys
        self._first: asyncio.Future[None] | None = None
        self.on_newer: Callable[[], object] = lambda: None
        """Called when a newer turn for one of the keys is taken."""

    @property
    def superseded(self) -> bool:
        """Whether a newer write of one of the same things is waiting."""
        return any(self._queues[key][-1] is not self for key in self._keys)

    @property
    def _is_first(self) -> bool:
        return all(self._queues[key][0] is self for key in self._keys)

    async def come(self) -> None:
        """Wait until every earlier write of the same things is over."""
        while not self._is_first:
            self._first = asyncio.get_running_loop().create_future()
            await self._first

    def leave(self) -> None:
        """Let the next ones go."""
        for key in self._keys:
            queue = self._queues[key]
            queue.remove(self)
            if not queue:
                del self._queues[key]
            elif (waiting := queue[0]._first) is not None and not waiting.done():
                waiting.set_result(None)
