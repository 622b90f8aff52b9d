"""The sink of a watch: turns the findings of polls into events of a queue."""

from __future__ import annotations

import asyncio

from .event_queue import EventQueue
from .listing import Listing
from .organization_state import OrganizationState


class QueueSink:
    """Puts events into a queue, and pauses polling while the queue is full.

    Args:
        max_pending: Number of pending events at which polling pauses.
    """

    def __init__(self, max_pending: int) -> None:
        self.queue: EventQueue = EventQueue()
        self.arrived: asyncio.Event = asyncio.Event()
        """Set if there may be events, or if polling has ended."""
        self.events: int = 0
        """Number of events so far."""
        self.error: BaseException | None = None
        """The error at the end of polling."""
        self._max_pending = max_pending

    @property
    def paused(self) -> bool:
        """True while the queue is full."""
        return len(self.queue) >= self._max_pending

    @property
    def just_resumed(self) -> bool:
        """True if the queue has room again since the last event was taken."""
        return len(self.queue) == self._max_pending - 1

    def on_listing(self, state: OrganizationState, listing: Listing, now: float) -> None:
        """Add the events of a good response."""
        since, gap = state.last_response_at, now - state.last_response_at
        failed, resumed = state.failed, state.resumed
        if failed:
            self.queue.add_recovery(state.organization, gap, since)
        elif resumed:
            self.queue.add_resumption(state.organization, gap, since)
        deltas = state.apply(listing, now)
        if deltas:
            self.queue.add(state.organization, deltas, since)
        self._count(len(deltas) + (failed or resumed))

    def on_failure(self, state: OrganizationState, error: Exception, now: float) -> None:
        """Add the beginning of an outage."""
        self.queue.add_failure(state.organization, error, state.last_response_at)
        self._count(1)

    def on_end(self, error: BaseException) -> None:
        """Keep the error for the reader of the queue."""
        self.error = error
        self.arrived.set()

    def _count(self, events: int) -> None:
        if events:
            self.events += events
            self.arrived.set()
