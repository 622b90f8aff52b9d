"""Checks of host and proxy, so that the token never crosses a network in the clear."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from .. import validation

# RFC 1123, section 2.1, and the "_" of local networks. A last label of digits belongs to an IP address.
_HOST_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_-]{1,63}\.)*(?!\d+$)[a-z0-9_-]{1,63}")
_NOT_VISIBLE_ASCII = re.compile(r"[^\x21-\x7e]")
_NOT_A_URL = 'is not a URL, pass one such as "https://invoca.net"'
_NOT_A_PROXY = "is not the URL of a proxy, such as http://proxy.example:3128"
_IN_THE_CLEAR = "base_url is http://, so the token would go there in the clear; leave the proxy out, or use https://"
_NOT_FOR_A_SESSION = "where aiohttp accepts http:// proxies only, make the session with proxy= and a whole URL"
_REMOTE_PROXY = {
    "proxy": "is on another machine",
    "trust_env": "finds a proxy on another machine in the environment",
    "session": "has a proxy on another machine",
}
"""The problem with each setting that may name a proxy."""


def base_url(value: str) -> str:
    """Check the URL of the host: HTTPS, or HTTP to this machine; no credentials, query or fragment."""
    # The message never shows a rejected URL, because the URL may hold credentials.
    url = _split(value)
    if url is None or not url.hostname or url.scheme not in ("https", "http"):
        raise validation.invalid("base_url", _NOT_A_URL)
    if "@" in url.netloc or "?" in value or "#" in value:
        raise validation.invalid(
            "base_url", "holds credentials, a query or a fragment, pass scheme, host and path only"
        )
    if url.scheme == "http" and not _is_loopback(url.hostname):
        raise validation.invalid("base_url", "is http://, which would send the token in the clear, use https://")
    if not _is_host(url.hostname, bracketed="[" in url.netloc) or not _is_readable_by_yarl(value):
        raise validation.invalid("base_url", _NOT_A_URL)
    return str(value).rstrip("/")


def proxy(value: str | None) -> str | None:
    """Check the URL of a proxy, or None. A host without a scheme is an HTTP proxy, as it is for curl."""
    return None if value is None else _proxy_url("proxy", value)


def choose_proxy(base: str, setting: str | None, *, trust_env: bool) -> str | None:
    """Return the proxy for a host: the setting, else the environment's if ``trust_env`` is True, else None.

    Args:
        base: The checked base URL.
        setting: The checked proxy of the settings.
        trust_env: True to read ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``.

    Raises:
        InvalidRequestError: The environment's proxy cannot be used, or a remote proxy would see the token in the clear.
    """
    if setting is not None:
        reject_remote_proxy("proxy", base, setting)
        return setting
    if not trust_env:
        return None
    url = URL(base)
    return None if proxy_bypass(f"{url.host}:{url.port}") else proxy_of_environment("trust_env", base)


def proxy_of_environment(parameter: str, base: str) -> str | None:
    """Return the proxy of the environment for a host, looked up once. ``NO_PROXY`` is read as aiohttp reads it.

    With its own ``trust_env``, aiohttp looks the proxy up for each request, without the port, and rejects all requests
    if .netrc has the host.

    Args:
        parameter: The setting to name in an error.
        base: The checked base URL.
    """
    url = URL(base)
    found = getproxies().get(url.scheme)
    if found is None or proxy_bypass(url.host or ""):
        return None
    proxy = _proxy_url(parameter, found, f"reads {url.scheme.upper()}_PROXY, and that ")
    reject_remote_proxy(parameter, base, proxy)
    if parameter == "session" and not found.lower().startswith("http://"):
        # aiohttp skips an https:// proxy, and each request fails without a scheme.
        raise validation.invalid("session", f"reads {url.scheme.upper()}_PROXY, {_NOT_FOR_A_SESSION}")
    return proxy


def reject_remote_proxy(parameter: str, base: str, proxy: object) -> None:
    """Raise if plain HTTP, with the token in its header, would leave this machine through a proxy."""
    if proxy is None or base.startswith("https:"):
        return
    if not _is_loopback(URL(str(proxy)).host or ""):
        raise validation.invalid(parameter, f"{_REMOTE_PROXY[parameter]}, and {_IN_THE_CLEAR}")


def check_target(target: str) -> None:
    """Raise if a path and query is not percent-encoded, because it could then hold a second request."""
    if not (target.isascii() and target.isprintable()) or " " in target:
        raise validation.invalid("target", "is not percent-encoded")


def _proxy_url(parameter: str, value: Any, source: str = "") -> str:
    # The message never shows the URL, because the URL may hold a password.
    text = f"http://{value}" if isinstance(value, str) and "://" not in value else value
    url = _split(text)
    if url is None or not url.hostname or url.port == 0 or url.path.strip("/") or not _is_readable_by_yarl(text):
        raise validation.invalid(parameter, f"{source}{_NOT_A_PROXY}")
    if url.scheme not in ("http", "https"):
        hint = "pass an http:// proxy, or a session= whose connector speaks it"
        raise validation.invalid(parameter, f"{source}has the scheme {url.scheme}://, {hint}")
    return str(text)


def _split(value: Any) -> SplitResult | None:
    """Split a URL of visible ASCII characters; None if it cannot be split or its port is no number."""
    if not isinstance(value, str) or _NOT_VISIBLE_ASCII.search(value):
        return None
    try:
        url = urlsplit(value)
        url.port  # noqa: B018 - reading the property checks the port
    except ValueError:
        return None
    return url


def _is_readable_by_yarl(value: str) -> bool:
    """Return False for a URL that urllib accepts and yarl rejects, such as http://[::1].x."""
    try:
        return bool(URL(value).host)
    except ValueError:
        return False


def _is_host(host: str, *, bracketed: bool) -> bool:
    is_name = not bracketed and bool(_HOST_NAME.fullmatch(host.removesuffix(".")))
    return is_name or _ip_address(host) is not None


def _is_loopback(host: str) -> bool:
    address = _ip_address(host)
    return host == "localhost" if address is None else address.is_loopback


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
