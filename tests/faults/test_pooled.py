"""Connections end cleanly: no request is half sent later, and no stray response is read as the next one."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
import trustme
from attrs import field, frozen
from faults.fault_server import ACME, EMPTY_LIST, NO_CALLS, Exchange, FaultServer, answer, say, say_and_reset
from faults.leaks import connector_of, guards_of, idle_connections, settle
from faults.test_bad_servers import request, serving, trusting
from faults.test_cancellation import LOOPS, find, run, steps, update

import calls_in_progress_async as sdk
from calls_in_progress_async import CallsInProgressClient, Organization, RetryPolicy
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.transport.translation import describe_error
from calls_in_progress_async.transport.wire import WireRequest, WireResponse

MIB = 2**20
LARGE = 40 * MIB
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
def test_of_an_update_that_was_given_up_nothing_more_goes_out(how: str, link: Link, loop: Any) -> None:
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

        async with FaultServer(at_connect=stuck, ssl=link.ssl) as server:
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
def test_a_connection_that_was_given_up_ends_at_once(act: Any, how: str, link: Link, loop: Any, way: str) -> None:
    """The connection ends over TLS too, though the server reads nothing, not even the end."""

    async def main() -> None:
        on = asyncio.Event()

        async def hang(exchange: Exchange) -> None:
            exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await on.wait()
            exchange.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await exchange.gone()

        async with FaultServer([hang], ssl=link.ssl) as server:  # noqa: SIM117
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
def test_of_a_body_that_is_too_large_nothing_more_is_read(link: Link, loop: Any) -> None:
    """An endless body is not read beyond the limit."""

    async def main() -> None:
        poured = asyncio.Event()

        async def pour_for_ever(exchange: Exchange) -> None:
            await exchange.send(answer(200, b"", length=10**11))
            with suppress(ConnectionError):
                while True:
                    await exchange.send(b" " * 2**16)
                    await asyncio.sleep(0)
            poured.set()

        async with FaultServer([pour_for_ever], ssl=link.ssl) as server:  # noqa: SIM117
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
def test_a_connection_with_a_body_that_is_too_large_ends_at_once(link: Link, loop: Any) -> None:
    """The connection ends over TLS too, though the server sends nothing more."""

    async def main() -> None:
        ready, on = asyncio.Event(), asyncio.Event()

        async def say_too_much(exchange: Exchange) -> None:
            exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await ready.wait()
            await exchange.send(answer(200, b" " * 1001, length=10**6))
            await on.wait()
            exchange.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await exchange.gone()

        async with FaultServer([say_too_much], ssl=link.ssl) as server:  # noqa: SIM117
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
def test_a_close_that_was_cancelled_is_made_up_for_by_the_next(act: Any, link: Link, loop: Any) -> None:
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

        async with FaultServer([hang], ssl=link.ssl) as server:
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
def test_a_connection_that_is_reset_is_no_complaint(act: Any, loop: Any) -> None:
    """The loop logs no error for an idle connection or a request in progress."""

    async def main() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with FaultServer([act]) as server, server.client(retry=RetryPolicy(max_attempts=1)) as client:
            with suppress(sdk.ConnectionLostError):
                await client.find(ACME)
            while guards_of(client):
                await asyncio.sleep(0)
        gc.collect()
        assert complaints == []

    run(loop, main)


# Bytes between two requests.


OTHERS = answer(200, b'{"current_calls": [{"transaction_id": "SOMEBODY-ELSES"}]}')
UNASKED = {
    "a byte": b"H",
    "an empty line": b"\r\n",
    "a part of a head": b"HTTP/1.1 200 OK\r\nX-Pad: ",
    "a head": b"HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n",
    "an answer": OTHERS,
    "100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a flood of 100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    "no HTTP": b"\x00\xff",
}


@pytest.mark.parametrize("unasked", UNASKED)
@ON_EVERY_LOOP
def test_whatever_comes_on_an_idle_connection_ends_it(unasked: str, link: Link, loop: Any) -> None:
    """The connection ends at once; the next request goes out on a new one."""

    async def main() -> None:
        idle = asyncio.Event()

        async def say_more(exchange: Exchange) -> None:
            await exchange.send(NO_CALLS)
            await idle.wait()
            with suppress(ConnectionError):
                await exchange.send(UNASKED[unasked])
            await exchange.gone()

        async with FaultServer([say_more, say(NO_CALLS)], ssl=link.ssl) as server:  # noqa: SIM117
            async with server.client(retry=RetryPolicy(max_attempts=1), **link.settings) as client:
                await client.find(ACME)
                idle.set()
                await server.until(lambda: server.open == 0)
                await settle()
                assert guards_of(client) == {}
                assert list(await client.find(ACME)) == []
                assert [each.connection for each in server.seen] == [1, 2]

    run(loop, main)


@pytest.mark.usefixtures("way")
@ON_EVERY_LOOP
def test_an_idle_connection_on_which_something_came_ends_at_once(link: Link, loop: Any) -> None:
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

        async with FaultServer([say_more], ssl=link.ssl) as server, server.client(**link.settings) as client:
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
def test_a_connection_on_which_nothing_came_is_used_again(link: Link, loop: Any) -> None:
    """One connection serves five finds, with a guard in place while it is idle."""

    async def main() -> None:
        async with FaultServer(ssl=link.ssl) as server, server.client(**link.settings) as client:
            for _ in range(5):
                assert list(await client.find(ACME)) == []
                (handler,) = idle_connections(client)
                assert handler.transport.get_protocol() is guards_of(client)[handler.transport]
            assert server.connections == 1

    run(loop, main)


@pytest.mark.usefixtures("way")
async def test_what_comes_before_a_request_answers_nobody(monkeypatch: pytest.MonkeyPatch, link: Link) -> None:
    """A server speaking first gets no request, and its bytes are not read."""
    connect = aiohttp.TCPConnector.connect

    async def connect_and_listen(connector: Any, *args: Any, **options: Any) -> Any:
        connection = await connect(connector, *args, **options)
        while not connection.protocol.should_close:
            await asyncio.sleep(0)
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_and_listen)
    async with FaultServer(at_connect=say(OTHERS), ssl=link.ssl) as server:
        async with server.client(retry=RetryPolicy(max_attempts=1), **link.settings) as client:
            with pytest.raises(sdk.ConnectionLostError) as raised:
                await update(client)
            assert not raised.value.may_have_been_applied
        assert server.seen == []


NOTHING = b"HTTP/1.1 204 No Content\r\n"
LAST_ANSWERS = {
    "204 with Content-Length": (NOTHING + b"Content-Length: %d\r\n\r\n" % len(OTHERS), 2),
    "204, chunked": (NOTHING + b"Transfer-Encoding: chunked\r\n\r\n", 2),
    "304 with Content-Length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(OTHERS), 2),
    "304, chunked": (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 2),
    "101": (b"HTTP/1.1 101 Go\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 2),
    "101 without Upgrade": (b"HTTP/1.1 101 Go\r\n\r\n", 2),
    "204": (NOTHING + b"\r\n", 1),
    "204 with Content-Length: 0": (NOTHING + b"Content-Length: 0\r\n\r\n", 1),
    "304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", 1),
    "200 with a body": (answer(200, EMPTY_LIST), 1),
    "200, chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1),
}


@pytest.mark.parametrize("name", LAST_ANSWERS)
async def test_an_answer_that_may_go_on_is_the_last_of_its_connection(name: str, link: Link) -> None:
    """A body after a 204, or another protocol, would be read as the next response."""
    head, connection = LAST_ANSWERS[name]
    async with FaultServer([say(head), say(NO_CALLS)], ssl=link.ssl) as server:
        async with server.client(retry=RetryPolicy(max_attempts=1), **link.settings) as client:
            with suppress(sdk.UnexpectedResponseError):
                await update(client)
            assert list(await client.find(ACME)) == []
        assert [each.connection for each in server.seen] == [1, connection]


@pytest.mark.parametrize(("interim", "enough"), [(16, True), (17, False)])
async def test_of_interim_answers_so_many_are_read(interim: int, enough: bool) -> None:
    """The limit ends an endless series of them."""
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n" * interim
    async with FaultServer([say(early + NO_CALLS), say(NO_CALLS)]) as server:
        async with server.client(retry=RetryPolicy(max_attempts=1)) as client:
            if enough:
                assert list(await client.find(ACME)) == []
            else:
                with pytest.raises(sdk.ConnectionLostError, match="ClientPayloadError"):
                    await client.find(ACME)
            await client.find(ACME)
        assert [each.connection for each in server.seen] == [1, 1 if enough else 2]


# Proxies.


@asynccontextmanager
async def tunnel() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Run a proxy for tunnels; yield its URL and its request lines."""
    asked: list[bytes] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(2**16):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        host, _, port = asked[-1].split()[1].decode().partition(":")
        there = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


@HOWS
@ON_EVERY_LOOP
def test_in_a_proxys_tunnel_connections_are_used_again_and_ended_at_once(how: str, loop: Any) -> None:
    """A find given up in a tunnel ends its connection, though the server reads nothing."""
    authority = trustme.CA()

    async def main() -> None:
        hangs, on = asyncio.Event(), asyncio.Event()

        async def answer_twice_and_hang(exchange: Exchange) -> None:
            if len(server.seen) < 3:
                return await exchange.send(NO_CALLS)
            exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
            hangs.set()
            await on.wait()
            exchange.writer.transport.resume_reading()  # type: ignore[attr-defined]
            return await exchange.gone()

        async with FaultServer([answer_twice_and_hang], ssl=serving(authority)) as server, tunnel() as (proxy, asked):
            settings = {"ssl": trusting(authority), "proxy": proxy, "retry": RetryPolicy(max_attempts=1)}
            async with server.client(**settings) as client:
                for _ in range(2):
                    assert list(await client.find(ACME)) == []
                task = asyncio.create_task(client.find(ACME))
                await hangs.wait()
                connection = socket_of(client)
                await given_up(client, task, how)
                await settle()
                assert connection.fileno() == -1
                on.set()
                await server.until(lambda: server.open == 0)
            assert [each.split()[0] for each in asked] == [b"CONNECT"]
            assert [each.connection for each in server.seen] == [1, 1, 1]

    run(loop, main)


# Injected sessions.


@pytest.mark.parametrize("act", [find, update])
async def test_the_middlewares_of_an_injected_session_run(act: Any) -> None:
    """Each runs once a request and sees the errors of aiohttp; only our own retries repeat a request."""
    ran: list[str] = []

    def middleware(name: str) -> Any:
        async def run_it(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            ran.append(name)
            request.headers["X-From"] = name
            try:
                return await handler(request)
            except aiohttp.ServerDisconnectedError as error:
                ran.append(f"{name}: lost")
                raise aiohttp.ClientOSError from error  # aiohttp would resend after this

        return run_it

    async def good_then_lost(exchange: Exchange) -> None:
        if len(server.seen) == 1:
            await exchange.send(NO_CALLS)
        else:
            exchange.close()

    async with FaultServer([good_then_lost]) as server:
        async with aiohttp.ClientSession(middlewares=(middleware("outer"), middleware("inner"))) as session:  # noqa: SIM117
            async with server.client(session=session, retry=RetryPolicy(max_attempts=1)) as client:
                await act(client)
                with pytest.raises(sdk.ConnectionLostError):
                    await act(client)
        assert ran == [*["outer", "inner"] * 2, "inner: lost"]
        assert len(server.seen) == 2
        assert all(b"X-From: inner" in each.head for each in server.seen)


async def test_an_answer_that_goes_on_is_closed_and_not_left_to_be_collected() -> None:
    """In debug mode, the loop logs nothing about it."""
    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    async with FaultServer([say(LAST_ANSWERS["101"][0])]) as server, aiohttp.ClientSession() as session:  # noqa: SIM117
        async with server.client(session=session, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(sdk.UnexpectedResponseError, match="HTTP 101"):
                await client.find(ACME)
    gc.collect()
    assert complaints == []


HOST: Any = None
"""The connection key of aiohttp's errors."""
SECRET = "http://127.0.0.1/api?calling_phone_number=%2B15309999999"


def refused_by_tls(error: Exception) -> Exception:
    error.__cause__ = cause = ssl.SSLError(1, SECRET)
    cause.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    return error


TOLD: list[tuple[Exception, str]] = [
    (aiohttp.ClientOSError(f"Can not write request body for {SECRET}"), "ClientOSError"),
    (
        aiohttp.ClientOSError(104, f"Can not write request body for {SECRET}"),
        "ClientOSError (Connection reset by peer)",
    ),
    (aiohttp.ClientConnectionError(f"Cannot write to {SECRET}"), "ClientConnectionError"),
    (aiohttp.InvalidURL(SECRET), "InvalidURL"),
    (OSError(111, "Connection refused"), "ConnectionRefusedError (Connection refused)"),
    (ValueError(SECRET), "ValueError"),
    (
        aiohttp.ClientConnectorDNSError(HOST, socket.gaierror(-2, "Name or service not known")),
        "ClientConnectorDNSError (Name or service not known)",
    ),
    (
        aiohttp.ClientConnectorSSLError(HOST, ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")),
        "ClientConnectorSSLError ([SSL: WRONG_VERSION_NUMBER] wrong version number)",
    ),
    (refused_by_tls(aiohttp.ClientOSError(1, SECRET)), "ClientOSError (TLSV13_ALERT_CERTIFICATE_REQUIRED)"),
    (
        refused_by_tls(aiohttp.ClientConnectionError(SECRET)),
        "ClientConnectionError (TLSV13_ALERT_CERTIFICATE_REQUIRED)",
    ),
]


@pytest.mark.parametrize(("error", "text"), TOLD, ids=lambda each: type(each).__name__)
def test_what_is_said_of_an_exception_names_no_url(error: Exception, text: str) -> None:
    """The description has the class and the system's message only."""
    assert describe_error(error) == text


# TLS.


async def refuse_the_client(exchange: Exchange, context: ssl.SSLContext) -> None:
    """Shake hands by TLS and send the alert of the failure; asyncio's own server loses it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await exchange.send(outgoing.read())
            incoming.write(await exchange.reader.read(MIB))
        except ssl.SSLError:
            await exchange.send(outgoing.read())
            await exchange.gone()
            exchange.close()
            return


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@ON_EVERY_LOOP
def test_a_server_that_wants_a_client_certificate_is_a_tls_error(
    version: ssl.TLSVersion, method: Any, loop: Any
) -> None:
    """It is not retried, though TLS 1.3 refuses after the handshake, with the request on its way."""
    authority = trustme.CA()
    context = serving(authority)
    context.verify_mode, context.minimum_version, context.maximum_version = ssl.CERT_REQUIRED, version, version
    authority.configure_trust(context)

    async def main() -> None:
        async with FaultServer(at_connect=lambda exchange: refuse_the_client(exchange, context)) as server:
            url = server.url.replace("http", "https")
            async with server.client(base_url=url, ssl=trusting(authority)) as client:
                with pytest.raises(sdk.TlsError) as raised:
                    await request(client, method)
                assert len(raised.value.attempts) == server.connections == 1
                assert "127.0.0.1" not in str(raised.value)

    run(loop, main)


# Requests on the wire.


@frozen
class Own:
    """An endpoint of the user's own."""

    method: str
    target: str = "/x"
    body: bytes | None = None
    organization: Organization = ACME
    has_phone_numbers: bool = False

    def wire(self, wire_format: WireFormat) -> WireRequest:
        return WireRequest(method=self.method, target=self.target, body=self.body)

    def read(self, response: WireResponse, wire_format: WireFormat, attempts: tuple[sdk.Attempt, ...]) -> int:
        return response.status


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH"])
async def test_a_write_without_a_body_says_so(method: str) -> None:
    """It has Content-Length: 0 (RFC 9110, section 8.6), so that no server waits for a body."""
    async with FaultServer() as server, server.client() as client:
        assert await client.send(Own(method)) == 200
    assert b"\r\nContent-Length: 0\r\n" in server.seen[0].head


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
async def test_a_request_that_has_no_body_does_not_speak_of_one(method: str) -> None:
    """It has neither Content-Length nor Content-Type."""
    async with FaultServer() as server, server.client() as client:
        assert await client.send(Own(method)) == 200
    assert b"content-" not in server.seen[0].head.lower()


@pytest.mark.usefixtures("way")
async def test_the_answer_to_a_head_has_no_body_whatever_its_length_says() -> None:
    """The next response follows at once on the same connection (RFC 9110, section 9.3.2)."""
    async with FaultServer([say(answer(200, b"", length=10)), say(NO_CALLS)]) as server, server.client() as client:
        assert await client.send(Own("HEAD")) == 200
        assert list(await client.find(ACME)) == []
    assert [each.connection for each in server.seen] == [1, 1]


async def test_a_body_goes_out_whatever_the_method() -> None:
    """A DELETE with a body sends the body."""
    async with FaultServer() as server, server.client() as client:
        await client.send(Own("DELETE", body=b"{}"))
    assert server.seen[0].body == b"{}"


async def test_a_connection_is_kept_after_so_much_and_no_more(way: str) -> None:
    """Up to 64 KiB of a request keep it; of a longer request, some may still be unsent."""
    async with FaultServer() as server, server.client() as client:
        await client.send(Own("PUT", body=b"x" * 10_000))
        most = 2**16 - (len(server.seen[0].head) if way == "pooled" else 0)
        for size in (most, most + 1, 1):
            await client.send(Own("PUT", body=b"x" * size))
    assert [each.connection for each in server.seen] == [1, 1, 1, 2]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    "target", ["/x?q=a b", "/x?q=\r\nX-Evil: 1", "/\u00e9", "/x\t", "/x\x00", "/x\x7f", "/x\u2028"]
)
async def test_a_target_that_is_not_percent_encoded_is_refused(target: str, method: str) -> None:
    """The error names the target; nothing is sent, retried or applied."""
    async with FaultServer() as server, server.client() as client:
        with pytest.raises(sdk.InvalidRequestError, match=r"^target is not percent-encoded") as raised:
            await client.send(Own(method, target, None if method == "GET" else b"{}"))
        assert (raised.value.parameter, raised.value.may_have_been_applied) == ("target", False)
        assert (server.seen, server.connections) == ([], 0)


PATHS = {
    "": "",
    "/": "",
    "/proxy": "/proxy",
    "/proxy/": "/proxy",
    "/a/../b": "/b",
    "/a/./b": "/a/b",
    "/a/..": "",
    "/a/b/..": "/a",
    "/%zz": "/%25zz",
    "/a%2fb": "/a%2Fb",
    "/a%20b": "/a%20b",
    "/%41": "/A",
    "/a+b": "/a+b",
    "/~u;v=1": "/~u;v=1",
    '/"q"': "/%22q%22",
    "/{x}|": "/%7Bx%7D%7C",
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("path", PATHS)
async def test_the_path_of_a_base_url_is_the_same_both_ways(path: str) -> None:
    """It is normalized (RFC 3986, section 6.2.2) and comes before the endpoint's path."""
    async with FaultServer() as server, server.client(base_url=f"{server.url}{path}") as client:
        await client.find(ACME)
    sent = server.seen[0].head.split(b" ")[1].decode()
    assert sent.partition("/api/")[0] == PATHS[path]
