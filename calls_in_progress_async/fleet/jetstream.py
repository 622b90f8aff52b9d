"""A connection to NATS JetStream: single questions, each with one response or one error. Nobody else imports nats."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .errors import FleetError, LogUnavailableError, SupersededCommitError
from .log_settings import LogSettings
from .log_values import Consumer, Delivery, Stored, StreamState

try:
    import nats
    from nats.aio.client import Client
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, Header, StorageType, StreamConfig
    from nats.js.errors import APIError, NotFoundError
except ImportError:  # pragma: no cover - the test extra has nats-py
    raise ImportError("A fleet needs nats-py: pip install 'calls-in-progress-async[fleet]'") from None

logger: logging.Logger = logging.getLogger("calls_in_progress_async.fleet")

OLDEST_SERVER = (2, 11)
"""Clustered compare-and-set of older servers had races, and 2.9 has no ``multi_last``."""
WAIT = 2.0
"""Seconds to wait for a response of the server."""
_REFUSALS = (10071, 10164)
"""Error codes of "wrong last sequence"."""
_FULL = (10002, 10023, 10047, 10077)
"""Error codes of a stream, account or disk without room."""
_REMEDY = ": give the stream more room, such as `nats stream edit --max-bytes`, or its server more storage"
_WRONG_SETTINGS = (10025, 10052, 10058, 10074)
"""Error codes of a stream that the server will never create as asked for."""
_VIEW_KEPT = 30.0
"""Seconds for which the server keeps a consumer without a group after the last question to it."""
_OPTIONS: dict[str, Any] = {
    "max_reconnect_attempts": -1,
    "reconnect_time_wait": 0.25,
    "connect_timeout": 1,
    "ping_interval": 2,
    "max_outstanding_pings": 2,
    "pending_size": -1,  # a publish while disconnected fails, where the default would send it after a reconnect
}


@contextmanager
def _translated() -> Iterator[None]:
    """Raise `LogUnavailableError` for every sign of a log that does not respond."""
    try:
        yield
    except NotFoundError:
        raise
    except APIError as error:
        if error.err_code in _REFUSALS:
            raise SupersededCommitError from None
        text = f"{error.description} (code {error.err_code})" if error.description else type(error).__name__
        raise LogUnavailableError(text + _REMEDY * (error.err_code in _FULL)) from error
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise LogUnavailableError(_text(error)) from error


class JetStream:
    """One connection, and the stream of one fleet.

    Every method but `connect` and `close` raises `LogUnavailableError` if no good response comes within seconds.
    """

    def __init__(self, settings: LogSettings, on_reconnect: Callable[[], object]) -> None:
        self._settings = settings
        self._on_reconnect = on_reconnect
        self._client: Any = Client()
        self._js: Any = None
        self._told = ""  # the last error logged

    @property
    def is_connected(self) -> bool:
        """True while a server is connected."""
        return bool(self._client.is_connected)

    @property
    def max_payload(self) -> int:
        """Largest message in bytes."""
        return int(self._client.max_payload)

    async def connect(self, name: str) -> None:
        """Connect, and wait for a server as long as there is none.

        Raises:
            FleetError: The server rejects the credentials or the settings, is too old, or has JetStream off.
        """
        options = {**_OPTIONS, **self._settings.connection, "name": name}
        while not await self._try_to_connect(options):  # noqa: ASYNC110 - no event tells of a new server
            await asyncio.sleep(options["reconnect_time_wait"])
        self._client.options["allow_reconnect"] = True
        self._check_server()
        self._js = self._client.jetstream(timeout=WAIT)

    async def _try_to_connect(self, options: dict[str, Any]) -> bool:
        """Connect by a new client: nats-py's own repeated first connect leaves sockets open."""
        self._client = Client()
        callbacks = {"error_cb": self._on_error, "reconnected_cb": self._on_reconnected}
        try:
            await self._client.connect(list(self._settings.servers), **options, **callbacks, allow_reconnect=False)
        except (nats.errors.Error, OSError, TimeoutError, ValueError, TypeError, ImportError) as error:
            await self.close()
            text = _text(error)
            if "auth" in text.lower():
                raise FleetError(
                    f"The NATS server rejects the connection ({text}): pass the right user, token or credentials file, "
                    'in the address or as connection={"user_credentials": FILE}.'
                ) from error
            if isinstance(error, ValueError | TypeError | ImportError | FileNotFoundError | PermissionError):
                raise FleetError(f"Cannot connect to NATS ({text}): check servers and connection.") from error
            return False
        except asyncio.CancelledError:
            await self.close()
            raise
        return True

    def _check_server(self) -> None:
        version = self._client.connected_server_version
        if (version.major, version.minor) < OLDEST_SERVER:
            shown = f"{version.major}.{version.minor}.{version.patch}"
            raise FleetError(f"The NATS server must be version 2.11 or later, got {shown}: upgrade it.")
        info = self._client._server_info  # nats-py shows no more of it
        if not info.get("jetstream") and not info.get("cluster"):
            raise FleetError("The NATS server has JetStream off: start it with `-js`.")

    async def _on_error(self, error: Exception) -> None:
        text = _text(error)
        if text != self._told:  # nats-py repeats it at each try to connect
            logger.warning("NATS: %s. The connection is tried again until a server responds.", text)
            self._told = text

    async def _on_reconnected(self) -> None:
        self._told = ""
        self._on_reconnect()

    async def close(self) -> None:
        """Close the connection, in 4 seconds at most: nats-py may hang while the server is away."""
        for step in (lambda: self._client.flush(1), self._client.close):
            # nats-py asserts that a connection has begun; wrong arguments prevent the beginning.
            with suppress(nats.errors.Error, AssertionError, TimeoutError, OSError):
                await asyncio.wait_for(step(), WAIT)

    async def stream(self) -> StreamState | None:
        """Return the extent of the stream; None if there is no stream."""
        try:
            with _translated():
                info = await self._js.stream_info(self._settings.stream)
        except NotFoundError:
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
        config = StreamConfig(
            name=settings.stream,
            subjects=[settings.subjects],
            storage=StorageType.FILE,
            num_replicas=settings.replicas,
            discard=DiscardPolicy.NEW,
            max_age=settings.max_age,
            duplicate_window=0.1,
            allow_direct=True,
            deny_delete=True,
            metadata={"shards": str(settings.shards)},
        )
        try:
            with _translated():
                await self._js.add_stream(config)
        except LogUnavailableError as error:
            cause = error.__cause__
            if isinstance(cause, APIError) and cause.err_code in _WRONG_SETTINGS:
                raise FleetError(f"The NATS server refuses the stream: {error}. Change replicas or max_age.") from error
            raise

    async def publish(self, subject: str, body: bytes, after: int) -> int:
        """Append a message after another, and return its sequence.

        Raises:
            SupersededCommitError: Another message is the last of the subject.
        """
        headers = {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(after)}
        with _translated():
            async with asyncio.timeout(WAIT + 1):  # nats-py's own timeout does not cover a full socket
                acknowledgement = await self._js.publish(
                    subject, body, timeout=WAIT, stream=self._settings.stream, headers=headers
                )
        return int(acknowledgement.seq)

    async def last(self, subject: str) -> Stored:
        """Return the last message of a subject, from the leader of the stream."""
        try:
            with _translated():
                async with asyncio.timeout(WAIT):
                    message = await self._js.get_last_msg(self._settings.stream, subject)
        except NotFoundError:
            return Stored()
        return Stored(message.seq, message.data or b"")

    async def message_at(self, sequence: int) -> bytes | None:
        """Return a message by its sequence; None if the log no longer has it."""
        try:
            with _translated():
                async with asyncio.timeout(WAIT):
                    message = await self._js.get_msg(self._settings.stream, sequence)
        except NotFoundError:
            return None
        return bytes(message.data)

    async def last_of_shard(self, shard: int) -> dict[str, Stored]:
        """Return the last message of each subject of a shard, by subject. It may be a little old.

        Raises:
            FleetError: The shard has more than 1,024 organizations.
        """
        found: dict[str, Stored] = {}
        request = json.dumps({"multi_last": [self._settings.shard_subjects(shard)]}).encode()
        inbox = self._client.new_inbox()
        with _translated():
            responses = await self._client.subscribe(inbox)
            try:
                await self._client.publish(f"$JS.API.DIRECT.GET.{self._settings.stream}", request, reply=inbox)
                while True:
                    message = await responses.next_msg(WAIT)
                    headers = message.headers or {}
                    if (status := headers.get("Status")) is not None:
                        _check_end(status)
                        return found
                    found[headers["Nats-Subject"]] = Stored(int(headers["Nats-Sequence"]), message.data)
            finally:
                await responses.unsubscribe()

    async def send_beat(self, beat: bytes) -> None:
        """Publish a beat."""
        with _translated():
            await self._client.publish(self._settings.beat, beat)

    async def hear_beats(self, on_beat: Callable[[bytes], Awaitable[None]]) -> None:
        """Pass on every beat from now on."""

        async def hear(message: Any) -> None:
            await on_beat(message.data)

        with _translated():
            await self._client.subscribe(self._settings.beat, cb=hear)

    async def consumers(self) -> list[Consumer]:
        """Return the progress of every group. Views are no groups."""
        with _translated():
            found = await self._js.consumers_info(self._settings.stream)
        return [_consumer(each) for each in found if each.config.durable_name]

    async def consumer(self, group: str) -> Consumer | None:
        """Return the progress of a group; None if there is no such group."""
        try:
            with _translated():
                return _consumer(await self._js.consumer_info(self._settings.stream, group))
        except NotFoundError:
            return None

    async def create_consumer(self, group: str, *, ack_wait: float, max_unacknowledged: int, begins_at: int) -> None:
        """Begin a group of consumers at the first message of the log."""
        config = ConsumerConfig(
            durable_name=group,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ack_wait,
            max_ack_pending=max_unacknowledged,
            metadata={"begins_at": str(begins_at)},
        )
        with _translated():
            await self._js.add_consumer(self._settings.stream, config)

    async def create_view(self, name: str, subjects: Iterable[str]) -> Consumer:
        """Create a consumer of the last message of each subject, and of every later one.

        The server forgets the consumer 30 seconds after the last question to it.
        """
        config = ConsumerConfig(
            name=name,
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            filter_subjects=list(subjects),
            inactive_threshold=_VIEW_KEPT,
            mem_storage=True,
            num_replicas=1,
        )
        with _translated():
            return _consumer(await self._js.add_consumer(self._settings.stream, config))

    async def pull(self, consumer: str) -> Callable[[int], Awaitable[list[Delivery]]]:
        """Return a function that fetches the next messages of a consumer, at most some number."""
        with _translated():
            subscription = await self._js.pull_subscribe_bind(consumer, stream=self._settings.stream)

        async def fetch(number: int) -> list[Delivery]:
            try:
                with _translated():
                    return [_delivery(each) for each in await subscription.fetch(number, timeout=WAIT)]
            except LogUnavailableError as error:
                if isinstance(error.__cause__, TimeoutError):  # there is no message
                    return []
                raise

        return fetch


def _text(error: Exception) -> str:
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__


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
        with _translated():
            await message.ack()

    metadata = message.metadata
    sequence, redelivered = metadata.sequence.stream, metadata.num_delivered - 1
    return Delivery(sequence, message.data, redelivered, metadata.num_pending, ack)
