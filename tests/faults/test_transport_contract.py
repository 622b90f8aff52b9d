"""The contract of a transport: faults below HTTP come to the same errors, whichever transport sends the request.

A transport of your own is held to this contract by one more entry in `TRANSPORTS`.
"""

from __future__ import annotations

from typing import Any

import pytest
from faults.leaks import nothing_left
from faults.streams_transport import StreamsTransport
from faults.test_bad_servers import CONTRACT, STATUSES, Fault, MakeTransport, check_fault, request
from raw_server import RawServer, reply, say

import calls_in_progress_async as sdk
from calls_in_progress_async import RetryPolicy

METHODS = pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
TRANSPORTS: dict[str, MakeTransport] = {
    "pooled": lambda _: None,
    "session": lambda _: None,
    "streams": lambda server: StreamsTransport("127.0.0.1", server.port),
}


@pytest.fixture(params=TRANSPORTS)
def make_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MakeTransport:
    """Return a function that makes a client's transport for a server."""
    if request.param == "session":
        monkeypatch.setattr("calls_in_progress_async.transport.pooled.is_supported", lambda: False)
    return TRANSPORTS[request.param]


@METHODS
@pytest.mark.parametrize("row", [pytest.param(each, id=each.name) for each in CONTRACT])
async def test_a_fault_comes_to_the_same_error(row: Fault, method: str, make_transport: MakeTransport) -> None:
    """Error class, requests on the wire and may_have_been_applied do not depend on the transport."""
    await check_fault(row, method, make_transport)


@METHODS
@pytest.mark.parametrize("row", [pytest.param(each, id=each.statuses) for each in STATUSES if each.numbers])
async def test_a_status_comes_to_the_same_error(row: Any, method: str, make_transport: MakeTransport) -> None:
    """The first status of each row of the table comes to the row's error."""
    kind, status = row.error(method), min(row.numbers)
    headers = ["Retry-After: 0"] if "Retry-After" in row.statuses or status == 429 else []
    async with RawServer([say(reply(status, b"", *headers))]) as server:
        policy = RetryPolicy(initial=0, max_attempts=2)
        async with nothing_left(server, transport=make_transport(server), retry=policy) as client:
            if kind is None:
                await request(client, method)
            else:
                with pytest.raises(sdk.CallsInProgressError) as raised:
                    await request(client, method)
                assert (type(raised.value).__name__, raised.value.status) == (kind, status)
                assert raised.value.may_have_been_applied is (row.applied and method != "GET")
        assert len(server.seen) == (2 if method in row.again else 1)


@METHODS
async def test_a_connection_that_is_refused_applies_nothing(
    method: str, make_transport: MakeTransport, unused_tcp_port: int
) -> None:
    """Every method is tried again, because the request surely did not reach the server."""
    async with RawServer() as server:
        closed = RawServer(port=unused_tcp_port)
        settings = {"transport": make_transport(closed), "base_url": closed.url}
        async with nothing_left(server, **settings) as client:
            with pytest.raises(sdk.ConnectionFailedError) as raised:
                await request(client, method)
    assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (3, False)


@METHODS
async def test_the_request_arrives_unchanged(method: str, make_transport: MakeTransport) -> None:
    """Target, token and JSON body are on the wire."""
    async with RawServer() as server, nothing_left(server, transport=make_transport(server)) as client:
        await request(client, method)
    (sent,) = server.seen
    assert b"Authorization: top-secret-token-9b2f\r\n" in sent.head
    assert sent.method == method
    assert (b"Content-Type: application/json\r\n" in sent.head) is (method != "GET")
    assert bool(sent.body) is (method != "GET")
