"""The connection to a real nats-server: each response and each error of the server."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from fleet.nats_server import NatsServer

from calls_in_progress_async import clock
from calls_in_progress_async.fleet.errors import FleetError, LogUnavailableError, SupersededCommitError
from calls_in_progress_async.fleet.jetstream import JetStream
from calls_in_progress_async.fleet.log import Log
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.testing.virtual_clock import run

MODULE = "calls_in_progress_async.fleet.jetstream"
SUBJECT = "cip.{}.events.0.advertiser.25"


@asynccontextmanager
async def connection(
    server: NatsServer, name: str, on_reconnect: Callable[[], object] = bool, **options: Any
) -> AsyncIterator[JetStream]:
    """Connect to a fleet without a stream."""
    settings = LogSettings(servers=server.url, name=name, shards=1, connection=options)
    jetstream = JetStream(settings, on_reconnect)
    await jetstream.connect("t")
    try:
        yield jetstream
    finally:
        await jetstream.close()


async def test_a_connection_that_the_server_drops_is_tried_again(binary: str, tmp_path: Path) -> None:
    """A server may be up before it serves."""
    server = NatsServer(tmp_path, binary)

    async def drop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.close()
        server.start()
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(drop, "127.0.0.1", server.port)
    try:
        async with connection(server, "dropped", reconnect_time_wait=0.01) as jetstream:
            assert jetstream.is_connected
            assert server.process is not None
    finally:
        listener.close()
        server.kill()


@pytest.mark.parametrize("options", [{"flavour": 1}, {"user_credentials": "/nowhere/fleet.creds"}])
async def test_a_wrong_setting_of_the_connection_is_an_error(
    server: NatsServer, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection does not try for ever with a setting that cannot work, such as credentials without nkeys."""
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(FleetError, match=r"Cannot connect to NATS .*: check servers and connection"):
        async with connection(server, "wrong", **options):
            pytest.fail("connected")


async def test_a_reconnect_is_reported(own_server: NatsServer) -> None:
    """The owner of the connection hears of a reconnect."""
    reconnected = asyncio.Event()
    async with connection(own_server, "again", reconnected.set, reconnect_time_wait=0.01) as jetstream:
        own_server.kill()
        own_server.start()
        await reconnected.wait()
        assert jetstream.is_connected


async def test_a_stream_in_the_way_is_no_wrong_setting(server: NatsServer) -> None:
    """Somebody may delete a stream with the same subjects, so the error says to try again."""
    client = await nats.connect(server.url)
    await client.jetstream().add_stream(name="other", subjects=["cip.overlap.>"])
    try:
        async with connection(server, "overlap") as jetstream:
            with pytest.raises(LogUnavailableError, match="overlap"):
                await jetstream.create_stream()
    finally:
        await client.jetstream().delete_stream("other")
        await client.close()


async def test_a_message_is_read_by_its_sequence(server: NatsServer) -> None:
    """A sequence that the log does not hold gives None."""
    async with connection(server, "sequences") as jetstream:
        await jetstream.create_stream()
        sequence = await jetstream.publish(SUBJECT.format("sequences"), b"one", 0)
        assert await jetstream.message_at(sequence) == b"one"
        assert await jetstream.message_at(sequence + 1) is None


async def test_a_write_after_an_older_message_is_refused(server: NatsServer) -> None:
    """The last message of a subject stays; a subject without messages has sequence 0."""
    subject = SUBJECT.format("stale")
    async with connection(server, "stale") as jetstream:
        await jetstream.create_stream()
        assert await jetstream.last(subject) == (0, b"")
        sequence = await jetstream.publish(subject, b"one", 0)
        with pytest.raises(SupersededCommitError):
            await jetstream.publish(subject, b"two", 0)
        assert await jetstream.last(subject) == (sequence, b"one")
        assert await jetstream.last_of_shard(0) == {subject: (sequence, b"one")}


async def test_a_response_that_comes_too_late_is_dropped(
    own_server: NatsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A write of unknown outcome may have landed, and leaves nothing behind in memory."""
    subject = SUBJECT.format("late")
    async with connection(own_server, "late") as jetstream:
        await jetstream.create_stream()
        own_server.signal(signal.SIGSTOP)
        try:
            with monkeypatch.context() as patched:
                patched.setattr(f"{MODULE}.WAIT", 0.05)
                with pytest.raises(LogUnavailableError):
                    await jetstream.publish(subject, b"one", 0)
                with pytest.raises(LogUnavailableError, match="stopped responding"):
                    await jetstream.last_of_shard(0)
        finally:
            own_server.signal(signal.SIGCONT)
        while (landed := await jetstream.last(subject)).sequence == 0:  # a write can land after a later question
            await asyncio.sleep(0.01)
        assert landed == (1, b"one")
        assert await jetstream.publish(subject, b"two", landed.sequence) == 2
        assert await jetstream.last_of_shard(0) == {subject: (2, b"two")}
        assert jetstream._waiting == {}
        assert caplog.messages == []


async def test_a_write_without_a_connection_or_a_stream_fails_at_once(own_server: NatsServer) -> None:
    """The server says that no stream took the message; without a server there is nobody to wait for."""
    async with connection(own_server, "gone") as jetstream:
        with pytest.raises(LogUnavailableError, match="no response from stream"):
            await jetstream.publish(SUBJECT.format("gone"), b"one", 0)
        own_server.kill()
        while jetstream.is_connected:
            await asyncio.sleep(0.01)
        with pytest.raises(LogUnavailableError):
            await jetstream.publish(SUBJECT.format("gone"), b"one", 0)
        assert jetstream._waiting == {}


def test_messages_of_one_span_are_written_together() -> None:
    """The first message goes out at once, and those of the next 50 ms together."""

    async def main() -> None:
        jetstream, times = JetStream(LogSettings(servers="nats://127.0.0.1", name="gathered"), bool), list[float]()
        began = clock.now()

        async def write(delay: float) -> None:
            await asyncio.sleep(delay)
            await jetstream._gather()
            times.append(round(clock.now() - began, 3))

        await asyncio.gather(*map(write, (0.0, 0.01, 0.04, 0.2)))
        assert times == [0.0, 0.05, 0.05, 0.2]

    run(main)


async def test_the_last_sequences_come_without_payloads(server: NatsServer) -> None:
    """Each subject of the shards asked for has the sequence of its last message."""
    subjects = [f"cip.numbers.events.{shard}.advertiser.{shard}" for shard in range(3)]
    async with connection(server, "numbers") as jetstream:
        with pytest.raises(LogUnavailableError, match="there is no stream"):
            await jetstream.last_sequences([0])
        await jetstream.create_stream()
        assert await jetstream.last_sequences([0, 1]) == {}
        for subject in (*subjects, subjects[0]):
            last = await jetstream.last(subject)
            await jetstream.publish(subject, b"x" * 1000, last.sequence)
        received = jetstream._connection.client.stats["in_bytes"]
        assert await jetstream.last_sequences([0, 1]) == {subjects[0]: 4, subjects[1]: 2}
        assert jetstream._connection.client.stats["in_bytes"] - received < 2000


async def test_sequences_need_room_for_a_consumer(server: NatsServer) -> None:
    """A stream with as many consumers as it may have says so, and the log still responds."""
    log = Log(LogSettings(servers=server.url, name="roomless"))
    await log.connect("roomless")
    try:
        await log.jetstream._js.add_stream(
            name="cip_roomless_events", subjects=["cip.roomless.events.>"], max_consumers=1
        )
        await log.jetstream.create_view("only", ["cip.roomless.events.>"])
        with pytest.raises(LogUnavailableError, match="maximum consumers limit"):
            await log.jetstream.last_sequences([0])
        assert await log.last_sequences([0]) is None
        assert log.responds
    finally:
        await log.close()


async def test_beats_are_passed_on(server: NatsServer) -> None:
    """Every connection of a fleet hears the beats."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def hear(beat: bytes) -> None:
        heard.set_result(beat)

    async with connection(server, "beats") as jetstream:
        await jetstream.hear_beats(hear)
        await jetstream.send_beat(b"beat")
        assert await heard == b"beat"


async def test_a_shard_with_too_many_organizations_is_an_error(server: NatsServer) -> None:
    """The server returns at most 1,024 last messages at once."""
    async with connection(server, "crowded") as jetstream:
        await jetstream.create_stream()
        client = await nats.connect(server.url)
        for number in range(1025):
            await client.publish(f"cip.crowded.events.0.advertiser.{number}", b"{}")
        await client.jetstream().publish("cip.crowded.events.0.advertiser.1025", b"{}")
        await client.close()
        with pytest.raises(FleetError, match="at most 1,024 organizations"):
            await jetstream.last_of_shard(0)


async def test_a_shard_without_a_stream_does_not_respond(server: NatsServer) -> None:
    """Nobody responds with a shard's messages before the stream exists."""
    async with connection(server, "absent") as jetstream:
        with pytest.raises(LogUnavailableError, match="status 503"):
            await jetstream.last_of_shard(0)


async def test_a_group_fetches_nothing_from_a_quiet_log(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence gives no messages, and a closed connection raises an error."""
    monkeypatch.setattr(f"{MODULE}.WAIT", 0.5)
    async with connection(server, "quiet") as jetstream:
        await jetstream.create_stream()
        await jetstream.create_consumer("g", ack_wait=30.0, max_unacknowledged=10, begins_at=1)
        assert [each.group for each in await jetstream.consumers()] == ["g"]
        fetch = await jetstream.pull("g")
        assert await fetch(5) == []
        await jetstream.close()
        with pytest.raises(LogUnavailableError):
            await fetch(5)
