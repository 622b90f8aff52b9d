"""JetStream: single questions, each with one response or one error."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Sized
from typing import Any, TypeVar

from .. import clock
from .connection import WAIT, Connection, MissingError, sequence_in, translated
from .errors import FleetError, LogUnavailableError
from .log_settings import LogSettings
from .log_values import Consumer, Delivery, Stored, StreamState

T = TypeVar("T")

_READER_KEPT = 30.0
"""Seconds for which the server keeps a consumer without a group after the last question to it."""

_GATHERED = 0.05
"""Seconds between two writes to the socket, while there is more to write."""


class JetStream:
    """One connection, and the stream of one fleet.

    Every method but `connect` and `close` raises `LogUnavailableError` if no good response comes within seconds.
    """

    def __init__(self, settings: LogSettings, on_reconnect: Callable[[], object]) -> None:
        self._settings = settings
        self._connection = Connection(settings, on_reconnect)
        self._js: Any = None
        self._next_write_at = 0.0
        self._inbox = ""
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[int]] = {}
        """The results of `publish` to come, by the subject of the response."""

    @property
    def is_connected(self) -> bool:
        """True while a server is connected."""
        return bool(self._connection.client.is_connected)

    @property
    def max_payload(self) -> int:
        """Largest message in bytes."""
        return int(self._connection.client.max_payload)

    async def connect(self, name: str) -> None:
        """Connect, and wait for a server as long as there is none.

        Raises:
            FleetError: The server rejects the credentials or the settings, is too old, or has JetStream off.
        """
        await self._connection.open(name)
        client = self._connection.client
        self._js, self._inbox = client.jetstream(timeout=WAIT), client.new_inbox()
        with translated():
            await client.subscribe(f"{self._inbox}.*", cb=self._on_acknowledgement)

    async def close(self) -> None:
        """Close the connection, in 4 seconds at most."""
        await self._connection.close()

    async def stream(self) -> StreamState | None:
        """Return the extent of the stream; None if there is no stream."""
        try:
            with translated():
                info = await self._js.stream_info(self._settings.stream)
        except MissingError:
            return None
        state = info.state
        shards = int((info.config.metadata or {}).get("shards", 0))
        return StreamState(shards, state.first_seq, state.last_seq, state.bytes, info.config.max_age or math.inf)

    async def state(self) -> StreamState:
        """Return the extent of the stream.

        Raises:
            FleetError: There is no stream.
        """
        if (state := await self.stream()) is None:
            raise FleetError(
                f"There is no fleet {self._settings.name!r} on this server: start a worker first, or check the name."
            )
        return state

    async def create_stream(self) -> None:
        """Create the stream.

        Raises:
            FleetError: The server refuses the settings.
        """
        settings = self._settings
        with translated():
            await self._js.add_stream(
                name=settings.stream,
                subjects=[settings.subjects],
                storage="file",
                num_replicas=settings.replicas,
                discard="new",
                max_age=settings.max_age,
                duplicate_window=0.1,
                allow_direct=True,
                deny_delete=True,
                metadata={"shards": str(settings.shards)},
            )

    async def publish(self, subject: str, body: bytes, after: int) -> int:
        """Append a message after another, and return its sequence.

        Raises:
            SupersededCommitError: Another message is the last of the subject.
        """
        headers = {"Nats-Expected-Stream": self._settings.stream, "Nats-Expected-Last-Subject-Sequence": str(after)}
        await self._gather()
        reply = f"{self._inbox}.{next(self._numbers)}"
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[reply] = waiting
        try:
            with translated():
                async with asyncio.timeout(WAIT):
                    await self._connection.client.publish(subject, body, reply, headers)
                    return await waiting
        finally:
            del self._waiting[reply]

    async def _on_acknowledgement(self, message: Any) -> None:
        """Give the server's response to the `publish` that waits for it.

        nats-py's own ``JetStreamContext.publish`` makes a random inbox, a timeout and a record for each message.
        """
        waiting = self._waiting.get(message.subject)
        if waiting is None or waiting.done():  # too late
            return
        try:
            waiting.set_result(sequence_in(message))
        except Exception as error:  # whatever is wrong with the response, `publish` raises it
            waiting.set_exception(error)

    async def _gather(self) -> None:
        """Wait for the next time to write. Messages written together share the cost of waking up for a response."""
        now = clock.now()
        if now < self._next_write_at:
            await asyncio.sleep(self._next_write_at - now)
            now = clock.now()
        self._next_write_at = now + _GATHERED

    async def last(self, subject: str) -> Stored:
        """Return the last message of a subject, from the leader of the stream."""
        try:
            with translated():
                async with asyncio.timeout(WAIT):
                    message = await self._js.get_last_msg(self._settings.stream, subject)
        except MissingError:
            return Stored()
        return Stored(message.seq, message.data or b"")

    async def message_at(self, sequence: int) -> bytes | None:
        """Return a message by its sequence; None if the log no longer has it."""
        try:
            with translated():
                async with asyncio.timeout(WAIT):
                    message = await self._js.get_msg(self._settings.stream, sequence)
        except MissingError:
            return None
        return bytes(message.data)

    async def last_of_shard(self, shard: int) -> dict[str, Stored]:
        """Return the last message of each subject of a shard, by subject. It may be a little old.

        Raises:
            FleetError: The shard has more than 1,024 organizations.
        """
        found: dict[str, Stored] = {}
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def take(message: Any) -> None:
            headers = message.headers or {}
            if (status := headers.get("Status")) is None:
                found[headers["Nats-Subject"]] = Stored(int(headers["Nats-Sequence"]), message.data)
            else:
                ended.set_result(status)

        async def ask(inbox: str) -> None:
            request = json.dumps({"multi_last": [self._settings.shard_subjects(shard)]}).encode()
            subject = f"$JS.API.DIRECT.GET.{self._settings.stream}"
            await self._connection.client.publish(subject, request, reply=inbox)

        _check_end(await self._collect(ask, take, found, ended))
        return found

    async def last_sequences(self, shards: Collection[int]) -> dict[str, int]:
        """Return the sequence of the last message of each subject of some shards, by subject.

        They come from a consumer that sends headers only: a payload of kilobytes for each would load the server.
        """
        found: dict[str, int] = {}
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def take(message: Any) -> None:
            found[message.subject] = message.metadata.sequence.stream
            if not message.metadata.num_pending and not ended.done():
                ended.set_result(None)

        async def ask(inbox: str) -> None:
            subjects = [self._settings.shard_subjects(shard) for shard in shards]
            info = await self._add_reader(subjects, deliver_subject=inbox, headers_only=True)
            if not info.num_pending and not info.delivered.consumer_seq and not ended.done():
                ended.set_result(None)

        try:
            await self._collect(ask, take, found, ended)
        except MissingError:
            raise LogUnavailableError("there is no stream") from None
        return found

    async def _collect(
        self,
        ask: Callable[[str], Awaitable[None]],
        take: Callable[[Any], Awaitable[None]],
        found: Sized,
        ended: asyncio.Future[T],
    ) -> T:
        """Ask a question with many messages for a response, and return the result of ``ended``.

        Args:
            ask: Asks for messages to a subject.
            take: Takes a message.
            found: Grows while messages come.
            ended: Done after the last message.
        """
        client = self._connection.client
        inbox = client.new_inbox()
        with translated():
            responses = await client.subscribe(inbox, cb=take)  # `next_msg` would begin a task for each message
            try:
                await ask(inbox)
                while not ended.done():
                    before = len(found)
                    await asyncio.wait([ended], timeout=WAIT)
                    if not ended.done() and len(found) == before:
                        raise TimeoutError("the server stopped responding")
            finally:
                await responses.unsubscribe()
        return ended.result()

    async def send_beat(self, beat: bytes) -> None:
        """Publish a beat."""
        with translated():
            await self._connection.client.publish(self._settings.beat, beat)

    async def hear_beats(self, on_beat: Callable[[bytes], Awaitable[None]]) -> None:
        """Pass on every beat from now on."""

        async def hear(message: Any) -> None:
            await on_beat(message.data)

        with translated():
            await self._connection.client.subscribe(self._settings.beat, cb=hear)

    async def consumers(self) -> list[Consumer]:
        """Return the progress of every group. Views are no groups."""
        with translated():
            found = await self._js.consumers_info(self._settings.stream)
        return [_consumer(each) for each in found if each.config.durable_name]

    async def consumer(self, group: str) -> Consumer | None:
        """Return the progress of a group; None if there is no such group."""
        try:
            with translated():
                return _consumer(await self._js.consumer_info(self._settings.stream, group))
        except MissingError:
            return None

    async def create_consumer(self, group: str, *, ack_wait: float, max_unacknowledged: int, begins_at: int) -> None:
        """Begin a group of consumers at the first message of the log."""
        with translated():
            await self._js.add_consumer(
                self._settings.stream,
                durable_name=group,
                ack_policy="explicit",
                ack_wait=ack_wait,
                max_ack_pending=max_unacknowledged,
                metadata={"begins_at": str(begins_at)},
            )

    async def create_view(self, name: str, subjects: Iterable[str]) -> Consumer:
        """Create a consumer of the last message of each subject, and of every later one.

        The server forgets the consumer 30 seconds after the last question to it.
        """
        with translated():
            return _consumer(await self._add_reader(subjects, name=name))

    async def _add_reader(self, subjects: Iterable[str], **options: Any) -> Any:
        """Create a consumer that begins with the last message of each subject; the server forgets it when idle."""
        return await self._js.add_consumer(
            self._settings.stream,
            ack_policy="none",
            deliver_policy="last_per_subject",
            filter_subjects=list(subjects),
            inactive_threshold=_READER_KEPT,
            mem_storage=True,
            num_replicas=1,
            **options,
        )

    async def pull(self, consumer: str) -> Callable[[int], Awaitable[list[Delivery]]]:
        """Return a function that fetches the next messages of a consumer, at most some number."""
        with translated():
            subscription = await self._js.pull_subscribe_bind(consumer, stream=self._settings.stream)

        async def fetch(number: int) -> list[Delivery]:
            try:
                with translated():
                    return [_delivery(each) for each in await subscription.fetch(number, timeout=WAIT)]
            except LogUnavailableError as error:
                if isinstance(error.__cause__, TimeoutError):  # there is no message
                    return []
                raise

        return fetch


def _check_end(status: str) -> None:
    """Check the status at the end of a response to ``multi_last``."""
    if status == "413":
        raise FleetError("A shard must have at most 1,024 organizations: begin a fleet of another name with more.")
    if status not in ("204", "404"):
        raise LogUnavailableError(f"status {status}")


def _consumer(info: Any) -> Consumer:
    floor = info.ack_floor.stream_seq if info.ack_floor else 0
    begins_at = int((info.config.metadata or {}).get("begins_at", 1))
    return Consumer(info.name, info.num_pending or 0, info.num_ack_pending or 0, floor, begins_at)


def _delivery(message: Any) -> Delivery:
    async def ack() -> None:
        with translated():
            await message.ack()

    metadata = message.metadata
    sequence, redelivered = metadata.sequence.stream, metadata.num_delivered - 1
    return Delivery(sequence, message.data, redelivered, metadata.num_pending, ack)
