"""A log in memory, for tests of one worker without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.fleet.log_values import Stored


class MemoryLog:
    """The part of `Log` that a worker without calls uses. Beats come back at once."""

    max_payload = 1_000_000

    def __init__(self, settings: LogSettings) -> None:
        self.max_age = settings.max_age
        self.settings = settings
        self.responds = True
        self.on_change: Callable[[bool], object] = bool
        self.stored: dict[str, Stored] = {}
        self.errors: dict[int, Exception] = {}
        self.readable = asyncio.Event()
        self.readable.set()
        self.beats: list[dict[str, Any]] = []
        self.on_beat: Callable[[dict[str, Any]], Awaitable[None]] | None = None
        self.is_closed = False

    async def connect(self, name: str) -> None:
        """Do nothing."""

    async def ensure_stream(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Take note of the end."""
        self.is_closed = True

    async def last_of_shard(self, shard: int) -> dict[str, Stored]:
        """Return all messages, or raise the error of a shard, once the log is readable."""
        await self.readable.wait()
        if shard in self.errors:
            raise self.errors[shard]
        return dict(self.stored)

    async def last_sequences(self, shards: Collection[int]) -> dict[str, int]:
        """Return the sequences of the messages of some shards."""
        patterns = {f".{shard}." for shard in shards}
        return {
            subject: each.sequence
            for subject, each in self.stored.items()
            if any(pattern in subject for pattern in patterns)
        }

    async def commit(self, subject: str, body: bytes, after: int) -> int:
        """Keep the message."""
        self.stored[subject] = Stored(after + 1, body)
        return after + 1

    async def send_beat(self, beat: dict[str, Any]) -> None:
        """Keep a beat, and pass it on."""
        self.beats.append(beat)
        if self.on_beat is not None:
            await self.on_beat(beat)

    async def hear_beats(self, on_beat: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """Pass on every beat from now on."""
        self.on_beat = on_beat
