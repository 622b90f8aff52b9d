"""The fleet's log: a stream with a subject for each organization.

A write names the sequence of the message it follows, and the server refuses the write if that is no longer the last one
of its subject. A write of unknown outcome is looked up, and sent again as the same bytes. While the log does not
respond, one probe asks for it, and everybody else waits.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any, TypeVar

from .errors import FleetError, LogUnavailableError, SupersededCommitError
from .jetstream import JetStream
from .log_settings import LogSettings
from .log_values import Stored, StreamState

logger: logging.Logger = logging.getLogger("calls_in_progress_async.fleet")

T = TypeVar("T")

_PROBE = 0.3
"""Seconds between two questions to a log that does not respond."""


class Log:
    """A connection to the log.

    Args:
        settings: The address of the log, and the form of its stream.
    """

    def __init__(self, settings: LogSettings) -> None:
        self.settings = settings
        self.max_age: float = settings.max_age
        """Seconds for which the stream keeps messages: the settings' at first, then the stream's own."""
        self.on_change: Callable[[bool], object] = bool
        """Called when the log stops or begins to respond, with False; with True after a reconnect."""
        self.jetstream: JetStream = JetStream(settings, lambda: self.on_change(True))
        self._responds = asyncio.Event()
        self._responds.set()
        self._probe: asyncio.Task[None] | None = None
        self._told = ""  # the last warning about a write

    @property
    def responds(self) -> bool:
        """True unless the last question got no response."""
        return self._responds.is_set() and self.jetstream.is_connected

    @property
    def max_payload(self) -> int:
        """Largest message in bytes."""
        return self.jetstream.max_payload

    async def connect(self, name: str) -> None:
        """Connect, and wait for a server as long as there is none.

        Raises:
            FleetError: The server rejects the credentials, or is too old.
        """
        await self.jetstream.connect(name)

    async def close(self) -> None:
        """Close the connection, in 4 seconds at most."""
        if self._probe is not None:
            self._probe.cancel()
        await self.jetstream.close()

    async def ensure_stream(self) -> None:
        """Create the stream, or check it. Waits as long as the log does not respond.

        Raises:
            FleetError: The stream has another number of shards, JetStream is off, or the settings are refused.
        """
        while True:
            try:
                if (state := await self.jetstream.stream()) is None:
                    await self.jetstream.create_stream()
                else:
                    self._check(state)
            except LogUnavailableError as error:
                logger.warning("the log does not respond: %s", error)
                await asyncio.sleep(_PROBE)
            else:
                return

    def _check(self, state: StreamState) -> None:
        self.max_age = state.max_age
        name, shards = self.settings.name, self.settings.shards
        if state.shards != shards:
            raise FleetError(
                f"shards must be {state.shards} for fleet {name!r}, which has so many already, got {shards}: pass "
                f"shards={state.shards}, or begin a fleet of another name."
            )

    async def commit(self, subject: str, body: bytes, after: int) -> int:
        """Append a message after another, however long the log does not respond, and return its sequence.

        Args:
            subject: The organization's subject.
            body: The message. No two messages have the same bytes.
            after: Sequence of the last known message of the subject; 0 for none.

        Raises:
            SupersededCommitError: The last message is another one.
        """
        uncertain = False
        while True:
            try:
                sequence = await self.jetstream.publish(subject, body, after)
            except SupersededCommitError:
                if not uncertain:
                    raise
            except LogUnavailableError as error:
                uncertain = True
                if (text := str(error)) != self._told:  # a full log refuses every write, again and again
                    logger.warning("the log does not take writes, which are tried again: %s", text)
                    self._told = text
                self._mark_down()
            else:
                self._told = ""
                return sequence
            last = await self.last(subject)
            if last.body == body:
                return last.sequence
            if last.sequence != after:
                raise SupersededCommitError

    async def last(self, subject: str) -> Stored:
        """Return the last message of a subject. Waits as long as the log does not respond."""
        return await self._ask(lambda: self.jetstream.last(subject))

    async def last_of_shard(self, shard: int) -> dict[str, Stored]:
        """Return the last message of each subject of a shard. Waits like `last`.

        Raises:
            FleetError: The shard has more than 1,024 organizations.
        """
        return await self._ask(lambda: self.jetstream.last_of_shard(shard))

    async def last_sequences(self, shards: Collection[int]) -> dict[str, int] | None:
        """Return the sequence of the last message of each subject of some shards; None if they cannot be had now.

        Every other question can do without a consumer. An account with no room for one must not stop the polls.
        """
        try:
            return await self.jetstream.last_sequences(shards)
        except LogUnavailableError as error:
            logger.warning("the sequences in the log cannot be compared, which is tried again: %s", error)
            return None

    async def message_at(self, sequence: int) -> bytes | None:
        """Return a message by its sequence; None if the log no longer has it. Waits like `last`."""
        return await self._ask(lambda: self.jetstream.message_at(sequence))

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Ask until the log responds."""
        while True:
            await self._responds.wait()
            try:
                return await question()
            except LogUnavailableError:
                self._mark_down()

    async def send_beat(self, beat: dict[str, Any]) -> None:
        """Publish a beat. A beat is lost while no server is connected."""
        with suppress(LogUnavailableError):
            await self.jetstream.send_beat(json.dumps(beat).encode())

    async def hear_beats(self, on_beat: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """Pass on every beat from now on."""

        async def hear(data: bytes) -> None:
            with suppress(ValueError, KeyError, TypeError):  # not a beat of a worker
                await on_beat(json.loads(data))

        await self.jetstream.hear_beats(hear)

    def _mark_down(self) -> None:
        if self._responds.is_set():
            self._responds.clear()
            self._probe = asyncio.ensure_future(self._probe_until_up())
            self.on_change(False)

    async def _probe_until_up(self) -> None:
        await asyncio.sleep(_PROBE)
        try:
            await self.ensure_stream()
        except Exception:
            logger.exception("the stream does not suit this worker any more")
        self._responds.set()
        self.on_change(False)
