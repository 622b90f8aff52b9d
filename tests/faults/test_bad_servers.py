"""Bad servers and bad networks: each fault comes to one error, is retried or not, and leaves nothing behind.

A test compares the tables here with the tables of ``docs/faults.md``.
"""

from __future__ import annotations

import base64
import gzip
import ssl
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp.compression_utils import HAS_BROTLI, HAS_ZSTD
from attrs import evolve, field, frozen
from faults.leaks import nothing_left
from raw_server import (
    ACME,
    EMPTY_LIST,
    NO_CALLS,
    Act,
    RawServer,
    drip,
    pour,
    reply,
    say,
    say_and_close,
    say_and_hang,
    say_and_reset,
)

import calls_in_progress_async as sdk
from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, RetryPolicy

pytestmark = pytest.mark.usefixtures("way")

MIB = 2**20
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DEEP = 100_000
TINY_ENTRIES = b'{"current_calls": [' + b",".join([b'{"x":NaN}'] * (4 * MIB // 10)) + b"]}"
MakeTransport = Callable[[RawServer], Any]
"""Makes the transport of a client for a server; None stands for aiohttp's."""


@frozen
class Fault:
    """One row of the table: an act of the server, and the error after three attempts."""

    name: str
    act: Act | None = None
    error: str | None = "UnexpectedResponseError"
    """The name of the error; None for a success."""
    again: str = ""
    """The retried methods."""
    applied: bool = True
    """True if a failed PUT or POST may have been applied."""
    settings: dict[str, Any] = field(factory=dict)
    at_connect: Act | None = None
    update: str | None = "as a find"
    """The error of an update if it differs from a find's; None if the update succeeds."""

    def expected(self, method: str) -> str | None:
        return self.error if method == "GET" or self.update == "as a find" else self.update


def lost(name: str, act: Act) -> Fault:
    return Fault(name, act, "ConnectionLostError", "GET PUT")


def slow(name: str, act: Act) -> Fault:
    return Fault(name, act, "RequestTimeoutError", "GET PUT", settings={"attempt_timeout": 0.15})


def unexpected(name: str, act: Act) -> Fault:
    return Fault(name, act)


def body(name: str, text: bytes | str) -> Fault:
    """Make the row of a 200 with a body no find accepts; an update succeeds, only its response cannot be read."""
    return Fault(name, say(reply(200, text)))


def fine(name: str, act: Act) -> Fault:
    return Fault(name, act, None)


def bomb(encoding: str, block: Callable[[], tuple[bytes, bytes, int]], *, decoder: bool = True) -> Fault:
    """Make the row of a body that grows as it is decoded; without the decoder it cannot be read at all."""

    async def act(exchange: Any) -> None:
        first, again, times = block()
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n".encode()
        await pour(head + first, again, times)(exchange)

    name = f"{encoding} bomb of 500 MB"
    error = "ResponseTooLargeError" if decoder else "UnexpectedResponseError"
    return Fault(name, act, error, settings={"max_response_size": MIB, "attempt_timeout": 20})


def zlib_bomb(bits: int) -> tuple[bytes, bytes, int]:
    """Make 500 MiB of zeros from one block, which ends on a byte boundary and is sent again and again."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, bits)
    zeros = b"\0" * MIB
    first = compressor.compress(zeros) + compressor.flush(zlib.Z_FULL_FLUSH)
    return first, compressor.compress(zeros) + compressor.flush(zlib.Z_FULL_FLUSH), 499


def zstd_bomb() -> tuple[bytes, bytes, int]:
    """Make an RFC 8878 frame of blocks of "128 KiB of this byte"."""
    block = (128 * 1024 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x38" + block, block * 8, 500


BROTLI_500_MIB = base64.b64decode(
    "z///f/gnAOKxQCD3/p/////wTwDEYQGA7v0/////4Z8AiMMiAN37f/7//8M/ARCHBQC69//8//+HfwIgDgsAdO//+f//D/8EQBwWAOje//P//x"
    "/+CYA4LADQvf/n//8//BMAcVgAoHv/z///f/gnAOKwAED3/p/////wTwDEYQGA7v0/////4Z8AiMMCAN37f/7//8M/ARCHBQC69//8//+HfwIg"
    "DgsAdO//+f//D/8EQBwWAOje//P//x/+CYA4LADQvf/n//8//BMAcVgAoHv/z///f/gnAOKwAED3/p/////wTwDEYQGA7v0/////4Z8AiMMCAN"
    "37f/7//8M/ARCHBQC69//8//+HfwIgDgsAdO//+f//D/8EQBwWAOje//P//x/+CYA4LADQvf/n//8//BMAcVgAoHv/z///f/gnAOKwAED3/p//"
    "///wTwDEYQGA7v0/////4Z8AiMMCAN37f/7//8M/ARCHBQC69//8//+HfwIgDgsAdO//+f//D/8EQBwWAOje//P//x/+CYA4LADQvf/P//8f/B"
    "MAcVgAoHv/Aw=="
)


def brotli_bomb() -> tuple[bytes, bytes, int]:
    """Make 500 MiB of zeros in 421 bytes, as the brotli library writes them."""
    return BROTLI_500_MIB, b"", 0


CONNECTION = [
    Fault("reset before a request is read", None, "ConnectionLostError", "GET PUT", at_connect=say_and_reset()),
    lost("closed without a response", say_and_close()),
    lost("reset without a response", say_and_reset()),
    lost("closed within the headers", say_and_close(b"HTTP/1.1 200 OK\r\nConte")),
    lost("reset within the headers", say_and_reset(b"HTTP/1.1 200 OK\r\nConte")),
    lost("closed within the body, short of its Content-Length", say_and_close(reply(200, EMPTY_LIST[:9], length=99))),
    lost("reset within the body", say_and_reset(reply(200, EMPTY_LIST[:9], length=99))),
    lost("chunked body cut off within a chunk", say_and_close(CHUNKED + b"50\r\n{")),
    lost("chunked body cut off between chunks", say_and_close(CHUNKED + b"1\r\n{\r\n")),
    fine("reset after the response", say_and_reset(NO_CALLS)),
    fine("closed after the response", say_and_close(NO_CALLS)),
]
TIME = [
    slow("no response at all", say_and_hang()),
    slow("a response that stops within its body", say_and_hang(reply(200, b"{", length=99))),
    slow("headers dripped without end", drip(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n")),
    slow("body dripped without end", drip(reply(200, b"{", length=10**6), b" ")),
]
HTTP = [
    Fault(
        "1xx without end",
        drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.001),
        "ConnectionLostError",
        "GET PUT",
        settings={"attempt_timeout": 0.5},
    ),
    fine("HTTP/1.0", say_and_close(reply(200, EMPTY_LIST, version="1.0"))),
    fine("HTTP/1.0 that ends with the connection", say_and_close(b"HTTP/1.0 200 OK\r\n\r\n" + EMPTY_LIST)),
    fine("100 Continue and then 200", say(b"HTTP/1.1 100 Continue\r\n\r\n" + NO_CALLS)),
    fine("two responses to one request", say(NO_CALLS + NO_CALLS)),
    unexpected("something other than HTTP", say_and_close(b"SSH-2.0-OpenSSH_9.6\r\n")),
    unexpected("TLS where plain HTTP is expected", say_and_close(b"\x15\x03\x01\x00\x02\x02\x28")),
    unexpected("a malformed status", say_and_close(b"HTTP/1.1 abc OK\r\n\r\n")),
    unexpected("a header of 100 kB", say(reply(200, EMPTY_LIST, "A: " + "x" * 100_000))),
    unexpected("5,000 headers", say(reply(200, EMPTY_LIST, *(f"A{n}: x" for n in range(5000))))),
    unexpected("a header name with a space", say(reply(200, EMPTY_LIST, "A b: c"))),
    unexpected("a header without a colon", say(reply(200, EMPTY_LIST, "Abc"))),
    unexpected("a NUL in a header", say(reply(200, EMPTY_LIST, "A: b\0c"))),
    unexpected("two Content-Lengths", say(reply(200, EMPTY_LIST, "Content-Length: 3"))),
    unexpected("a negative Content-Length", say(reply(200, EMPTY_LIST, length=-3))),
    unexpected("a Content-Length of 31 digits", say(reply(200, EMPTY_LIST, length=10**30))),
    unexpected("Content-Length and chunked", say(reply(200, EMPTY_LIST, "Transfer-Encoding: chunked"))),
    unexpected("a malformed chunk size", say(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n")),
    unexpected("101 Switching Protocols", say(b"HTTP/1.1 101 Go\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n")),
]
BODIES = [
    body("not JSON", "Hello"),
    body("HTML with 200", "<!DOCTYPE html><title>Maintenance</title>"),
    Fault("an empty body", say(reply(200)), update=None),
    body("JSON cut off, with a right Content-Length", EMPTY_LIST[:-2]),
    fine("a byte order mark", say(reply(200, b"\xef\xbb\xbf" + EMPTY_LIST))),
    body("invalid UTF-8", b"\xff\xfe\x00{"),
    fine("invalid UTF-8 in a field", say(reply(200, b'{"current_calls": [{"city": "\xff"}]}'))),
    fine("NaN and Infinity in a field", say(reply(200, b'{"current_calls": [{"city": NaN, "state": -Infinity}]}'))),
    fine("an integer of 10,000 digits", say(reply(200, b'{"current_calls": [{"x": %s}]}' % (b"9" * 10_000)))),
    fine("duplicate keys", say(reply(200, b'{"current_calls": [{"city": "a", "city": "b"}]}'))),
    body("100,000 levels of nesting", b"[" * DEEP + b"]" * DEEP),
    body("500,000 levels of nesting in a field", b'{"current_calls": [{"x": ' + b"[" * 500_000),  # 3.14 reads 200,000
]
SIZES = [
    Fault(
        "a body of 500 MB",
        pour(reply(200, length=500 * MIB), b" " * 2**16, 8000),
        "ResponseTooLargeError",
        settings={"max_response_size": MIB, "attempt_timeout": 20},
    ),
    Fault(
        "a chunked body without end",
        pour(CHUNKED, b"10000\r\n" + b" " * 2**16 + b"\r\n", 8000),
        "ResponseTooLargeError",
        settings={"max_response_size": MIB, "attempt_timeout": 20},
    ),
    bomb("gzip", lambda: zlib_bomb(31)),
    bomb("deflate", lambda: zlib_bomb(15)),
    bomb("br", brotli_bomb, decoder=HAS_BROTLI),
    bomb("zstd", zstd_bomb, decoder=HAS_ZSTD),
    unexpected(
        "4 MiB of tiny entries with NaN, 8 kB of gzip",
        say(reply(200, gzip.compress(TINY_ENTRIES), "Content-Encoding: gzip")),
    ),
    unexpected("malformed gzip", say(reply(200, EMPTY_LIST, "Content-Encoding: gzip"))),
    unexpected("malformed deflate", say(reply(200, EMPTY_LIST, "Content-Encoding: deflate"))),
    unexpected(
        "gzip cut off, with a right Content-Length",
        say(reply(200, gzip.compress(EMPTY_LIST * 99)[:40], "Content-Encoding: gzip")),
    ),
]
REDIRECTS = [
    Fault(
        f"a redirect to another host ({status})",
        say(reply(status, b"", "Location: http://127.0.0.1:9/elsewhere")),
        "RedirectRefusedError",
    )
    for status in (301, 302, 303, 307, 308)
]
FAULTS = [*CONNECTION, *TIME, *HTTP, *BODIES, *SIZES, *REDIRECTS]
CONTRACT = [*CONNECTION, *TIME, *BODIES, *REDIRECTS]
"""The faults with the same error on every transport; see `test_transport_contract`."""


def request(client: CallsInProgressClient, method: Any) -> Any:
    if method == "GET":
        return client.find(ACME)
    return client.update(ACME, transaction_id="T", custom_data={"a": "b"}, method=method)


async def check_fault(row: Fault, method: str, make_transport: MakeTransport = lambda _: None) -> None:
    """Check a fault's error class, requests on the wire and may_have_been_applied, and leave nothing behind."""
    expected = row.expected(method)
    attempts = 3 if method in row.again else 1
    async with RawServer([row.act or say()], at_connect=row.at_connect) as server:
        async with nothing_left(server, transport=make_transport(server), **row.settings) as client:
            if expected is None:
                await request(client, method)
            else:
                with pytest.raises(CallsInProgressError) as raised:
                    await request(client, method)
                error = raised.value
                assert (type(error).__name__, len(error.attempts)) == (expected, attempts)
                assert error.may_have_been_applied is (row.applied and method != "GET")
                assert str(error).isprintable()
        assert server.connections == attempts
        assert len(server.seen) == (0 if row.at_connect else attempts)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("row", [pytest.param(each, id=each.name) for each in (*HTTP, *SIZES)])
async def test_a_fault_comes_to_one_error(row: Fault, method: str, way: str) -> None:
    """Both aiohttp transports reject malformed HTTP and bodies over the limit."""
    if (row.name, way) == ("1xx without end", "session"):
        row = evolve(row, error="RequestTimeoutError")  # a session reads them as long as they come
    await check_fault(row, method)


async def test_a_connection_is_reused_after_an_error_response() -> None:
    """Neither a 4xx nor a body without JSON ends the connection."""
    script = [say(reply(400)), say(reply(200, "<html>")), say(NO_CALLS)]
    async with RawServer(script) as server, nothing_left(server) as client:
        for kind in (sdk.RequestRejectedError, sdk.UnexpectedResponseError):
            with pytest.raises(kind):
                await client.find(ACME)
        assert list(await client.find(ACME)) == []
        assert server.connections == 1


@pytest.mark.parametrize(
    "row", [pytest.param(each, id=each.name) for each in FAULTS if "max_response" in str(each.settings)]
)
async def test_a_body_over_the_limit_takes_flat_memory(row: Fault) -> None:
    """Reading 500 times the cap takes less than three times the cap in memory, server included."""
    cap = MIB
    settings = {**row.settings, "max_response_size": cap}
    async with RawServer([row.act or say()]) as server, server.client(**settings) as client:
        tracemalloc.start()
        try:
            with pytest.raises(sdk.UnexpectedResponseError):
                await client.find(ACME)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 3 * cap


# Every status.


@frozen
class Row:
    """The errors of some statuses with an empty body; None is a success."""

    statuses: str
    find: str | None
    update: str | None
    again: str = ""
    """The retried methods."""
    applied: bool = False

    def error(self, method: str) -> str | None:
        return self.find if method == "GET" else self.update

    @property
    def numbers(self) -> set[int]:
        spans = [each.partition("-") for each in self.statuses.split(", ") if each.replace("-", "").isdigit()]
        return {number for low, _, high in spans for number in range(int(low), int(high or low) + 1)}


ALL = "GET PUT POST"
STATUSES = [
    Row("200-299", "UnexpectedResponseError", None),
    Row("301, 302, 303, 307, 308", "RedirectRefusedError", "RedirectRefusedError", applied=True),
    Row("other 3xx", "UnexpectedResponseError", "UnexpectedResponseError", applied=True),
    Row("400, 422", "RequestRejectedError", "RequestRejectedError"),
    Row("401", "AuthenticationError", "AuthenticationError"),
    Row("403", "PermissionDeniedError", "PermissionDeniedError"),
    Row("404", "NotFoundError", "CallNotFoundError"),
    Row("408, 425", "UnexpectedResponseError", "UnexpectedResponseError", ALL),
    Row("429", "RateLimitedError", "RateLimitedError", ALL),
    Row("other 4xx", "UnexpectedResponseError", "UnexpectedResponseError"),
    Row("500, 502, 503, 504", "ServerError", "ServerError", "GET PUT", applied=True),
    Row("503 with Retry-After", "ServerError", "ServerError", ALL),
    Row("other 5xx", "ServerError", "ServerError", applied=True),
]


def row_of(status: int) -> Row:
    for row in STATUSES:
        if status in row.numbers:
            return row
    return next(row for row in STATUSES if row.statuses == f"other {status // 100}xx")


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_every_status_comes_to_its_row(method: str) -> None:
    """Each status from 200 to 599 with an empty body comes to its row; a 429 has Retry-After: 0."""
    async with RawServer() as server:
        settings = {"retry": RetryPolicy(initial=0, max_attempts=2, budget=10**6, organization_budget=10**6)}
        async with nothing_left(server, **settings) as client:
            for status in range(200, 600):
                server.seen.clear()
                extra = ["Retry-After: 0"] if status == 429 else []
                bare = f"HTTP/1.1 {status} Whatever\r\n\r\n".encode()
                server.script = [say(bare if status in (204, 304) else reply(status, b"", *extra))]
                row = row_of(status)
                kind = row.error(method)
                if kind is None:
                    assert (await request(client, method)).accepted_only is (status == 202)
                else:
                    with pytest.raises(CallsInProgressError) as raised:
                        await request(client, method)
                    error = raised.value
                    assert (type(error).__name__, error.status) == (kind, status), status  # type: ignore[attr-defined]
                    assert error.may_have_been_applied is (row.applied and method != "GET"), status
                assert len(server.seen) == (2 if method in row.again else 1), status


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_1xx_is_never_the_response(method: str) -> None:
    """Each is skipped, except 101: no HTTP follows it."""
    async with RawServer() as server, nothing_left(server) as client:
        for status in range(100, 200):
            early = f"HTTP/1.1 {status} Whatever\r\n\r\n".encode()
            server.script = [say(early + NO_CALLS)]
            if status == 101:
                with pytest.raises(sdk.UnexpectedResponseError, match="HTTP 101"):
                    await request(client, method)
            else:
                await request(client, method)
        assert len(server.seen) == 100


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_503_with_retry_after_is_retried_for_every_method(method: str) -> None:
    """Even a POST is retried."""
    script = [say(reply(503, b"", "Retry-After: 0")), say(NO_CALLS)]
    async with RawServer(script) as server, nothing_left(server) as client:
        await request(client, method)
        assert len(server.seen) == 2


# TLS.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(authority: trustme.CA, name: str = "127.0.0.1", until: datetime | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name, not_after=until).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("wrong", ["authority", "name", "date"])
async def test_a_wrong_certificate_is_a_tls_error(wrong: str, method: str, authority: trustme.CA) -> None:
    """It is not retried; nothing was sent or applied."""
    until = datetime(2001, 1, 1, tzinfo=UTC) if wrong == "date" else None
    context = serving(authority, "other.example" if wrong == "name" else "127.0.0.1", until)
    async with RawServer(ssl=context) as server:
        trusted = trustme.CA() if wrong == "authority" else authority
        async with nothing_left(server, ssl=trusting(trusted)) as client:
            with pytest.raises(sdk.TlsError) as raised:
                await request(client, method)
        assert (len(raised.value.attempts), raised.value.may_have_been_applied, server.seen) == (1, False, [])


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_plain_http_where_tls_is_expected_is_a_tls_error(method: str) -> None:
    """With https:// to a port of plain HTTP, nothing of the request is sent."""
    async with RawServer(at_connect=say_and_close(reply(400))) as server:
        async with nothing_left(server, base_url=server.url.replace("http", "https")) as client:
            with pytest.raises(sdk.TlsError) as raised:
                await request(client, method)
        assert (len(raised.value.attempts), raised.value.may_have_been_applied, server.seen) == (1, False, [])


async def test_a_tls_connection_is_kept_and_closed(authority: trustme.CA) -> None:
    """A reset within TLS is a lost connection like any other."""
    script = [say(NO_CALLS), say(NO_CALLS), say_and_reset()]
    settings = {"ssl": trusting(authority), "retry": RetryPolicy(max_attempts=1)}
    async with RawServer(script, ssl=serving(authority)) as server, nothing_left(server, **settings) as client:
        assert [list(await client.find(ACME)) for _ in range(2)] == [[], []]
        assert server.connections == 1
        with pytest.raises(sdk.ConnectionLostError):
            await client.find(ACME)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_a_closed_port_applies_nothing(method: str, unused_tcp_port: int) -> None:
    """Every method is retried after a ConnectionFailedError."""
    async with RawServer() as server:
        async with nothing_left(server, base_url=f"http://127.0.0.1:{unused_tcp_port}") as client:
            with pytest.raises(sdk.ConnectionFailedError) as raised:
                await request(client, method)
        assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (3, False)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_hanging_handshake_ends_after_connect_timeout(method: str, authority: trustme.CA) -> None:
    """A hanging TLS handshake ends after connect_timeout."""
    async with RawServer(at_connect=say_and_hang()) as server:
        url = server.url.replace("http", "https")
        async with nothing_left(server, base_url=url, connect_timeout=0.03) as client:
            with pytest.raises(sdk.ConnectionFailedError, match="connect_timeout") as raised:
                await request(client, method)
        assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (3, False)


# The page.

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def cells(row: Fault) -> list[str]:
    if row.error is None:
        return [row.name, "none: the response is read", *["—"] * 4]
    error = f"`{row.error}`"
    if "bomb" in row.name and ("br" in row.name or "zstd" in row.name):
        error = "`ResponseTooLargeError`; `UnexpectedResponseError` where aiohttp has no decoder for it"
    if row.update is None:
        error += "; an update succeeds"
    again = ["again" if method in row.again else "once" for method in ("GET", "PUT", "POST")]
    return [row.name, error, *again, "—" if row.update is None else "yes" if row.applied else "no"]


def status_cells(row: Row) -> list[str]:
    find, update = (f"`{each}`" if each else "none" for each in (row.find, row.update))
    error = find if find == update else f"{find}; for an update {update if row.update else 'none'}"
    if row.statuses == "200-299":
        error = "none with a list of calls, `UnexpectedResponseError` without one; for an update none"
    again = ["again" if method in row.again else "once" for method in ("GET", "PUT", "POST")]
    return [row.statuses, error, *again, "yes" if row.applied else "—" if row.update is None else "no"]


@pytest.mark.parametrize(
    ("name", "expected"), [("faults", list(map(cells, FAULTS))), ("statuses", list(map(status_cells, STATUSES)))]
)
def test_the_page_has_these_tables(name: str, expected: list[list[str]]) -> None:
    """The tables of docs/faults.md equal the tables of these tests."""
    table = PAGE.read_text().partition(f"<!-- {name} -->")[2].partition("<!-- end -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert rows[1:] == expected
