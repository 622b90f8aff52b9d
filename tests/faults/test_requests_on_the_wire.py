"""Requests on the wire: both transports of aiohttp send the same heads and bodies."""

from __future__ import annotations

import pytest
from attrs import frozen
from raw_server import ACME, NO_CALLS, RawServer, reply, say

import calls_in_progress_async as sdk
from calls_in_progress_async import Organization
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.transport.wire import WireRequest, WireResponse


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
async def test_a_write_without_a_body_has_content_length_0(method: str) -> None:
    """It has Content-Length: 0 (RFC 9110, section 8.6), so that no server waits for a body."""
    async with RawServer() as server, server.client() as client:
        assert await client.send(Own(method)) == 200
    assert b"\r\nContent-Length: 0\r\n" in server.seen[0].head


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
async def test_a_read_without_a_body_has_no_content_headers(method: str) -> None:
    """It has neither Content-Length nor Content-Type."""
    async with RawServer() as server, server.client() as client:
        assert await client.send(Own(method)) == 200
    assert b"content-" not in server.seen[0].head.lower()


@pytest.mark.usefixtures("way")
async def test_the_response_to_a_head_has_no_body() -> None:
    """The next response follows at once on the same connection (RFC 9110, section 9.3.2)."""
    async with RawServer([say(reply(200, b"", length=10)), say(NO_CALLS)]) as server, server.client() as client:
        assert await client.send(Own("HEAD")) == 200
        assert list(await client.find(ACME)) == []
    assert [each.connection for each in server.seen] == [1, 1]


async def test_a_body_goes_out_with_any_method() -> None:
    """A DELETE with a body sends the body."""
    async with RawServer() as server, server.client() as client:
        await client.send(Own("DELETE", body=b"{}"))
    assert server.seen[0].body == b"{}"


async def test_a_connection_is_kept_after_at_most_64_kib(way: str) -> None:
    """Up to 64 KiB of a request keep it; of a longer request, some may still be unsent."""
    async with RawServer() as server, server.client() as client:
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
async def test_a_target_must_be_percent_encoded_on_the_wire(target: str, method: str) -> None:
    """The error names the target; nothing is sent, retried or applied."""
    async with RawServer() as server, server.client() as client:
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
async def test_the_path_of_a_base_url_is_normalized(path: str) -> None:
    """It is normalized (RFC 3986, section 6.2.2) and comes before the endpoint's path."""
    async with RawServer() as server, server.client(base_url=f"{server.url}{path}") as client:
        await client.find(ACME)
    sent = server.seen[0].head.split(b" ")[1].decode()
    assert sent.partition("/api/")[0] == PATHS[path]
