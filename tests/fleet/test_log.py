"""The log while its server does not respond: questions wait for one probe, and writes are looked up."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection, Coroutine
from typing import Any

import pytest

from calls_in_progress_async import clock
from calls_in_progress_async.fleet.errors import FleetError, LogUnavailableError, SupersededCommitError
from calls_in_progress_async.fleet.log import Log
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.fleet.log_values import Stored, StreamState
from calls_in_progress_async.testing.virtual_clock import run

SUBJECT = "cip.t.events.0.advertiser.25"
DOWN = LogUnavailableError("no response")
STREAM = StreamState(8, 1, 1, 100, 60.0)


class ScriptedJetStream:
    """Returns or raises the results of a script, in order, and keeps the calls."""

    is_connected = True
    max_payload = 1000

    def __init__(self, **script: list[Any]) -> None:
        self.script = script
        self.calls: list[str] = []
        self.sent: list[bytes] = []
        self.hear: Any = None

    def _next(self, name: str) -> Any:
        self.calls.append(name)
        result = self.script[name].pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    async def connect(self, name: str) -> Any:
        return self._next("connect")

    async def stream(self) -> Any:
        return self._next("stream")

    async def create_stream(self) -> Any:
        return self._next("create_stream")

    async def publish(self, subject: str, body: bytes, after: int) -> Any:
        self.sent.append(body)
        return self._next("publish")

    async def last(self, subject: str) -> Any:
        await asyncio.sleep(0)  # so that several questions are in flight together
        return self._next("last")

    async def last_of_shard(self, shard: int) -> Any:
        return self._next("last_of_shard")

    async def last_sequences(self, shards: Collection[int]) -> Any:
        return self._next("last_sequences")

    async def message_at(self, sequence: int) -> Any:
        return self._next("message_at")

    async def consumers(self) -> Any:
        return self._next("consumers")

    async def send_beat(self, body: bytes) -> Any:
        self.sent.append(body)
        return self._next("send_beat")

    async def hear_beats(self, on_data: Any) -> None:
        self.hear = on_data

    async def close(self) -> None:
        self.calls.append("close")


def scripted(**script: list[Any]) -> tuple[Log, ScriptedJetStream, list[bool]]:
    """Return a log on a script, and the list of its changes."""
    log = Log(LogSettings(servers="nats://127.0.0.1:1", name="t", shards=8))
    jetstream: Any = ScriptedJetStream(**script)
    log.jetstream = jetstream
    changes: list[bool] = []
    log.on_change = changes.append
    return log, jetstream, changes


def timed(question: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
    """Run a coroutine on a virtual clock, and return its result and the virtual seconds it took."""

    async def measure() -> tuple[Any, float]:
        began = clock.now()
        result = await question
        return result, round(clock.now() - began, 6)

    return run(measure())


@pytest.mark.parametrize(
    ("name", "argument", "result"),
    [
        ("last", SUBJECT, Stored(3, b"x")),
        ("last_of_shard", 5, {SUBJECT: Stored(3, b"x")}),
        ("message_at", 3, b"x"),
        ("message_at", 3, None),
    ],
)
def test_a_question_waits_for_the_probe(name: str, argument: Any, result: Any) -> None:
    """A question without response is asked again once the probe, 0.3 s later, gets one."""
    log, jetstream, changes = scripted(**{name: [DOWN, result], "stream": [DOWN, STREAM]})
    assert timed(getattr(log, name)(argument)) == (result, 0.6)
    assert jetstream.calls == [name, "stream", "stream", name]
    assert changes == [False, False]
    assert log.responds


def test_sequences_that_cannot_be_had_do_not_stop_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The comparison is left out; the next one may work."""
    log, _, changes = scripted(last_sequences=[DOWN, {SUBJECT: 3}])
    assert timed(log.last_sequences([5, 6])) == (None, 0.0)
    assert timed(log.last_sequences([5, 6])) == ({SUBJECT: 3}, 0.0)
    assert changes == []
    assert log.responds
    (warning,) = caplog.messages
    assert warning.startswith("the sequences in the log cannot be compared, which is tried again: ")


def test_many_questions_have_one_probe() -> None:
    """Questions in flight together find the log down once."""
    log, jetstream, changes = scripted(last=[DOWN, DOWN, Stored(1), Stored(2)], stream=[STREAM])

    async def ask() -> list[Stored]:
        return await asyncio.gather(log.last("a"), log.last("b"))

    assert timed(ask()) == ([Stored(1), Stored(2)], 0.3)
    assert jetstream.calls.count("stream") == 1
    assert changes == [False, False]


def test_a_probe_that_finds_a_wrong_stream_lets_the_questions_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged once, and nobody waits forever."""
    log, _, _ = scripted(last=[DOWN, Stored(1)], stream=[STREAM._replace(shards="9")])
    with caplog.at_level(logging.ERROR):
        assert timed(log.last(SUBJECT)) == (Stored(1), 0.3)
    assert "the stream does not suit this worker any more" in caplog.text
    assert "shards must be 9 for fleet 't'" in caplog.text


def test_a_log_closed_while_down_ends_its_probe() -> None:
    """No probe asks a closed connection."""
    log, jetstream, changes = scripted(last=[DOWN])

    async def ask_and_close() -> None:
        asking = asyncio.ensure_future(log.last(SUBJECT))
        await asyncio.sleep(0.1)
        assert not log.responds
        asking.cancel()
        await log.close()
        await asyncio.sleep(1)

    run(ask_and_close())
    assert jetstream.calls == ["last", "close"]
    assert changes == [False]


@pytest.mark.parametrize("state", [None, STREAM])
def test_the_stream_is_created_if_there_is_none(state: StreamState | None) -> None:
    """The first worker creates the stream, and every other one checks it."""
    log, jetstream, _ = scripted(stream=[DOWN, state], create_stream=[None])
    assert timed(log.ensure_stream()) == (None, 0.3)
    assert jetstream.calls == ["stream", "stream", "create_stream"][: 3 if state is None else 2]
    assert log.max_age == (log.settings.max_age if state is None else 60.0)  # the stream's own, if there is one


def commit(log: Log, after: int = 4) -> Any:
    return timed(log.commit(SUBJECT, b"mine", after))[0]


OTHER = SupersededCommitError()


@pytest.mark.parametrize(
    ("script", "sequence", "writes"),
    [
        ({"publish": [5]}, 5, 1),
        ({"publish": [DOWN], "last": [Stored(5, b"mine")]}, 5, 1),
        ({"publish": [DOWN, 5], "last": [Stored(4, b"before")]}, 5, 2),
        ({"publish": [DOWN, OTHER], "last": [Stored(4, b"before"), Stored(5, b"mine")]}, 5, 2),
    ],
    ids=["written", "written without a response", "lost", "refused for the message itself"],
)
def test_a_write_of_unknown_outcome_counts_once(script: dict[str, list[Any]], sequence: int, writes: int) -> None:
    """A write without response is looked up, and sent again as the same bytes only if the log does not have it."""
    log, jetstream, _ = scripted(**script, stream=[STREAM])
    assert commit(log) == sequence
    assert jetstream.sent == [b"mine"] * writes


@pytest.mark.parametrize(
    ("script", "writes"),
    [
        ({"publish": [OTHER]}, 1),
        ({"publish": [DOWN], "last": [Stored(5, b"other")]}, 1),
        ({"publish": [DOWN, OTHER], "last": [Stored(4, b"before"), Stored(5, b"other")]}, 2),
    ],
    ids=["refused", "overtaken", "overtaken later"],
)
def test_a_write_after_which_another_message_is_the_last_is_superseded(
    script: dict[str, list[Any]], writes: int
) -> None:
    """The worker reads the last message, and writes nothing over it."""
    log, jetstream, _ = scripted(**script, stream=[STREAM])
    with pytest.raises(SupersededCommitError):
        commit(log)
    assert jetstream.sent == [b"mine"] * writes


def test_beats_do_without_a_log_that_is_down() -> None:
    """A beat is lost, without an error."""
    log, jetstream, changes = scripted(send_beat=[DOWN, None])

    async def send() -> None:
        await log.send_beat({"by": "me"})
        await log.send_beat({"by": "me"})

    run(send())
    assert jetstream.sent == [b'{"by": "me"}'] * 2
    assert changes == []
    assert log.max_payload == 1000


def test_something_else_than_a_beat_is_left_out() -> None:
    """Another program's message on the subject of the beats does no harm."""
    log, jetstream, _ = scripted()
    heard: list[str] = []

    async def on_beat(beat: dict[str, Any]) -> None:
        heard.append(beat["by"])

    async def hear() -> None:
        await log.hear_beats(on_beat)
        for data in (b"\xff", b"{", b"[1]", b"{}", json.dumps({"by": "me"}).encode()):
            await jetstream.hear(data)

    run(hear())
    assert heard == ["me"]


def test_a_log_responds_once_connected() -> None:
    """A log without a server does not respond; a log that was never down closes without a probe."""
    log, jetstream, changes = scripted(connect=[None])
    assert not Log(log.settings).responds
    assert log.responds

    async def connect_and_close() -> None:
        await log.connect("me")
        await log.close()

    run(connect_and_close())
    assert jetstream.calls == ["connect", "close"]
    assert changes == []


def test_a_stream_with_another_number_of_shards_is_an_error() -> None:
    """The message names the number to pass."""
    log, _, _ = scripted(stream=[STREAM._replace(shards="9")])
    with pytest.raises(FleetError, match="pass shards=9, or begin a fleet of another name"):
        run(log.ensure_stream())
