"""No response to nobody is read as the next one, though the loop was busy when it came; an unread end is seen.

The servers run in threads, so that they can write while the client's loop does something else.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from attrs import define, field
from faults.test_bad_servers import serving, trusting
from faults.test_cancellation import LOOPS, run, steps
from raw_server import ACME, NO_CALLS, TOKEN, reply

from calls_in_progress_async import CallsInProgressClient, Organization, RetryPolicy
from calls_in_progress_async.transport import unread_input

pytestmark = pytest.mark.usefixtures("way")

OTHER = Organization.advertiser(26)
SOMEBODY_ELSES = reply(200, b'{"current_calls": [{"transaction_id": "SOMEBODY-ELSES"}]}')
Act = Callable[[socket.socket], None]
"""Does something with the server's side of a connection."""
ON_EVERY_LOOP = pytest.mark.parametrize("loop", LOOPS)


@define(eq=False)
class ThreadServer:
    """Responds to each request with no calls; does something else with an idle connection on demand.

    The sandbox and `RawServer` share the client's event loop. This server acts while that loop is busy.
    """

    ssl: ssl.SSLContext | None = None
    seen: list[tuple[int, bytes]] = field(factory=list)
    """The number of the connection and the request line, in order."""
    _listener: Any = None
    _threads: list[threading.Thread] = field(factory=list)
    _acts: dict[int, Act] = field(factory=dict)
    _done: threading.Event = field(factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http{'s' if self.ssl else ''}://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextmanager
    def running(self) -> Iterator[ThreadServer]:
        with socket.create_server(("127.0.0.1", 0)) as self._listener:
            threading.Thread(target=self._accept, daemon=True).start()
            yield self
            self._listener.shutdown(socket.SHUT_RDWR)
            for each in self._threads:
                each.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection, len(self._threads) + 1), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError), connection:
            if self.ssl is None:
                self._respond(connection, number)
            else:
                with self.ssl.wrap_socket(connection, server_side=True) as wrapped:
                    self._respond(wrapped, number)

    def _respond(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(0.002)
        received = b""
        while True:
            if (act := self._acts.pop(number, None)) is not None:
                act(connection)
                self._done.set()
            with suppress(TimeoutError):
                if not (chunk := connection.recv(65536)):
                    return
                received += chunk
            if b"\r\n\r\n" in received:  # the tests send one piece a request
                self.seen.append((number, received.split(b"\r\n", 1)[0]))
                received = b""
                connection.sendall(NO_CALLS)

    def act(self, act: Act, number: int = 1) -> None:
        """Have a connection's thread act; return when this is done, in one step of the client's loop."""
        self._done.clear()
        self._acts[number] = act
        assert self._done.wait(5)
        time.sleep(0.01)  # the system hands the bytes over


def send_a_response(connection: socket.socket) -> None:
    connection.sendall(SOMEBODY_ELSES)


def send_half_a_response(connection: socket.socket) -> None:
    connection.sendall(SOMEBODY_ELSES[:25])


def end(connection: socket.socket) -> None:
    """End without TLS's close_notify, as a server that stops does."""
    socket.socket(fileno=connection.detach()).close()


def reset(connection: socket.socket) -> None:
    """End with a TCP RST (SO_LINGER of 0 s)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end(connection)


ACTS: dict[str, Act] = {
    "a whole response": send_a_response,
    "a part of a response": send_half_a_response,
    "an end (FIN)": end,
    "a reset (RST)": reset,
}


@pytest.fixture(scope="module", params=["plain", "tls 1.2", "tls 1.3"])
def tls(request: pytest.FixtureRequest) -> tuple[ssl.SSLContext | None, dict[str, Any]]:
    """Return the server's TLS context and the client's settings."""
    if request.param == "plain":
        return None, {}
    authority = trustme.CA()
    context = serving(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if request.param == "tls 1.2" else ssl.TLSVersion.TLSv1_3
    return context, {"ssl": trusting(authority)}


def client_of(server: ThreadServer, **settings: Any) -> CallsInProgressClient:
    once = RetryPolicy(max_attempts=1)
    return CallsInProgressClient(**{"token": TOKEN, "base_url": server.url, "retry": once, **settings})


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize("method", ["GET", "POST"])
@ON_EVERY_LOOP
def test_input_while_the_loop_was_busy_is_not_read_as_a_response(
    method: Any, act: Callable[[socket.socket], None], tls: Any, loop: Any
) -> None:
    """The next request goes out on a new connection: a find gets its own calls, a POST is done and not in doubt."""

    async def main() -> None:
        with ThreadServer(tls[0]).running() as server:
            async with client_of(server, **tls[1]) as client:
                await client.find(ACME)
                server.act(act)  # the loop is busy meanwhile: it reads nothing
                if method == "GET":
                    assert list(await client.find(OTHER)) == []
                else:
                    await client.update(OTHER, transaction_id="T", custom_data={"a": "b"}, method="POST")
            assert [number for number, _ in server.seen] == [1, 2]

    run(loop, main)


@ON_EVERY_LOOP
def test_several_stale_connections_are_all_skipped(tls: Any, loop: Any) -> None:
    """All are skipped, and one request is on the wire."""

    async def main() -> None:
        with ThreadServer(tls[0]).running() as server:
            async with client_of(server, **tls[1]) as client:
                await asyncio.gather(*(client.find(ACME) for _ in range(3)))
                for number in (1, 2, 3):
                    server.act(send_a_response, number)
                assert list(await client.find(OTHER)) == []
            assert server.seen[-1][0] == 4
            assert len(server.seen) == 4

    run(loop, main)


@ON_EVERY_LOOP
def test_a_connection_is_kept_though_the_loop_was_busy(tls: Any, loop: Any) -> None:
    """Without unread input one connection serves all finds."""

    async def main() -> None:
        with ThreadServer(tls[0]).running() as server:
            async with client_of(server, **tls[1]) as client:
                for _ in range(3):
                    await client.find(ACME)
                    time.sleep(0.01)
            assert [number for number, _ in server.seen] == [1, 1, 1]

    run(loop, main)


@ON_EVERY_LOOP
def test_session_tickets_are_no_response(tls: Any, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS 1.3 sends tickets after the handshake (RFC 8446, section 4.6.1): unread bytes that do no harm."""
    connect = aiohttp.TCPConnector.connect

    async def connect_and_be_busy(connector: Any, *args: Any, **options: Any) -> Any:
        connection = await connect(connector, *args, **options)
        time.sleep(0.03)
        return connection

    async def main() -> None:
        with ThreadServer(tls[0]).running() as server:
            async with client_of(server, **tls[1]) as client:
                for _ in range(2):
                    await client.find(ACME)
            assert [number for number, _ in server.seen] == [1, 1]

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_and_be_busy)
    run(loop, main)


@pytest.mark.parametrize("count", range(1, 5))
@ON_EVERY_LOOP
def test_a_find_that_is_cancelled_while_the_loop_reads_leaves_no_stale_connection(
    count: int, tls: Any, loop: Any
) -> None:
    """Cancelled after any number of steps, the next find gets its own calls."""

    async def main() -> None:
        with ThreadServer(tls[0]).running() as server:
            async with client_of(server, **tls[1]) as client:
                await client.find(ACME)
                server.act(send_a_response)
                task = asyncio.create_task(client.find(OTHER))
                await steps(count)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert list(await client.find(OTHER)) == []
            assert server.seen[-1][0] > 1

    run(loop, main)


def test_without_poll_the_loop_is_given_a_step(monkeypatch: pytest.MonkeyPatch, tls: Any) -> None:
    """On Windows the socket cannot be looked at, so the loop reads before every request."""
    monkeypatch.delattr(unread_input.select, "poll")

    async def main() -> None:
        with ThreadServer(tls[0]).running() as server:
            async with client_of(server, **tls[1]) as client:
                await client.find(ACME)
                await client.find(ACME)
                server.act(send_a_response)
                assert list(await client.find(OTHER)) == []
            assert [number for number, _ in server.seen] == [1, 1, 2]

    run(asyncio.SelectorEventLoop, main)


def test_the_page_has_these_rows() -> None:
    """docs/faults.md lists the acts of these tests, and the session ticket."""
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    table = page.partition("<!-- idle -->")[2].partition("<!-- end -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    kept = {name: connection == "is kept" for name, connection, _ in rows}
    assert kept == {**dict.fromkeys(ACTS, False), "a TLS session ticket": True}
