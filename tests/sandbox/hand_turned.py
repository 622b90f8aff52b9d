"""A loop's clock, turned by hand."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import attrs

UNIX_TIME = 1_706_806_800 - 1_000  # the clock starts at 2024-02-01 17:00 UTC


@attrs.define
class HandTurnedClock:
    """A loop's time and wall clock, moved together by the test."""

    seconds: float = 1_000.0

    @contextmanager
    def of(self, loop: asyncio.AbstractEventLoop) -> Iterator[Self]:
        """Replace the clock of a loop."""
        hooked: Any = loop
        hooked.time, hooked.unix_time = (lambda: self.seconds), (lambda: UNIX_TIME + self.seconds)
        try:
            yield self
        finally:
            del hooked.time, hooked.unix_time
