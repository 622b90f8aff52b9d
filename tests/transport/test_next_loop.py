"""A transport works in the next event loop once its own is closed, and leaves no warning behind."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import uvloop
from raw_server import TOKEN

from calls_in_progress_async.transport.aiohttp_transport import AiohttpTransport
from calls_in_progress_async.transport.http_settings import HttpSettings
from calls_in_progress_async.transport.protocol import SendState
from calls_in_progress_async.transport.wire import WireRequest


class _Handler(BaseHTTPRequestHandler):
    """Responds to every find with no calls, and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"current_calls": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


class _Server(ThreadingHTTPServer):
    """A server in threads. The sandbox would end with the first of the event loops."""

    connections: list[Thread]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection in a thread."""
        thread = Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self.connections.append(thread)
        thread.start()

    def wait_for_hang_ups(self) -> None:
        """Wait until every connection is closed at both ends."""
        for thread in self.connections:
            thread.join()


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.connections = []
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def url(server: _Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


async def ask(transport: AiohttpTransport) -> int:
    request = WireRequest(method="GET", target="/calls")
    return (await transport.send(request, TOKEN, SendState())).status


def run_and_close_at_once(main: Callable[[], Any], make_loop: Callable[[], Any]) -> Any:
    """Run a coroutine and close the loop without closing its asynchronous generators, as some programs do."""
    loop = make_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def run_properly(main: Callable[[], Any], make_loop: Callable[[], Any]) -> Any:
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(main())


@contextmanager
def no_complaint(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail on any warning and any line in the log of asyncio."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(each.message) for each in caught] == []
    assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("run", "make_loop"),
    [
        pytest.param(run_properly, asyncio.new_event_loop, id="asyncio.run"),
        pytest.param(run_properly, uvloop.new_event_loop, id="uvloop.run"),
        pytest.param(run_and_close_at_once, asyncio.new_event_loop, id="loop.close"),
    ],
)
def test_new_connections_are_opened_in_the_next_loop(
    run: Any, make_loop: Any, server: _Server, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Three loops in a row work with one transport, without a warning, a log line or a descriptor left behind."""
    transport = AiohttpTransport(HttpSettings(base_url=url))
    run(lambda: asyncio.sleep(0), make_loop)  # uvloop's first loop keeps descriptors of its own
    before = len(os.listdir("/proc/self/fd"))
    with no_complaint(caplog):
        for _ in range(3):
            assert run(lambda: ask(transport), make_loop) == 200

        async def ask_and_close() -> None:
            assert await ask(transport) == 200
            await transport.close()

        run(ask_and_close, make_loop)
    server.wait_for_hang_ups()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.usefixtures("way")
def test_what_a_closed_loop_left_can_be_closed_in_the_next(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Closing in the next loop warns of nothing, either."""
    transport = AiohttpTransport(HttpSettings(base_url=url))
    with no_complaint(caplog):
        assert run_and_close_at_once(lambda: ask(transport), asyncio.new_event_loop) == 200
        asyncio.run(transport.close())


def test_within_one_loop_connections_are_kept(url: str) -> None:
    """A transport opens once in each loop."""
    transport = AiohttpTransport(HttpSettings(base_url=url))

    async def ask_twice() -> bool:
        await ask(transport)
        opened = transport._opened
        await ask(transport)
        return transport._opened is opened

    assert asyncio.run(ask_twice())


def test_a_client_that_was_never_used_survives_a_fork(url: str) -> None:
    """The child of a fork uses a transport its parent only made."""
    transport = AiohttpTransport(HttpSettings(base_url=url))
    ours, theirs = socket.socketpair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the server's thread is of no use to the child
        child = os.fork()
    if not child:
        try:
            theirs.sendall(str(asyncio.run(ask(transport))).encode())
        finally:
            os._exit(0)
    theirs.close()
    assert ours.recv(10) == b"200"
    ours.close()
    os.waitpid(child, 0)
