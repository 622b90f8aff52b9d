"""The settings of the aiohttp transports, checked when they are made."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import aiohttp
from aiohttp import hdrs
from attrs import field, frozen
from yarl import URL

from .. import validation
from .._version import __version__
from . import address


@frozen(kw_only=True, eq=False, repr=False)
class HttpSettings:
    """The settings of the aiohttp transports."""

    base_url: str = field(converter=address.base_url)
    """Scheme, host and path, without a slash at the end."""
    connect_timeout: float = field(default=5.0, validator=validation.number("seconds", above=True))
    """Seconds to make a connection."""
    max_response_size: int = field(default=32 * 2**20, validator=validation.count())
    """Bytes of a decoded body."""
    ssl: ssl.SSLContext | aiohttp.Fingerprint | bool = field(
        default=True,
        validator=validation.instance(
            (ssl.SSLContext, aiohttp.Fingerprint, bool), "an ssl.SSLContext, an aiohttp.Fingerprint or True"
        ),
    )
    """Certificates to trust, or the SHA-256 fingerprint of the only one to trust."""
    proxy: str | None = field(default=None, converter=address.proxy)
    """The URL of an HTTP proxy."""
    trust_env: bool = field(default=False, validator=validation.flag)
    """True to take the proxy from the environment."""

    def choose_proxy(self) -> str | None:
        """Return the proxy to use: the setting, else the environment's."""
        return address.choose_proxy(self.base_url, self.proxy, trust_env=self.trust_env)

    @property
    def url(self) -> URL:
        """The base URL, normalized (RFC 3986, section 6.2.2)."""
        return URL(self.base_url)

    @property
    def fixed_headers(self) -> Mapping[str, str]:
        """The headers of every request, without the token."""
        return {
            hdrs.ACCEPT: "application/json",
            hdrs.ACCEPT_ENCODING: "gzip, deflate",
            hdrs.USER_AGENT: f"calls-in-progress-async/{__version__}",
        }
