"""The loop around a watch: its events as they come, and repeated work between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from attrs import define, field

from .. import clock
from ..watch.events import CallEvent
from ..watch.watch import Watch


@define
class Repeated:
    """Work to do again and again, such as drawing the next frame."""

    seconds: float
    """Seconds between two runs."""
    act: Callable[[], object]
    due: float = field(factory=clock.now)
    """The loop's time of the next run."""

    def run_if_due(self, now: float) -> None:
        """Run the work if its time has come."""
        if now >= self.due:
            self.act()
            self.due = now + self.seconds


async def follow(
    watch: Watch, on_event: Callable[[CallEvent], object], repeated: Sequence[Repeated], until: float | None
) -> None:
    """Pass on each event of a watch.

    Args:
        watch: An entered watch.
        on_event: Takes each event.
        repeated: Work to do meanwhile.
        until: The loop's time to stop at; None never stops.
    """
    while until is None or clock.now() < until:
        for work in repeated:
            work.run_if_due(clock.now())
        next_due = min(work.due for work in repeated)
        try:
            async with asyncio.timeout_at(next_due if until is None else min(next_due, until)):
                event = await anext(watch)
        except TimeoutError:
            continue
        on_event(event)
