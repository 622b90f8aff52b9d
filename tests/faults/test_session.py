"""Requests through a session: foreign code may raise anything, and every error is still one of this package."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import re
import traceback
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import vcr
from aiohttp.abc import AbstractResolver
from faults.test_bad_servers import request
from faults.test_cancellation import find, update
from faults.test_pooled import LAST_RESPONSES
from raw_server import ACME, NO_CALLS, TOKEN, Exchange, RawServer, reply, say, say_and_close

import calls_in_progress_async as sdk
from calls_in_progress_async import RetryPolicy
from calls_in_progress_async.transport.session import SessionTransport

METHODS = pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
ONCE = RetryPolicy(max_attempts=1)


class SocksError(Exception):
    """An error of a library this package does not know; its text holds the URL and the token."""

    def __init__(self) -> None:
        super().__init__(f"https://invoca.net?calling_phone_number=%2B15309999999 {TOKEN}")


class TimedOut(SocksError, TimeoutError):
    """A foreign error that is a TimeoutError as well."""


FOREIGN = [SocksError, TimedOut, KeyError, RuntimeError, ValueError, OSError, aiohttp.InvalidURL, AttributeError]


def make_error(kind: type[Exception]) -> Exception:
    return kind() if issubclass(kind, SocksError) else kind(str(SocksError()))


def assert_keeps_secrets(error: BaseException) -> None:
    """Check message, chain and frames of an error for the token and the number."""
    assert error.__cause__ is None
    assert error.__context__ is None
    text = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    assert TOKEN not in text
    assert "5309999999" not in text
    package = [
        frame.f_locals
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if "calls_in_progress_async/transport/" in frame.f_code.co_filename
        and not frame.f_code.co_filename.endswith(("pipeline.py", "operation.py"))
    ]
    assert TOKEN not in repr(package)


# Before the request leaves.


@METHODS
@pytest.mark.parametrize("kind", FOREIGN)
async def test_an_error_of_a_connector_is_a_connection_that_failed(kind: type[Exception], method: str) -> None:
    """A SOCKS connector's own error, for example: every method is retried, and nothing was applied."""

    class Connector(aiohttp.TCPConnector):
        async def connect(self, *_: Any, **__: Any) -> Any:
            raise make_error(kind)

    async with RawServer() as server, aiohttp.ClientSession(connector=Connector()) as session:  # noqa: SIM117
        async with server.client(session=session) as client:
            with pytest.raises(sdk.TransportError) as raised:
                await request(client, method)
    assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (3, False)
    assert isinstance(raised.value, sdk.RequestTimeoutError | sdk.ConnectionFailedError | sdk.ConnectionLostError)
    assert_keeps_secrets(raised.value)


@METHODS
@pytest.mark.parametrize("kind", FOREIGN)
async def test_an_error_of_a_resolver_is_a_connection_that_failed(kind: type[Exception], method: str) -> None:
    """A resolver of the user's own may fail in any way."""

    class Resolver(AbstractResolver):
        async def resolve(self, *_: Any, **__: Any) -> Any:
            raise make_error(kind)

        async def close(self) -> None:
            """Hold nothing."""

    connector = aiohttp.TCPConnector(resolver=Resolver())
    async with RawServer() as server, aiohttp.ClientSession(connector=connector) as session:
        url = server.url.replace("127.0.0.1", "localhost")
        async with server.client(session=session, base_url=url, retry=ONCE) as client:
            with pytest.raises(sdk.TransportError) as raised:
                await request(client, method)
    assert raised.value.may_have_been_applied is False
    assert_keeps_secrets(raised.value)


@METHODS
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("kind", FOREIGN)
async def test_an_error_of_a_middleware_says_if_an_update_may_have_left(
    kind: type[Exception], before: bool, method: str
) -> None:
    """Raised before the request leaves, nothing was applied; raised after the response, an update may have been."""

    async def middleware(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if not before:
            await handler(request)
        raise make_error(kind)

    async with RawServer() as server, aiohttp.ClientSession(middlewares=[middleware]) as session:
        async with server.client(session=session, retry=ONCE) as client:
            with pytest.raises(sdk.TransportError) as raised:
                await request(client, method)
        assert len(server.seen) == (0 if before else 1)
    assert raised.value.may_have_been_applied is (not before and method != "GET")
    assert_keeps_secrets(raised.value)


@METHODS
@pytest.mark.parametrize("hook", ["on_request_start", "on_connection_create_start", "on_request_end"])
@pytest.mark.parametrize("kind", FOREIGN)
async def test_an_error_of_a_trace_hook_says_if_an_update_may_have_left(
    kind: type[Exception], hook: str, method: str
) -> None:
    """A hook on the end of a request raises when the update was carried out."""

    async def fail(*_: Any) -> None:
        raise make_error(kind)

    config = aiohttp.TraceConfig()
    getattr(config, hook).append(fail)
    async with RawServer() as server, aiohttp.ClientSession(trace_configs=[config]) as session:  # noqa: SIM117
        async with server.client(session=session, retry=ONCE) as client:
            with pytest.raises(sdk.TransportError) as raised:
                await request(client, method)
    assert raised.value.may_have_been_applied is (hook == "on_request_end" and method != "GET")
    assert_keeps_secrets(raised.value)


async def test_a_middleware_may_raise_an_error_of_this_package() -> None:
    """Such an error keeps its class, so a middleware can end a call on purpose."""

    async def reject(*_: Any) -> Any:
        raise sdk.TlsError("Not today.")

    async with RawServer() as server, aiohttp.ClientSession(middlewares=[reject]) as session:  # noqa: SIM117
        async with server.client(session=session) as client:
            with pytest.raises(sdk.TlsError, match="Not today") as raised:
                await client.find(ACME)
    assert len(raised.value.attempts) == 1


# Sessions that do not go with a token.


@pytest.mark.filterwarnings("ignore:The 'auth' parameter:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:BasicAuth:DeprecationWarning")
@METHODS
@pytest.mark.parametrize("how", ["auth", "netrc"])
async def test_a_session_that_does_not_go_with_a_token_is_rejected(
    how: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials of the session's own are an error by name; nothing is sent or retried."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    settings: dict[str, Any] = {
        "auth": {"auth": aiohttp.BasicAuth("me", "secret")},
        "netrc": {"trust_env": True},
    }
    async with RawServer() as server, aiohttp.ClientSession(**settings[how]) as session:
        async with server.client(session=session) as client:
            with pytest.raises(sdk.InvalidRequestError, match=r"^session.*credentials") as raised:
                await request(client, method)
        assert server.seen == []
    assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (1, False)
    assert_keeps_secrets(raised.value)


# Proxies.


@METHODS
@pytest.mark.parametrize(
    ("status", "kind", "attempts"),
    [
        (407, sdk.UnexpectedResponseError, 1),
        (403, sdk.UnexpectedResponseError, 1),
        (502, sdk.ConnectionFailedError, 3),
        (503, sdk.ConnectionFailedError, 3),
    ],
)
async def test_a_rejected_tunnel_keeps_its_status(
    status: int, kind: type[sdk.CallsInProgressError], attempts: int, method: str
) -> None:
    """CONNECT's 407 comes again with the same credentials, so it is not retried; a 502 may pass."""
    async with RawServer([say_and_close(reply(status))]) as proxy:
        async with proxy.client(
            base_url="https://127.0.0.1:1", proxy=proxy.url.replace("//", "//me:secret@")
        ) as client:
            with pytest.raises(kind, match=f"proxy.*HTTP {status}") as raised:
                await request(client, method)
        assert [each.method for each in proxy.seen] == ["CONNECT"] * attempts
    assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (attempts, False)
    assert getattr(raised.value, "status", status) == status
    assert "secret" not in str(raised.value)


async def test_a_407_to_plain_http_keeps_its_status() -> None:
    """A proxy on this machine may ask for credentials, too."""
    async with RawServer([say(reply(407))]) as proxy:
        async with proxy.client(base_url="http://localhost:1", proxy=proxy.url) as client:
            with pytest.raises(sdk.UnexpectedResponseError) as raised:
                await client.find(ACME)
        assert len(proxy.seen) == 1
    assert raised.value.status == 407


# Test tools.


async def test_an_update_can_be_recorded_and_played_back(tmp_path: Path) -> None:
    """Vcrpy copies and writes down the body of a request, so the body is plain bytes."""
    cassette = tmp_path / "cassette.yaml"
    async with RawServer([say(reply(200, b"{}")), say(NO_CALLS)]) as server, aiohttp.ClientSession() as session:
        async with server.client(session=session) as client:
            for _ in range(2):
                with vcr.use_cassette(str(cassette), filter_headers=["authorization"]):
                    await update(client)
                    assert list(await client.find(ACME)) == []
        assert len(server.seen) == 2
    recorded = cassette.read_text()
    assert "custom_data" in recorded
    assert TOKEN not in recorded


async def test_what_a_session_is_given_can_be_copied_and_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of any size can be copied; up to a mebibyte it is plain bytes."""
    bodies, send = [], aiohttp.ClientSession._request

    async def note(session: Any, method: str, url: Any, **options: Any) -> Any:
        bodies.append(copy.deepcopy(options["data"]))
        return await send(session, method, url, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", note)
    async with RawServer() as server, aiohttp.ClientSession() as session, server.client(session=session) as client:
        for size in (10, 2**21):
            await client.update(ACME, transaction_id="T", custom_data={"a": "b" * size})
        small, large = bodies
        assert type(pickle.loads(pickle.dumps(small))) is bytes
        assert small == server.seen[0].body
        assert large.decode().encode() == server.seen[1].body


# Middlewares and unusual responses.


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

    async with RawServer([good_then_lost]) as server:
        async with aiohttp.ClientSession(middlewares=(middleware("outer"), middleware("inner"))) as session:  # noqa: SIM117
            async with server.client(session=session, retry=RetryPolicy(max_attempts=1)) as client:
                await act(client)
                with pytest.raises(sdk.ConnectionLostError):
                    await act(client)
        assert ran == [*["outer", "inner"] * 2, "inner: lost"]
        assert len(server.seen) == 2
        assert all(b"X-From: inner" in each.head for each in server.seen)


async def test_a_response_that_may_continue_is_closed() -> None:
    """In debug mode, the loop logs nothing about it."""
    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    async with RawServer([say(LAST_RESPONSES["101"][0])]) as server, aiohttp.ClientSession() as session:  # noqa: SIM117
        async with server.client(session=session, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(sdk.UnexpectedResponseError, match="HTTP 101"):
                await client.find(ACME)
    gc.collect()
    assert complaints == []


# Its own session.


async def test_the_client_closes_its_session_and_no_injected_one() -> None:
    """Each session is closed by its owner."""
    async with RawServer() as server, aiohttp.ClientSession() as session:
        async with server.client(session=session) as client:
            await client.find(ACME)
        assert not session.closed
        async with server.client(proxy="http://localhost:1") as client:
            with pytest.raises(sdk.ConnectionFailedError):
                await client.find(ACME)
            opened = client._transport._opened
            assert isinstance(opened, SessionTransport)
        assert opened._session.closed


async def test_headers_of_a_request_go_out(way: str) -> None:
    """A trace's context goes out with the request; a line end in a header is rejected."""

    class WithHeaders:
        organization = ACME
        has_phone_numbers = False

        def __init__(self, headers: dict[str, str]) -> None:
            self._headers = headers

        def wire(self, _: Any) -> Any:
            from calls_in_progress_async.transport.wire import WireRequest  # noqa: PLC0415

            return WireRequest(method="GET", target="/x", headers=self._headers)

        def read(self, response: Any, *_: Any) -> int:
            return response.status

    async with RawServer() as server, server.client() as client:
        assert await client.send(WithHeaders({"traceparent": "00-1-2-01"})) == 200
        assert re.search(rb"\r\ntraceparent: 00-1-2-01\r\n", server.seen[0].head)
        for bad in ("a\r\nX-Evil: 1", "\u00e9", "\x00"):
            with pytest.raises(sdk.InvalidRequestError, match="headers"):
                await client.send(WithHeaders({"traceparent": bad}))
        assert len(server.seen) == 1
