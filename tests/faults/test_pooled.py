"""Connections end cleanly: no request is half sent later, and no stray response is read as the next one."""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import trustme
from attrs import field, frozen
from faults.leaks import connector_of, guards_of, idle_connections, settle
from faults.test_bad_servers import serving, trusting
from faults.test_cancellation import LOOPS, find, run, steps, update
from raw_server import ACME, EMPTY_LIST, NO_CALLS, Exchange, RawServer, reply, say, say_and_reset

import calls_in_progress_async as sdk
from calls_in_progress_async import CallsInProgressClient, RetryPolicy

MIB = 2**20
LARGE = 24 * MIB
"""Bytes of a body, more than the buffers between client and server hold."""


@frozen
class Link:
    """The settings of server and client for plain TCP or for TLS."""

    ssl: ssl.SSLContext | None = None
    settings: dict[str, Any] = field(factory=dict)


@pytest.fixture(scope="module", params=["plain", "tls"])
def link(request: pytest.FixtureRequest) -> Link:
    if request.param == "plain":
        return Link()
    authority = trustme.CA()
    return Link(serving(authority), {"ssl": trusting(authority)})


def socket_of(client: CallsInProgressClient) -> Any:
    """Return the socket of the only connection in use."""
    (handler,) = connector_of(client)._acquired
    return handler.transport.get_extra_info("socket")


async def given_up(client: CallsInProgressClient, task: asyncio.Task[Any], how: str) -> BaseException:
    """End a request by cancellation or by ``attempt_timeout``, and return its error."""
    if how == "cancelled":
        task.cancel()
    else:
        (scope,) = client._pipeline._lifetime.scopes
        scope.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancelled" else sdk.RequestTimeoutError) as raised:
        await task
    return raised.value


HOWS = pytest.mark.parametrize("how", ["cancelled", "timed out"])
ON_EVERY_LOOP = pytest.mark.parametrize("loop", LOOPS)


# Requests given up.


@pytest.mark.usefixtures("way")
@HOWS
@ON_EVERY_LOOP
def test_an_update_given_up_sends_nothing_more(how: str, link: Link, loop: Any) -> None:
    """Sent whole later, by a path stuck for a while, it would overwrite a newer update."""

    async def main() -> None:
        begun, on, received = asyncio.Event(), asyncio.Event(), bytearray()

        async def stuck(exchange: Exchange) -> None:
            if server.connections > 1:
                return
            received.extend(await exchange.reader.readuntil(b"\r\n\r\n"))
            exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
            begun.set()
            await on.wait()
            exchange.writer.transport.resume_reading()  # type: ignore[attr-defined]
            with suppress(ConnectionError):
                while chunk := await exchange.reader.read(MIB):
                    received.extend(chunk)
            exchange.close()

        async with RawServer(at_connect=stuck, ssl=link.ssl) as server:
            async with server.client(retry=RetryPolicy(max_attempts=1), **link.settings) as client:
                old = client.update(ACME, transaction_id="T", custom_data={"a": "o" * LARGE + "OLD"})
                task = asyncio.create_task(old)
                await begun.wait()
                error = await given_up(client, task, how)
                assert getattr(error, "may_have_been_applied", True)
                await client.update(ACME, transaction_id="T", custom_data={"a": "NEW"})
                on.set()
                await server.until(lambda: server.open == 1)
                assert b"oooo" in received
                assert b"OLD" not in received
                assert len(received) < LARGE
            assert [b"NEW" in each.body for each in server.seen] == [True]

    run(loop, main)


@HOWS
@pytest.mark.parametrize("act", [find, update])
@ON_EVERY_LOOP
def test_a_connection_given_up_ends_at_once(act: Any, how: str, link: Link, loop: Any, way: str) -> None:
    """The connection ends over TLS too, though the server reads nothing, not even the end."""

    async def main() -> None:
        on = asyncio.Event()

        async def hang(exchange: Exchange) -> None:
            exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await on.wait()
            exchange.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await exchange.gone()

        async with RawServer([hang], ssl=link.ssl) as server:  # noqa: SIM117
            async with server.client(retry=RetryPolicy(max_attempts=1), **link.settings) as client:
                task = asyncio.create_task(act(client))
                await server.until(lambda: server.seen)
                connection = socket_of(client)
                await given_up(client, task, how)
                await settle()
                assert guards_of(client) == {}
                assert connection.fileno() == -1
                on.set()
                await server.until(lambda: server.open == 0)

    run(loop, main)


@pytest.mark.usefixtures("way")
@ON_EVERY_LOOP
def test_a_body_over_the_limit_is_read_no_further(link: Link, loop: Any) -> None:
    """An endless body is not read beyond the limit."""

    async def main() -> None:
        poured = asyncio.Event()

        async def pour_for_ever(exchange: Exchange) -> None:
            await exchange.send(reply(200, b"", length=10**11))
            with suppress(ConnectionError):
                while True:
                    await exchange.send(b" " * 2**16)
                    await asyncio.sleep(0)
            poured.set()

        async with RawServer([pour_for_ever], ssl=link.ssl) as server:  # noqa: SIM117
            async with server.client(max_response_size=MIB, **link.settings) as client:
                with pytest.raises(sdk.ResponseTooLargeError):
                    await client.find(ACME)
                await settle()
                assert guards_of(client) == {}
                async with asyncio.timeout(5):
                    await poured.wait()
                await server.until(lambda: server.open == 0)

    run(loop, main)


@ON_EVERY_LOOP
def test_a_connection_with_a_body_over_the_limit_ends_at_once(link: Link, loop: Any) -> None:
    """The connection ends over TLS too, though the server sends nothing more."""

    async def main() -> None:
        ready, on = asyncio.Event(), asyncio.Event()

        async def say_too_much(exchange: Exchange) -> None:
            exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await ready.wait()
            await exchange.send(reply(200, b" " * 1001, length=10**6))
            await on.wait()
            exchange.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await exchange.gone()

        async with RawServer([say_too_much], ssl=link.ssl) as server:  # noqa: SIM117
            async with server.client(max_response_size=1000, **link.settings) as client:
                task = asyncio.create_task(client.find(ACME))
                await server.until(lambda: server.seen)
                connection = socket_of(client)
                ready.set()
                with pytest.raises(sdk.ResponseTooLargeError):
                    await task
                await settle()
                assert guards_of(client) == {}
                assert connection.fileno() == -1
                on.set()
                await server.until(lambda: server.open == 0)

    run(loop, main)


@ON_EVERY_LOOP
@pytest.mark.parametrize("act", [None, find], ids=["idle", "given up"])
def test_closing_again_completes_a_cancelled_close(act: Any, link: Link, loop: Any) -> None:
    """Cancelled after any number of steps, closing leaves no transport once it is called again."""

    async def main() -> None:
        on = asyncio.Event()

        async def hang(exchange: Exchange) -> None:
            if act is None:
                await exchange.send(NO_CALLS)
            exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await on.wait()
            exchange.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await exchange.gone()

        async with RawServer([hang], ssl=link.ssl) as server:
            for count in range(6):
                server.seen.clear()
                client = server.client(retry=RetryPolicy(max_attempts=1), **link.settings)
                task = asyncio.create_task(client.find(ACME))
                await server.until(lambda: server.seen)
                connector = connector_of(client)
                (transport,) = guards_of(client)
                if act is None:
                    await task
                else:
                    await given_up(client, task, "cancelled")
                closing = asyncio.create_task(client.close())
                await steps(count)
                closing.cancel()
                await asyncio.gather(closing, return_exceptions=True)
                await client.close()
                await settle()
                connection = transport.get_extra_info("socket")
                gone = connection is None or connection.fileno() == -1
                assert (connector.closed, guards_of(client), gone) == (True, {}, True), count
            on.set()
            await server.until(lambda: server.open == 0)

    run(loop, main)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("act", [say_and_reset(NO_CALLS), say_and_reset()], ids=["idle", "in use"])
@ON_EVERY_LOOP
def test_a_reset_connection_is_not_logged(act: Any, loop: Any) -> None:
    """The loop logs no error for an idle connection or a request in progress."""

    async def main() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with RawServer([act]) as server, server.client(retry=RetryPolicy(max_attempts=1)) as client:
            with suppress(sdk.ConnectionLostError):
                await client.find(ACME)
            while guards_of(client):
                await asyncio.sleep(0)
        gc.collect()
        assert complaints == []

    run(loop, main)


# Bytes between two requests.


OTHERS = reply(200, b'{"current_calls": [{"transaction_id": "SOMEBODY-ELSES"}]}')
UNASKED = {
    "a byte": b"H",
    "an empty line": b"\r\n",
    "a part of a head": b"HTTP/1.1 200 OK\r\nX-Pad: ",
    "a head": b"HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n",
    "a response": OTHERS,
    "100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a flood of 100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    "no HTTP": b"\x00\xff",
}


@pytest.mark.parametrize("unasked", UNASKED)
@ON_EVERY_LOOP
def test_any_byte_on_an_idle_connection_ends_it(unasked: str, link: Link, loop: Any) -> None:
    """The connection ends at once; the next request goes out on a new one."""

    async def main() -> None:
        idle = asyncio.Event()

        async def say_more(exchange: Exchange) -> None:
            await exchange.send(NO_CALLS)
            await idle.wait()
            with suppress(ConnectionError):
                await exchange.send(UNASKED[unasked])
            await exchange.gone()

        async with RawServer([say_more, say(NO_CALLS)], ssl=link.ssl) as server:  # noqa: SIM117
            async with server.client(retry=RetryPolicy(max_attempts=1), **link.settings) as client:
                await client.find(ACME)
                idle.set()
                await server.until(lambda: server.open == 0)
                await settle()
                assert guards_of(client) == {}
                assert list(await client.find(ACME)) == []
                assert [each.connection for each in server.seen] == [1, 2]

    run(loop, main)


@ON_EVERY_LOOP
def test_an_idle_connection_with_input_ends_at_once(link: Link, loop: Any) -> None:
    """The connection ends over TLS too, though the server reads nothing."""

    async def main() -> None:
        idle, on = asyncio.Event(), asyncio.Event()

        async def say_more(exchange: Exchange) -> None:
            await exchange.send(NO_CALLS)
            exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await idle.wait()
            await exchange.send(OTHERS)
            await on.wait()
            exchange.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await exchange.gone()

        async with RawServer([say_more], ssl=link.ssl) as server, server.client(**link.settings) as client:
            await client.find(ACME)
            (handler,) = idle_connections(client)
            idle.set()
            while handler.transport is not None:
                await asyncio.sleep(0)
            await settle()
            assert guards_of(client) == {}
            on.set()
            await server.until(lambda: server.open == 0)

    run(loop, main)


@ON_EVERY_LOOP
def test_an_idle_connection_without_input_is_reused(link: Link, loop: Any) -> None:
    """One connection serves five finds, with a guard in place while it is idle."""

    async def main() -> None:
        async with RawServer(ssl=link.ssl) as server, server.client(**link.settings) as client:
            for _ in range(5):
                assert list(await client.find(ACME)) == []
                (handler,) = idle_connections(client)
                assert handler.transport.get_protocol() is guards_of(client)[handler.transport]
            assert server.connections == 1

    run(loop, main)


@ON_EVERY_LOOP
def test_bodies_of_many_reads_arrive_whole(link: Link, loop: Any) -> None:
    """Connections of one loop share a buffer; each body has its own bytes only."""
    bodies = [[letter * 100_000 for _ in range(20)] for letter in "abcdefgh"]

    async def main() -> None:
        acts = [say(reply(200, json.dumps({"current_calls": [{"city": each} for each in body]}))) for body in bodies]
        async with RawServer(acts, ssl=link.ssl) as server, server.client(**link.settings) as client:
            found = await asyncio.gather(*(client.find(sdk.Organization.advertiser(number)) for number in range(1, 9)))
            assert sorted([call.city for call in calls] for calls in found) == bodies

    run(loop, main)


@pytest.mark.usefixtures("way")
async def test_bytes_before_the_first_request_are_not_a_response(monkeypatch: pytest.MonkeyPatch, link: Link) -> None:
    """A server speaking first gets no request, and its bytes are not read."""
    connect = aiohttp.TCPConnector.connect

    async def connect_and_listen(connector: Any, *args: Any, **options: Any) -> Any:
        connection = await connect(connector, *args, **options)
        while not connection.protocol.should_close:
            await asyncio.sleep(0)
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_and_listen)
    async with RawServer(at_connect=say(OTHERS), ssl=link.ssl) as server:
        async with server.client(retry=RetryPolicy(max_attempts=1), **link.settings) as client:
            with pytest.raises(sdk.ConnectionLostError) as raised:
                await update(client)
            assert not raised.value.may_have_been_applied
        assert server.seen == []


NOTHING = b"HTTP/1.1 204 No Content\r\n"
LAST_RESPONSES = {
    "204 with Content-Length": (NOTHING + b"Content-Length: %d\r\n\r\n" % len(OTHERS), 2),
    "204, chunked": (NOTHING + b"Transfer-Encoding: chunked\r\n\r\n", 2),
    "304 with Content-Length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(OTHERS), 2),
    "304, chunked": (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 2),
    "101": (b"HTTP/1.1 101 Go\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 2),
    "101 without Upgrade": (b"HTTP/1.1 101 Go\r\n\r\n", 2),
    "204": (NOTHING + b"\r\n", 1),
    "204 with Content-Length: 0": (NOTHING + b"Content-Length: 0\r\n\r\n", 1),
    "304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", 1),
    "200 with a body": (reply(200, EMPTY_LIST), 1),
    "200, chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1),
}


@pytest.mark.parametrize("name", LAST_RESPONSES)
async def test_a_response_that_may_continue_is_the_last_of_its_connection(name: str, link: Link) -> None:
    """A body after a 204, or another protocol, would be read as the next response."""
    head, connection = LAST_RESPONSES[name]
    async with RawServer([say(head), say(NO_CALLS)], ssl=link.ssl) as server:
        async with server.client(retry=RetryPolicy(max_attempts=1), **link.settings) as client:
            with suppress(sdk.UnexpectedResponseError):
                await update(client)
            assert list(await client.find(ACME)) == []
        assert [each.connection for each in server.seen] == [1, connection]


@pytest.mark.parametrize(("interim", "enough"), [(16, True), (17, False)])
async def test_at_most_16_interim_responses_are_read(interim: int, enough: bool) -> None:
    """The limit ends an endless series of them."""
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n" * interim
    async with RawServer([say(early + NO_CALLS), say(NO_CALLS)]) as server:
        async with server.client(retry=RetryPolicy(max_attempts=1)) as client:
            if enough:
                assert list(await client.find(ACME)) == []
            else:
                with pytest.raises(sdk.ConnectionLostError, match="ClientPayloadError"):
                    await client.find(ACME)
            await client.find(ACME)
        assert [each.connection for each in server.seen] == [1, 1 if enough else 2]


async def test_a_client_whose_pool_was_closed_says_so() -> None:
    """The loop's asynchronous generators were shut down, and the pool with them, but the loop goes on."""
    async with RawServer() as server:
        client = server.client()
        await client.find(ACME)
        await connector_of(client).close()
        with pytest.raises(sdk.ClientClosedError, match="pool of the client is closed"):
            await client.find(ACME)
        await client.close()
