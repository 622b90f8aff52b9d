"""Moves events from a feed to the board, and messages from the board to the browsers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from .. import clock
from ..errors import CallsInProgressError
from .activity import Activity
from .board import Board
from .broadcast import Broadcast
from .display_text import visible
from .feed import Feed, FeedStatus
from .settings import BoardSettings

_log = logging.getLogger(__name__)


class Publisher:
    """Runs one board.

    Args:
        feed: The source of calls, already running.
        settings: The settings of the board.
        version: Name of the page's files, because a browser with older ones must reload the page.
    """

    def __init__(self, feed: Feed, settings: BoardSettings, version: str) -> None:
        self.board: Board = Board(settings)
        self.activity: Activity = Activity(settings.sample_seconds)
        self.broadcast: Broadcast = Broadcast(_run_name(), settings, self._snapshot, self._status)
        self._feed = feed
        self._settings = settings
        self._version = version
        self._flush_timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._measured = (clock.now(), feed.status().requests)
        self._requests_per_second = 0.0

    def start(self) -> None:
        """Load the feed's calls and begin to follow its events."""
        self.activity.load(self._settings.history, clock.unix_time())
        self.board.load(self._feed.calls)
        self.board.take_update()
        self.board.set_organizations(self._feed.status().staleness)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tick_regularly())]

    async def close(self) -> None:
        """End the streams and stop following the feed."""
        self.broadcast.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self) -> None:
        try:
            async for event in self._feed:
                self.board.apply(event, clock.unix_time())
                if self._flush_timer is None:
                    self._flush_timer = asyncio.get_running_loop().call_later(self._settings.batch_seconds, self._flush)
            reason = "The feed of calls has ended."
        except Exception as error:
            _log.exception("the feed of the wallboard failed")
            told = visible(error.message) if isinstance(error, CallsInProgressError) else type(error).__name__
            reason = f"The feed failed: {told}"
        self._flush()
        self.board.stopped = reason
        self.broadcast.publish("stopped", {"reason": reason})

    def _flush(self) -> None:
        self._flush_timer = None
        if (update := self.board.take_update()) is not None:
            self.broadcast.publish("update", update)

    async def _tick_regularly(self) -> None:
        while True:
            self.tick()
            await asyncio.sleep(self._settings.status_seconds)

    def tick(self) -> None:
        """Publish the periodic messages: a changed list of organizations, a point of the chart, and the status."""
        status = self._feed.status()
        if self.board.set_organizations(status.staleness):
            self.board.take_update()
            self.broadcast.publish("snapshot", self._snapshot())
        if (point := self.activity.add(clock.unix_time(), len(self.board.rows))) is not None:
            self.broadcast.publish("point", point)
        self._measure(status.requests)
        self.broadcast.announce("status", self._describe(status))

    def _measure(self, requests: int) -> None:
        now = clock.now()
        then, before = self._measured
        if now > then:
            self._requests_per_second = (requests - before) / (now - then)
            self._measured = (now, requests)

    def _status(self) -> dict[str, Any]:
        return self._describe(self._feed.status())

    def _describe(self, status: FeedStatus) -> dict[str, Any]:
        return self.board.status(status, clock.unix_time(), self._requests_per_second)

    def _snapshot(self) -> dict[str, Any]:
        return {**self.board.snapshot(), "version": self._version, "points": list(self.activity.points)}


def _run_name() -> str:
    return f"{int(clock.unix_time() * 1000):x}{clock.randomness.getrandbits(32):08x}"
