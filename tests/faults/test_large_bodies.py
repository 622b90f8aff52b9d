"""A large response is read in a thread: the event loop goes on, and deadlines, closing and cancelling end the call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from calls_in_progress_async import (
    Attempt,
    CallsInProgressClient,
    CallStarted,
    ClientClosedError,
    CurrentCallsRequest,
    DeadlineExceededError,
    Organization,
    ResponseError,
    RetryPolicy,
    UnexpectedResponseError,
    WireRequest,
    WireResponse,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.records.results import structure_calls, structure_update
from calls_in_progress_async.slow_reading import SlowReadingError, leave_event_loop_for
from calls_in_progress_async.testing import ScriptedTransport, status
from calls_in_progress_async.transport.response_body import read_body
from calls_in_progress_async.watch.listing import read

ACME = Organization.advertiser(25)
ENTRY = b'{"transaction_id":"T%d","city":"' + b"x" * 500 + b'"}'
LARGE = b'{"current_calls":[' + b",".join(ENTRY % number for number in range(3000)) + b"]}"


def canned(body: bytes = LARGE, code: int = 200) -> ScriptedTransport:
    return ScriptedTransport(status(code, body=body), repeat_last=True)


class Slow:
    """An endpoint that reads its response in a thread until it is let go."""

    organization = ACME

    def __init__(self) -> None:
        self.began, self.may_end = threading.Event(), threading.Event()

    def wire(self, wire_format: WireFormat) -> WireRequest:
        return CurrentCallsRequest(organization=ACME).wire(wire_format)

    def read(self, response: WireResponse, wire_format: WireFormat, attempts: tuple[Attempt, ...]) -> str:
        leave_event_loop_for(response.body)
        self.began.set()
        self.may_end.wait()
        return threading.current_thread().name

    async def has_begun(self) -> None:
        await asyncio.to_thread(self.began.wait)


@pytest.fixture
def slow() -> Iterator[Slow]:
    endpoint = Slow()
    yield endpoint
    endpoint.may_end.set()


def client(body: bytes = LARGE, strict: bool = False) -> CallsInProgressClient:
    return CallsInProgressClient(token="a-secret-token", transport=canned(body), strict=strict)


@pytest.mark.parametrize("strict", [False, True])
async def test_a_find_an_update_and_a_watch_read_a_large_body(strict: bool) -> None:
    """All 3,000 calls of 1.6 MB are there."""
    async with client(strict=strict) as it:
        found = await it.find(ACME)
        assert [call.transaction_id for call in found] == [f"T{number}" for number in range(3000)]
        assert len(found.attempts) == 1
        assert len((await it.update(ACME, transaction_id="T1", custom_data={"a": "b"})).calls) == 3000
        async with it.watch([ACME]) as watch:
            event = await anext(watch)
            assert isinstance(event, CallStarted)
            assert len(watch.calls[ACME]) == 3000


async def test_an_error_of_a_large_body_is_an_error_of_the_call() -> None:
    """The error has the attempts, and neither a context nor a frame of the thread with the response."""
    async with client(LARGE[:-5]) as it:
        with pytest.raises(UnexpectedResponseError, match="the body is not JSON") as raised:
            await it.find(ACME)
    assert [attempt.status for attempt in raised.value.attempts] == [200]
    assert raised.value.__context__ is None


async def test_other_calls_go_on_while_a_body_is_read(slow: Slow) -> None:
    """The event loop is free: a second request is answered before the first is read."""
    async with client() as it:
        reading = asyncio.create_task(it.send(slow))
        await slow.has_begun()
        assert len(await it.find(ACME)) == 3000
        assert not reading.done()
        slow.may_end.set()
        assert (await reading).startswith("calls-in-progress-reader")


async def test_the_deadline_covers_reading(slow: Slow) -> None:
    """The call ends at its deadline, whatever the thread does."""
    async with client() as it:
        with pytest.raises(DeadlineExceededError) as raised:
            await it.send(slow, timeout=0.05)
        assert [attempt.status for attempt in raised.value.attempts] == [200]
        assert not slow.may_end.is_set()


async def test_closing_ends_a_call_whose_response_is_being_read(slow: Slow) -> None:
    """The client closes at once."""
    it = client()
    reading = asyncio.create_task(it.send(slow))
    await slow.has_begun()
    await it.close()
    with pytest.raises(ClientClosedError):
        await reading
    assert not slow.may_end.is_set()


async def test_a_cancelled_call_leaves_its_thread_behind(slow: Slow) -> None:
    """The cancellation is the caller's, and the client goes on."""
    async with client() as it:
        reading = asyncio.create_task(it.send(slow))
        await slow.has_begun()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert len(await it.find(ACME)) == 3000


def listing(entry: bytes, size: int) -> bytes:
    return b'{"current_calls":[%b]}' % b",".join([entry] * (size // (len(entry) + 1)))


def changed(inner: bytes, count: int) -> bytes:
    return b'{"current_calls":[{"transaction_id":"A","x":[%b]}]}' % b",".join([inner] * count)


def poll(body: bytes) -> object:
    return read(body, None, strict=False)


def second_poll(body: bytes) -> object:
    return read(body, read(body.replace(b"1", b"2"), None, strict=False), strict=False)


SMALL = 2**14 - 100
DENSE = {
    "a poll of numbers": (poll, listing(b"1", SMALL)),
    "a poll of entries with NaN": (poll, listing(b'{"x":NaN}', SMALL)),
    "a poll of empty entries": (poll, listing(b"{}", SMALL)),
    "a poll of thousands of ids": (poll, listing(b'{"transaction_id":"A"}', 2**18)),
    "a poll of ids of thousands of digits": (poll, listing(b'{"transaction_id":%b}' % (b"9" * 4000), 2**16)),
    "a changed call with many numbers": (second_poll, changed(b"1", 20_000)),
    "a changed call with many lists": (second_poll, changed(b"[[[1]]]", 20_000)),
    "a changed call with many objects": (second_poll, changed(b'{"a":1}', 20_000)),
    "a strict find": (lambda body: structure_calls(body, strict=True), listing(b"{}", SMALL)),
    "a find of bad fields": (lambda body: structure_calls(body, strict=False), listing(b'{"city":[]}', SMALL)),
    "an update": (lambda body: structure_update(body, strict=False), listing(b'{"city":[]}', SMALL)),
}


@pytest.mark.parametrize(("reader", "body"), DENSE.values(), ids=DENSE)
async def test_a_small_body_of_many_values_is_not_read_in_the_event_loop(
    reader: Callable[[bytes], object], body: bytes
) -> None:
    """The bytes alone do not tell how long a body takes: an entry of two bytes costs as much as one of a hundred."""
    with pytest.raises(SlowReadingError):
        reader(body)
    await asyncio.to_thread(reader, body)


async def test_usual_bodies_are_read_in_the_event_loop() -> None:
    """200 calls, first seen and then all changed, need no thread."""
    entry = b'{"transaction_id":"T%%d","city":"%b",%b}' % (b"x" * 500, b",".join(b'"f%d":"x"' % n for n in range(40)))
    first, second = (
        b'{"current_calls":[%b]}' % b",".join(entry % number for number in range(offset, offset + 200))
        for offset in (0, 1)
    )
    assert len(structure_calls(first, strict=False).calls) == 200
    assert len(read(second.replace(b"xxx", b"yyy"), read(first, None, strict=False), strict=False).entries) == 200


@pytest.mark.parametrize("code", [400, 500])
async def test_a_long_error_is_an_error_without_the_words_of_the_server(code: int) -> None:
    """Its thousands of field errors would hold the event loop while their phone numbers are redacted."""
    body = b'{"errors":{%b}}' % b",".join(b'"f%d":["8a6b6c5d5e"]' % n for n in range(1000))
    body += b" " * 2**20
    it = CallsInProgressClient(token="a-secret-token", transport=canned(body, code), retry=RetryPolicy(max_attempts=1))
    async with it:
        with pytest.raises(ResponseError, match=rf"^HTTP {code}: the body of 1045 KiB is too long to read$"):
            await it.find(ACME)


class AtHand:
    """A stream of 32 MiB without any wait, as of compressed bytes that have all come."""

    def __init__(self) -> None:
        self.chunks = [bytes(2**20)] * 32

    def is_eof(self) -> bool:
        return False

    async def readany(self) -> bytes:
        return self.chunks.pop() if self.chunks else b""


async def test_a_long_body_at_hand_is_read_in_several_steps() -> None:
    """The event loop goes on while aiohttp decompresses 63 kB to 32 MiB."""
    stream: Any = AtHand()
    reading = asyncio.create_task(read_body(stream, 2**26))
    left = []
    while not reading.done():
        await asyncio.sleep(0)
        left.append(len(stream.chunks))
    assert len(await reading or b"") == 2**25
    assert sorted(set(left), reverse=True) == [28, 24, 20, 16, 12, 8, 4, 0]
