"""The bytes of each request, read by a bare socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_server import ACME, DONE, NO_CALLS, ONCE, TOKEN, RawServer, reply

from calls_in_progress_async import (
    CallsInProgressClient,
    CurrentCallsRequest,
    InvalidRequestError,
    Organization,
    RedirectRefusedError,
    UpdateCallRequest,
    __version__,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat

pytestmark = pytest.mark.usefixtures("way")

CALLS = "/api/2022-08-01/calls_in_progress/current_calls.json"
CALL = "/api/2022-08-01/calls_in_progress.json"
_CONTROL = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]))
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=_CONTROL), min_size=1).filter(str.strip)
VALUES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, {*range(0x20)} - {9, 10, 13}))),
    min_size=1,
)


FINDS: list[Any] = [
    pytest.param({}, "", id="all"),
    pytest.param({"transaction_id": "ABCD1234-ABCD1234"}, "&transaction_id=ABCD1234-ABCD1234", id="transaction"),
    pytest.param({"external_unique_id": "mycalls00001"}, "&external_unique_id=mycalls00001", id="external"),
    pytest.param(
        {"calling_phone_number": "(530) 999-9999", "destination_phone_number": "855-559-5599"},
        "&calling_phone_number=%2B15309999999&destination_phone_number=%2B18555595599",
        id="phones",
    ),
    pytest.param(
        {
            "destination_phone_number": "+44 20 7946 0018",
            "calling_phone_number": "15309999999",
            "external_unique_id": "a&b=c+d e/é%",
            "transaction_id": "x",
        },
        "&transaction_id=x&external_unique_id=a%26b%3Dc%2Bd%20e%2F%C3%A9%25"
        "&calling_phone_number=%2B15309999999&destination_phone_number=%2B442079460018",
        id="everything",
    ),
]


def headers_of_every_request(server: RawServer) -> dict[str, str]:
    return {
        "Host": f"127.0.0.1:{server.port}",
        "Authorization": TOKEN,
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": f"calls-in-progress-async/{__version__}",
    }


@pytest.mark.parametrize(("filters", "query"), FINDS)
async def test_a_find_sends_exactly_these_bytes(filters: dict[str, str], query: str) -> None:
    """The request line and every header of a find are as documented, without a body."""
    async with RawServer() as server, server.client() as client:
        await client.find(ACME, **filters)
        (seen,) = server.seen
    assert seen.line == f"GET {CALLS}?id=25&organization_type=advertiser{query} HTTP/1.1"
    assert dict(seen.headers) == headers_of_every_request(server)
    assert len(seen.headers) == 5
    assert seen.body == b""


UPDATES: list[Any] = [
    pytest.param(
        {"transaction_id": "ABCD1234-ABCD1234", "new_external_unique_id": "mycalls00001"},
        "PUT",
        "&transaction_id=ABCD1234-ABCD1234",
        '{"call_in_progress":{"external_unique_id":"mycalls00001"}}',
        id="name",
    ),
    pytest.param(
        {"external_unique_id": "a b", "custom_data": {"Call Disposition": "CUSTOMER_HANGUP"}, "method": "POST"},
        "POST",
        "&external_unique_id=a%20b",
        '{"call_in_progress":{"custom_data":[{"name":"Call Disposition","value":"CUSTOMER_HANGUP"}]}}',
        id="custom",
    ),
    pytest.param(
        {
            "transaction_id": "T",
            "external_unique_id": "old",
            "new_external_unique_id": "new",
            "custom_data": {"n": 'a"\\\n\t</é\u2028\U0001f4de', "m": "+1"},
        },
        "PUT",
        "&transaction_id=T&external_unique_id=old",
        '{"call_in_progress":{"external_unique_id":"new","custom_data":'
        '[{"name":"n","value":"a\\"\\\\\\n\\t</é\u2028\U0001f4de"},{"name":"m","value":"+1"}]}}',
        id="both",
    ),
]


@pytest.mark.parametrize(("arguments", "method", "query", "body"), UPDATES)
async def test_an_update_sends_exactly_these_bytes(
    arguments: dict[str, Any], method: str, query: str, body: str
) -> None:
    """The request line, every header and the body of an update are as documented."""
    async with RawServer([DONE]) as server, server.client() as client:
        await client.update(ACME, **arguments)
        (seen,) = server.seen
    assert seen.line == f"{method} {CALL}?id=25&organization_type=advertiser{query} HTTP/1.1"
    assert dict(seen.headers) == {
        **headers_of_every_request(server),
        "Content-Length": str(len(body.encode())),
        "Content-Type": "application/json",
    }
    assert len(seen.headers) == 7
    assert seen.body == body.encode()


@given(external=NAMES, transaction=st.from_regex(r"[0-9A-Za-z-]{1,32}", fullmatch=True))
def test_any_id_survives_the_query_string(external: str, transaction: str) -> None:
    """Whatever an id holds, the server decodes it to the same text, and no other parameter appears."""
    ids: Any = {"external_unique_id": external, "transaction_id": transaction}
    common = {"id": ["25"], "organization_type": ["advertiser"], **{name: [value] for name, value in ids.items()}}
    find = CurrentCallsRequest(organization=ACME, **ids).wire(WireFormat())
    update = UpdateCallRequest(organization=ACME, new_external_unique_id="x", **ids).wire(WireFormat())
    for wire in (find, update):
        assert wire.target.isascii()
        assert wire.target.isprintable()
        assert " " not in wire.target
        _, _, query = wire.target.partition("?")
        assert parse_qs(query, strict_parsing=True, keep_blank_values=True) == common


@given(new=NAMES, custom=st.dictionaries(NAMES, VALUES, min_size=1))
def test_any_name_and_value_survives_the_body(new: str, custom: dict[str, str]) -> None:
    """Whatever ids, names and values hold, the server decodes the same text, in the same order."""
    request = UpdateCallRequest(organization=ACME, transaction_id="T", new_external_unique_id=new, custom_data=custom)
    body = json.loads(request.wire(WireFormat()).body or b"")
    assert body == {
        "call_in_progress": {
            "external_unique_id": new,
            "custom_data": [{"name": name, "value": value} for name, value in custom.items()],
        }
    }


@given(external=NAMES, value=VALUES)
@settings(max_examples=25)
def test_hostile_text_reaches_the_socket_as_it_was_built(external: str, value: str) -> None:
    """Nothing between the request and the socket encodes a second time or normalizes."""

    async def main() -> None:
        async with RawServer([DONE]) as server, server.client() as client:
            await client.update(ACME, external_unique_id=external, custom_data={"n": value})
            (seen,) = server.seen
        assert seen.arguments["external_unique_id"] == [external]
        assert json.loads(seen.body)["call_in_progress"]["custom_data"] == [{"name": "n", "value": value}]

    asyncio.run(main())


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_the_token_is_in_one_header_and_nowhere_else(method: Any) -> None:
    """The token travels bare, once, in Authorization: not in the request line, another header or the body."""
    async with RawServer([NO_CALLS, DONE]) as server, server.client() as client:
        await client.find(ACME, external_unique_id="e")
        await client.update(ACME, transaction_id="T", custom_data={"a": "b"}, method=method)
    for seen in server.seen:
        assert (seen.head + seen.body).count(TOKEN.encode()) == 1
        assert seen.header("Authorization") == TOKEN


async def test_cookies_are_not_kept() -> None:
    """A Set-Cookie of the server is never sent back."""
    async with RawServer([reply(200, '{"current_calls": []}', Set_Cookie="a=b; Path=/")]) as server:
        # By its name: aiohttp's own jar would take no cookie from an address.
        async with server.client(base_url=f"http://localhost:{server.port}") as client:
            for _ in range(3):
                await client.find(ACME)
        assert [seen.header("Cookie") for seen in server.seen] == [None] * 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_rejected_and_the_other_host_never_hears_of_it(status: int) -> None:
    """Neither a find nor an update follows a Location, so the token does not go there."""
    async with RawServer() as other, RawServer([reply(status, Location=other.url + CALLS)]) as server:
        async with server.client() as client:
            with pytest.raises(RedirectRefusedError, match="redirects are not followed") as raised:
                await client.find(ACME)
            with pytest.raises(RedirectRefusedError):
                await client.update(ACME, transaction_id="T", custom_data={"a": "b"})
        assert raised.value.status == status
        assert len(server.seen) == 2
        assert (other.connections, other.seen) == (0, [])


@pytest.mark.parametrize(
    ("case", "spelled"), [("lower", ["network", "advertiser"]), ("capitalized", ["Network", "Advertiser"])]
)
@pytest.mark.parametrize("written", ["network", "Network", "NETWORK"])
async def test_the_spelling_of_the_type_is_the_clients_setting(case: Any, spelled: list[str], written: str) -> None:
    """Callers write either case; the setting decides the spelling on the wire, for finds and updates."""
    async with RawServer([NO_CALLS, DONE]) as server, server.client(organization_type_case=case) as client:
        await client.find(Organization(1, written))
        await client.update(ACME, transaction_id="T", custom_data={"a": "b"})
    assert [seen.arguments["organization_type"][0] for seen in server.seen] == spelled


async def test_the_version_in_the_path_and_a_path_of_the_host_are_kept() -> None:
    """api_version stands in the path, behind whatever path the host has."""
    async with RawServer() as server:
        async with CallsInProgressClient(
            token=TOKEN, base_url=f"{server.url}/proxy/", api_version="2031-12-01", retry=ONCE
        ) as client:
            await client.find(ACME)
        assert server.seen[0].target.startswith("/proxy/api/2031-12-01/calls_in_progress/current_calls.json?id=25&")


LOOPBACK = ["http://127.0.0.1", "http://127.8.9.1:80", "http://localhost:8080", "http://[::1]:1", "HTTP://LocalHost"]
CLEAR = [
    "http://invoca.net",
    "HTTP://invoca.net",
    "http://127.0.0.1.evil.example",
    "http://localhost.evil.example",
    "http://0.0.0.0",
    "http://10.0.0.1",
    "http://[::2]",
    "http://127.1",
]


@pytest.mark.parametrize("url", [*LOOPBACK, "https://invoca.net", "https://example.com:8443/path"])
def test_a_host_over_tls_or_on_this_machine_is_taken(url: str) -> None:
    """https:// is taken from anywhere, http:// from loopback hosts."""
    assert CallsInProgressClient(token=TOKEN, base_url=url).base_url == url


@pytest.mark.parametrize("url", CLEAR)
def test_plain_http_to_another_host_is_rejected(url: str) -> None:
    """The token would cross the network in the clear."""
    with pytest.raises(InvalidRequestError, match=r"^base_url is http://.*use https://$"):
        CallsInProgressClient(token=TOKEN, base_url=url)


@pytest.mark.parametrize(
    ("network", "host"), [("my-network", "my-network"), ("ACME", "acme"), ("1a", "1a"), ("a" * 63,) * 2]
)
def test_a_network_is_its_subdomain(network: str, host: str) -> None:
    """network="my-network" is https://my-network.invoca.net."""
    assert CallsInProgressClient(token=TOKEN, network=network).base_url == f"https://{host}.invoca.net"


async def test_a_number_is_passed_on_as_it_is_where_validation_is_off() -> None:
    """validate_phone_numbers="off" sends what was written, percent-encoded."""
    async with RawServer() as server, server.client(validate_phone_numbers="off") as client:
        await client.find(ACME, calling_phone_number="+1 x&y", destination_phone_number="anything*#")
    assert server.seen[0].query.endswith("&calling_phone_number=%2B1%20x%26y&destination_phone_number=anything%2A%23")


async def test_numbers_without_a_plus_are_of_the_default_region() -> None:
    """default_region="GB" reads 020 7946 0018 as +44."""
    async with RawServer() as server, server.client(default_region="gb") as client:
        await client.find(ACME, calling_phone_number="020 7946 0018", destination_phone_number="+18555595599")
    assert server.seen[0].arguments["calling_phone_number"] == ["+442079460018"]


async def test_a_proxy_is_used() -> None:
    """With proxy= the request goes to the proxy, in absolute form, and nowhere else."""
    async with RawServer() as proxy, RawServer() as server:
        async with server.client(proxy=proxy.url) as client:
            await client.find(ACME)
        assert proxy.seen[0].target == f"{server.url}{CALLS}?id=25&organization_type=advertiser"
        assert server.connections == 0


async def test_the_environments_proxy_is_ignored_without_trust_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """trust_env is off: HTTP_PROXY changes nothing until it is turned on."""
    async with RawServer() as proxy, RawServer() as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with server.client() as client:
            await client.find(ACME)
        assert (len(proxy.seen), len(server.seen)) == (0, 1)
        async with server.client(trust_env=True) as client:
            await client.find(ACME)
        assert (len(proxy.seen), len(server.seen)) == (1, 1)


async def test_netrc_never_displaces_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .netrc entry for the host leaves Authorization as it is, with trust_env as well."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login user password pass\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawServer() as server, server.client(trust_env=True) as client:
        await client.find(ACME)
        assert server.seen[0].header("Authorization") == TOKEN
