"""One retry authority: each counted attempt puts at most one request on the wire, though aiohttp would resend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import aiohttp
import pytest
import trustme
from faults.leaks import idle_connections, nothing_left
from faults.test_bad_servers import serving, trusting
from raw_server import ACME, NO_CALLS, Exchange, RawServer, reply, say, say_and_close, say_and_reset

from calls_in_progress_async import CallsInProgressClient, ConnectionLostError, RetryPolicy

pytestmark = pytest.mark.usefixtures("way")

METHODS = ["GET", "PUT", "POST"]
GOOD = say(NO_CALLS)
LOST = [
    pytest.param(say_and_close(), id="closed"),
    pytest.param(say_and_reset(), id="reset"),
    pytest.param(say_and_close(b"HTTP/1.1 200 OK\r\nConte"), id="closed in the head"),
    pytest.param(say_and_reset(reply(200, b"{", length=99)), id="reset in the body"),
]


def request(client: CallsInProgressClient, method: Any) -> Awaitable[Any]:
    if method == "GET":
        return client.find(ACME)
    return client.update(ACME, transaction_id="T", custom_data={"a": "b"}, method=method)


@pytest.mark.parametrize("stale", [False, True], ids=["fresh", "stale"])
@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("method", METHODS)
async def test_one_attempt_is_one_request(method: str, lost: Any, stale: bool) -> None:
    """It holds on a new connection and on a kept one, lost as it is used again."""
    async with RawServer([*([GOOD] if stale else []), lost]) as server:
        async with nothing_left(server, retry=RetryPolicy(max_attempts=1)) as client:
            if stale:
                await client.find(ACME)
            with pytest.raises(ConnectionLostError) as raised:
                await request(client, method)
        sent = server.seen[1 if stale else 0 :]
        assert [each.method for each in sent] == [method]
        assert server.connections == 1
        assert len(raised.value.attempts) == 1
        assert raised.value.may_have_been_applied is (method != "GET")


@pytest.mark.parametrize("stale", [False, True], ids=["fresh", "stale"])
@pytest.mark.parametrize("attempts", [2, 3, 5])
@pytest.mark.parametrize("method", METHODS)
async def test_n_attempts_are_at_most_n_requests(method: str, attempts: int, stale: bool) -> None:
    """GET and PUT use all attempts; a POST in doubt is repeated only with retry_post=True."""
    for retry_post in (False, True):
        async with RawServer([*([GOOD] if stale else []), say_and_close()]) as server:
            policy = RetryPolicy(max_attempts=attempts, initial=0, retry_post=retry_post)
            async with nothing_left(server, retry=policy) as client:
                if stale:
                    await client.find(ACME)
                with pytest.raises(ConnectionLostError) as raised:
                    await request(client, method)
            expected = 1 if method == "POST" and not retry_post else attempts
            assert len(server.seen) - stale == expected == len(raised.value.attempts)


async def test_a_connection_lost_while_idle_is_not_reused() -> None:
    """The request goes out once, on a new connection."""
    async with RawServer([say_and_close(NO_CALLS), GOOD]) as server:
        async with nothing_left(server, retry=RetryPolicy(max_attempts=1)) as client:
            await client.find(ACME)
            (idle,) = idle_connections(client)
            while idle.is_connected():
                await asyncio.sleep(0)
            await client.find(ACME)
        assert [each.connection for each in server.seen] == [1, 2]


@pytest.mark.parametrize("method", METHODS)
async def test_an_injected_session_does_not_repeat_either(method: str) -> None:
    """A session of the user's own puts one request on the wire, too."""
    async with RawServer([GOOD, say_and_close()]) as server, aiohttp.ClientSession() as session:
        async with server.client(session=session, retry=RetryPolicy(max_attempts=1)) as client:
            await client.find(ACME)
            with pytest.raises(ConnectionLostError):
                await request(client, method)
        assert len(server.seen) == 2


async def test_aiohttp_by_itself_would_repeat() -> None:
    """With aiohttp alone, the same server sees a PUT twice."""
    async with RawServer([GOOD, say_and_close()]) as server, aiohttp.ClientSession() as session:
        async with session.get(server.url) as response:
            await response.read()
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.put(server.url, data=b"x")
        assert len(server.seen) == 3


async def test_a_stray_response_is_not_read() -> None:
    """Bytes from an idle connection are not read as the response to the next request."""
    other = reply(200, b'{"current_calls": [{"transaction_id": "SOMEBODY-ELSES"}]}')
    async with RawServer([GOOD]) as server:
        async with nothing_left(server, retry=RetryPolicy(max_attempts=1)) as client:
            await client.find(ACME)
            (idle,) = idle_connections(client)
            idle.data_received(other)
            assert list(await client.find(ACME)) == []
        assert [each.connection for each in server.seen] == [1, 2]


async def test_a_second_response_is_not_read() -> None:
    """After two responses to one request the connection ends, and the second is never read."""
    other = reply(200, b'{"current_calls": [{"transaction_id": "SOMEBODY-ELSES"}]}')
    async with RawServer([say(NO_CALLS + other), GOOD]) as server:
        async with nothing_left(server) as client:
            assert [list(await client.find(ACME)) for _ in range(2)] == [[], []]
        assert [each.connection for each in server.seen] == [1, 2]


@pytest.mark.parametrize("method", METHODS)
async def test_a_connection_lost_as_it_is_made_has_sent_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No method was applied, and the error names nothing of the URL."""
    connect = aiohttp.TCPConnector.connect

    async def connect_and_lose(connector: Any, *args: Any, **options: Any) -> Any:
        connection = await connect(connector, *args, **options)
        connection.transport.abort()
        while connection.transport is not None:
            await asyncio.sleep(0)
        return connection

    async with RawServer() as server, nothing_left(server, retry=RetryPolicy(max_attempts=1)) as client:
        monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_and_lose)
        with pytest.raises(ConnectionLostError) as raised:
            await request(client, method)
        assert not raised.value.may_have_been_applied
        assert "transaction_id" not in str(raised.value)
        assert server.seen == []


async def respond_to_the_head(exchange: Exchange) -> None:
    """Respond as soon as the head of a request is here, and read nothing more."""
    await exchange.reader.readuntil(b"\r\n\r\n")
    exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await exchange.send(NO_CALLS)
    try:
        await asyncio.Event().wait()
    finally:
        exchange.reset()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_response_before_the_whole_request_ends_the_connection(tls: bool) -> None:
    """The unsent rest of the request would come before the next one, so the connection is not kept."""
    authority = trustme.CA()
    async with (
        RawServer(at_connect=respond_to_the_head, ssl=serving(authority) if tls else None) as server,
        server.client(ssl=trusting(authority), retry=RetryPolicy(max_attempts=1)) as client,
    ):
        await client.update(ACME, transaction_id="T", custom_data={"a": "b" * 2**24})
        await client.find(ACME)
        assert server.connections == 2
