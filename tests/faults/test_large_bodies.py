"""A large response is read in a thread: the event loop goes on, and deadlines, closing and cancelling end the call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from calls_in_progress_async import (
    Attempt,
    CallsInProgressClient,
    CallStarted,
    ClientClosedError,
    CurrentCallsRequest,
    DeadlineExceededError,
    Organization,
    UnexpectedResponseError,
    WireRequest,
    WireResponse,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.slow_reading import leave_event_loop
from calls_in_progress_async.testing import ScriptedTransport, status

ACME = Organization.advertiser(25)
ENTRY = b'{"transaction_id":"T%d","city":"' + b"x" * 500 + b'"}'
LARGE = b'{"current_calls":[' + b",".join(ENTRY % number for number in range(3000)) + b"]}"


def canned(body: bytes = LARGE) -> ScriptedTransport:
    return ScriptedTransport(status(200, body=body), repeat_last=True)


class Slow:
    """An endpoint that reads its response in a thread until it is let go."""

    organization = ACME

    def __init__(self) -> None:
        self.began, self.may_end = threading.Event(), threading.Event()

    def wire(self, wire_format: WireFormat) -> WireRequest:
        return CurrentCallsRequest(organization=ACME).wire(wire_format)

    def read(self, response: WireResponse, wire_format: WireFormat, attempts: tuple[Attempt, ...]) -> str:
        leave_event_loop(len(response.body))
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
