"""Hosts and proxies: the token never crosses a network in the clear, and a bad address is an error by name."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from raw_server import ACME, TOKEN

from calls_in_progress_async import CallsInProgressClient, InvalidRequestError
from calls_in_progress_async.transport import address

HTTPS = "https://invoca.net"
LOOPBACK = ["http://localhost:8080", "http://127.0.0.1", "http://127.8.9.1:1", "http://[::1]:80"]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies of the machine from the environment."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def rejected(parameter: str, match: str) -> Any:
    return pytest.raises(InvalidRequestError, match=f"^{parameter}.*{match}")


# The host.


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1].x", "https://[::1].x", "https://[::1]x", "https://[v1.x]", "https://[", "https://a:b", "https://a:99999",
        "https://", "//invoca.net", "invoca.net", "ftp://invoca.net", "https://a b", "https://ex\u00e4mple.com",
        "https://-.1", "", None, 5, b"https://invoca.net", "https://a..b", "https://1.2.3",
    ],
)  # fmt: skip
def test_an_invalid_host_raises_invalid_request_error(url: Any) -> None:
    """Neither urllib's nor yarl's ValueError reaches the caller."""
    with rejected("base_url", "is not a URL"):
        CallsInProgressClient(token=TOKEN, base_url=url)


@pytest.mark.parametrize("url", ["http://invoca.net", "http://10.0.0.1", "http://localhost.evil.example"])
def test_plain_http_to_another_machine_is_rejected(url: str) -> None:
    """The token would cross the network in the clear."""
    with rejected("base_url", "in the clear"):
        CallsInProgressClient(token=TOKEN, base_url=url)


@pytest.mark.parametrize(
    "url", ["https://u:secret@invoca.net", "https://invoca.net?secret", "https://invoca.net#secret"]
)
def test_a_host_with_credentials_or_a_query_is_rejected_and_not_shown(url: str) -> None:
    """The message names the parts and never the secret."""
    with rejected("base_url", "holds credentials") as raised:
        CallsInProgressClient(token=TOKEN, base_url=url)
    assert "secret" not in str(raised.value)


# Proxies.


@pytest.mark.parametrize(
    ("proxy", "url"),
    [
        ("http://proxy.corp:3128", "http://proxy.corp:3128"),
        ("https://proxy.corp", "https://proxy.corp"),
        ("http://u:p@proxy.corp:3128", "http://u:p@proxy.corp:3128"),
        ("proxy.corp:3128", "http://proxy.corp:3128"),
        ("proxy.corp", "http://proxy.corp"),
        ("10.0.0.1:3128", "http://10.0.0.1:3128"),
        ("[::1]:3128", "http://[::1]:3128"),
        ("u:p@proxy.corp:3128", "http://u:p@proxy.corp:3128"),
    ],
)
@pytest.mark.parametrize("source", ["setting", "environment"])
def test_a_proxy_without_a_scheme_is_an_http_proxy(
    proxy: str, url: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting and ``https_proxy=proxy.corp:3128`` are read as curl reads them."""
    if source == "setting":
        assert address.proxy(proxy) == url
    else:
        monkeypatch.setenv("https_proxy", proxy)
        assert address.choose_proxy(HTTPS, None, trust_env=True) == url


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "ftp", "file", "SOCKS5", "ws"])
@pytest.mark.parametrize("source", ["setting", "environment"])
def test_a_proxy_with_an_unsupported_scheme_is_rejected_by_name(
    scheme: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the scheme and hides the password."""
    proxy = f"{scheme}://user:secret@proxy.corp:1080"
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    parameter, settings = ("proxy", {"proxy": proxy}) if source == "setting" else ("trust_env", {"trust_env": True})
    with rejected(parameter, f"scheme {scheme.lower()}://") as raised:
        CallsInProgressClient(token=TOKEN, **settings)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "proxy",
    [
        "",
        "://",
        "http://",
        "http://:3128",
        "http:/proxy.corp:3128",
        "http://proxy.corp/proxy.pac",
        "http://a:b:c",
        "http://a:0",
        "http://a:99999",
        "a b",
        "http://[::1].x",
        5,
    ],
)
def test_a_proxy_without_a_url_is_rejected(proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting and the environment have the same check."""
    with rejected("proxy", "is not the URL of a proxy"):
        CallsInProgressClient(token=TOKEN, proxy=proxy)
    if isinstance(proxy, str) and proxy:
        monkeypatch.setenv("https_proxy", proxy)
        with rejected("trust_env", "HTTPS_PROXY, and that is not the URL of a proxy"):
            CallsInProgressClient(token=TOKEN, trust_env=True)


@pytest.mark.parametrize(
    ("no_proxy", "base", "proxied"),
    [
        ("invoca.net", "https://invoca.net", False),
        ("invoca.net:443", "https://invoca.net", False),
        ("invoca.net:8443", "https://invoca.net:8443", False),
        ("invoca.net:8443", "https://invoca.net", True),
        (".invoca.net", "https://acme.invoca.net", False),
        ("*", "https://invoca.net", False),
        ("other.example", "https://invoca.net", True),
        ("::1", "https://[::1]", False),
        ("", "https://invoca.net", True),
    ],
)
def test_no_proxy_names_hosts_and_ports(
    no_proxy: str, base: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port in NO_PROXY is that of the host, given or implied by the scheme."""
    monkeypatch.setenv("https_proxy", "http://proxy.corp:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    chosen = address.choose_proxy(base, None, trust_env=True)
    assert chosen == ("http://proxy.corp:3128" if proxied else None)


def test_the_environment_is_read_only_with_trust_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting wins over the environment, and without trust_env the environment is not read."""
    monkeypatch.setenv("https_proxy", "socks5://never.read")
    assert address.choose_proxy(HTTPS, None, trust_env=False) is None
    assert address.choose_proxy(HTTPS, "http://mine", trust_env=True) == "http://mine"
    monkeypatch.delenv("https_proxy")
    assert address.choose_proxy(HTTPS, None, trust_env=True) is None


@pytest.mark.parametrize("base", LOOPBACK)
@pytest.mark.parametrize(
    "proxy", ["http://proxy.corp:3128", "https://proxy.corp", "10.0.0.1:3128", "http://[2001:db8::1]"]
)
@pytest.mark.parametrize("source", ["setting", "environment", "session's proxy", "session's environment"])
async def test_a_remote_proxy_never_sees_the_token_in_the_clear(
    base: str, proxy: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With http:// to this machine, a proxy on another machine is rejected when the client is made."""
    parameter, settings = "trust_env", {"trust_env": True}
    session = None
    if source == "setting":
        parameter, settings = "proxy", {"proxy": proxy}
    elif source == "environment":
        monkeypatch.setenv("http_proxy", proxy)
    elif source == "session's proxy":
        session = aiohttp.ClientSession(proxy=proxy)
    else:
        monkeypatch.setenv("http_proxy", proxy)
        session = aiohttp.ClientSession(trust_env=True)
    if session is not None:
        parameter, settings = "session", {"session": session}
    with rejected(parameter, "in the clear"):
        CallsInProgressClient(token=TOKEN, base_url=base, **settings)
    if session is not None:
        await session.close()


@pytest.mark.parametrize("base", LOOPBACK)
async def test_a_remote_proxy_that_comes_later_never_sees_the_token_in_the_clear(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session reads the environment for each request: a proxy set after the client was made is rejected then."""
    async with (
        aiohttp.ClientSession(trust_env=True) as session,
        CallsInProgressClient(token=TOKEN, base_url=base, session=session) as client,
    ):
        monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
        for send in (client.find(ACME), client.update(ACME, transaction_id="T", custom_data={"a": "b"})):
            with rejected("session", "in the clear") as raised:
                await send
            assert not raised.value.may_have_been_applied


@pytest.mark.parametrize("base", LOOPBACK)
@pytest.mark.parametrize("proxy", ["http://localhost:3128", "127.0.0.1:3128", "http://[::1]:3128"])
def test_a_proxy_on_this_machine_may_be_used_for_plain_http(
    base: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A debugging proxy sees what this machine sends to itself."""
    CallsInProgressClient(token=TOKEN, base_url=base, proxy=proxy)
    monkeypatch.setenv("http_proxy", proxy)
    CallsInProgressClient(token=TOKEN, base_url=base, trust_env=True)


@pytest.mark.parametrize("proxy", ["proxy.corp:3128", "https://proxy.corp:3128", "user:secret@proxy.corp:3128"])
async def test_a_proxy_that_a_session_cannot_use_is_rejected_by_name(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aiohttp skips an https:// proxy of the environment, and fails each request for a proxy without a scheme."""
    monkeypatch.setenv("https_proxy", proxy)
    async with aiohttp.ClientSession(trust_env=True) as session:
        with rejected("session", "reads HTTPS_PROXY, where aiohttp accepts http:// proxies only") as raised:
            CallsInProgressClient(token=TOKEN, session=session)
        assert "secret" not in str(raised.value)
    async with aiohttp.ClientSession(trust_env=True, proxy="HTTP://proxy.corp:3128") as session:
        CallsInProgressClient(token=TOKEN, session=session)  # aiohttp reads no environment then


@pytest.mark.parametrize("proxy", ["proxy.corp:3128", "127.0.0.1:3128", "socks5://user:secret@127.0.0.1", "//proxy"])
async def test_a_session_with_a_proxy_that_is_no_http_url_is_rejected(proxy: str) -> None:
    """Each of its requests would fail, or aiohttp would speak HTTP to a SOCKS proxy."""
    async with aiohttp.ClientSession(proxy=proxy) as session:
        with rejected("session", "not an http:// or https:// URL") as raised:
            CallsInProgressClient(token=TOKEN, session=session)
        assert "secret" not in str(raised.value)


async def test_a_port_in_no_proxy_does_not_free_a_session_from_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session looks its proxy up without the port, so the proxy would see the token."""
    monkeypatch.setenv("http_proxy", "http://proxy.corp:3128")
    monkeypatch.setenv("no_proxy", "localhost:8080")
    async with aiohttp.ClientSession(trust_env=True) as session:
        with rejected("session", "in the clear"):
            CallsInProgressClient(token=TOKEN, base_url="http://localhost:8080", session=session)


def test_a_host_in_no_proxy_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_PROXY=localhost a sandbox is reached directly, whatever the proxy."""
    monkeypatch.setenv("http_proxy", "http://proxy.corp:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    CallsInProgressClient(token=TOKEN, base_url="http://localhost:8080", trust_env=True)


@pytest.mark.parametrize(
    "target", ["/x?q=a b", "/x?q=\r\nX-Evil: 1", "/\u00e9", "/x\t", "/x\x00", "/x\x7f", "/x\u2028"]
)
def test_a_target_must_be_percent_encoded(target: str) -> None:
    """A line end in a target would begin another header."""
    with rejected("target", "percent-encoded"):
        address.check_target(target)
