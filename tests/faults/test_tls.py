"""A pinned certificate, and limits of aiohttp's parser: one error names the cause."""

from __future__ import annotations

import hashlib
import ssl
from typing import Any

import aiohttp
import pytest
import trustme
from faults.leaks import nothing_left
from faults.test_bad_servers import request, serving, trusting
from faults.test_cancellation import LOOPS, run
from raw_server import ACME, EMPTY_LIST, Exchange, RawServer, reply, say

import calls_in_progress_async as sdk
from calls_in_progress_async import CallsInProgressClient

pytestmark = pytest.mark.usefixtures("way")

METHODS = pytest.mark.parametrize("method", ["GET", "PUT", "POST"])


@pytest.fixture(scope="module")
def pinned() -> tuple[ssl.SSLContext, aiohttp.Fingerprint]:
    """Return a server's context, and the fingerprint of its certificate."""
    certificate = trustme.CA().issue_cert("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    return context, aiohttp.Fingerprint(hashlib.sha256(der).digest())


@METHODS
@pytest.mark.parametrize("loop", LOOPS)
def test_a_pinned_certificate_is_accepted(method: str, loop: Any, pinned: Any) -> None:
    """With ``ssl=aiohttp.Fingerprint(...)``, no authority needs to be trusted."""

    async def main() -> None:
        async with RawServer(ssl=pinned[0]) as server, nothing_left(server, ssl=pinned[1]) as client:
            await request(client, method)
            await request(client, method)
            assert len(server.seen) == 2

    run(loop, main)


@METHODS
@pytest.mark.parametrize("loop", LOOPS)
def test_another_certificate_is_a_tls_error_once(method: str, loop: Any, pinned: Any) -> None:
    """Nothing is sent, retried or applied."""

    async def main() -> None:
        async with RawServer(ssl=serving(trustme.CA())) as server:
            async with nothing_left(server, ssl=pinned[1]) as client:
                with pytest.raises(sdk.TlsError, match="fingerprint") as raised:
                    await request(client, method)
            assert (len(raised.value.attempts), raised.value.may_have_been_applied, server.seen) == (1, False, [])

    run(loop, main)


@pytest.mark.parametrize("value", [None, "a" * 64, b"a" * 32, 1])
def test_anything_else_is_rejected_by_name(value: Any) -> None:
    """A fingerprint must be made with `aiohttp.Fingerprint`."""
    with pytest.raises(sdk.InvalidRequestError, match=r"^ssl"):
        CallsInProgressClient(token="t", ssl=value)


@METHODS
@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        (["A: " + "x" * 100_000], "8190 bytes"),
        (["A" * 100_000 + ": x"], "8190 bytes"),
        ([f"A{n}: x" for n in range(5000)], "128"),
    ],
    ids=["value", "name", "count"],
)
async def test_headers_over_a_limit_of_aiohttp_name_the_limit(headers: list[str], limit: str, method: str) -> None:
    """The message calls the limit aiohttp's, and shows nothing of the header."""
    async with RawServer([say(reply(200, EMPTY_LIST, *headers))]) as server, nothing_left(server) as client:
        with pytest.raises(sdk.UnexpectedResponseError, match=f"aiohttp's limit of {limit}") as raised:
            await request(client, method)
    assert len(raised.value.attempts) == 1
    assert "xxx" not in str(raised.value)


async def test_headers_below_the_limit_are_read() -> None:
    """A header of 8,000 bytes and 120 headers are fine."""
    headers = ["A: " + "x" * 8000, *(f"A{n}: x" for n in range(120))]
    async with RawServer([say(reply(200, EMPTY_LIST, *headers))]) as server, nothing_left(server) as client:
        assert list(await client.find(ACME)) == []


# Client certificates.


async def reject_the_client(exchange: Exchange, context: ssl.SSLContext) -> None:
    """Shake hands by TLS and send the alert of the failure; asyncio's own server loses it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await exchange.send(outgoing.read())
            incoming.write(await exchange.reader.read(2**20))
        except ssl.SSLError:
            await exchange.send(outgoing.read())
            await exchange.gone()
            exchange.close()
            return


@METHODS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_that_wants_a_client_certificate_is_a_tls_error(
    version: ssl.TLSVersion, method: Any, loop: Any
) -> None:
    """It is not retried, though TLS 1.3 rejects after the handshake, with the request on its way."""
    authority = trustme.CA()
    context = serving(authority)
    context.verify_mode, context.minimum_version, context.maximum_version = ssl.CERT_REQUIRED, version, version
    authority.configure_trust(context)

    async def main() -> None:
        async with RawServer(at_connect=lambda exchange: reject_the_client(exchange, context)) as server:
            url = server.url.replace("http", "https")
            async with server.client(base_url=url, ssl=trusting(authority)) as client:
                with pytest.raises(sdk.TlsError) as raised:
                    await request(client, method)
                assert len(raised.value.attempts) == server.connections == 1
                assert "127.0.0.1" not in str(raised.value)

    run(loop, main)
