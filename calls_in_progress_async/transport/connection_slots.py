"""ConnectionSlots: a semaphore for ``max_connections``, first come first served.

Unlike `asyncio.Semaphore` it is taken without a coroutine if a slot is free, which is nearly always.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict


class ConnectionSlots:
    """Slots for requests on the network."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    @property
    def taken(self) -> int:
        """Number of slots in use."""
        return self._count - self._free

    @property
    def waiting(self) -> int:
        """Number of requests in the queue."""
        return len(self._waiters)

    def try_acquire(self) -> bool:
        """Take a slot if one is free; slots pass directly from a request to the next one in the queue."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def acquire(self) -> None:
        """Wait for a slot."""
        if self.try_acquire():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._waiters.pop(waiter, None)
            else:
                self.release()  # the slot came in the same step of the loop
            raise

    def release(self) -> None:
        """Pass a slot on to the next request in the queue, or free it."""
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.cancelled():
                waiter.set_result(None)
                return
        self._free += 1
