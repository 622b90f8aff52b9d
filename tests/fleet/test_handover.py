"""The end of a worker's polls, by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from calls_in_progress_async.fleet.handover import hand_over
from calls_in_progress_async.organization import Organization


class HangingPoller:
    """A poller with a poll that never ends."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self.cancelled = False

    async def drain(self, organizations: Iterable[Organization]) -> None:
        self.draining.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_a_cancelled_handover_leaves_no_poll_behind() -> None:
    """A second signal may cancel the handover while requests are still running."""
    poller: Any = HangingPoller()
    sink: Any = None
    handing_over = asyncio.ensure_future(hand_over(poller, sink, [], lambda: 1))
    await poller.draining.wait()
    handing_over.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handing_over
    await asyncio.sleep(0)
    assert poller.cancelled
