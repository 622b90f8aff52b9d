"""The settings of the client, as options of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import click
from attrs import field, frozen

from .. import RateLimit
from ..client import CallsInProgressClient
from ..endpoints.wire_format import WireFormat
from ..environment import token_from_pipe
from ..transport.tokens import TokenSource
from .options import FiniteRange

P = ParamSpec("P")
R = TypeVar("R")


@frozen(kw_only=True)
class ClientSettings:
    """The client's settings from the command line; None leaves a setting to the environment."""

    base_url: str | None = None
    network: str | None = None
    organization_type_case: str | None = None
    timeout: float | None = None
    rate: float | None = None
    token: TokenSource | None = field(factory=token_from_pipe, repr=False)
    """The token from a pipe: read once, and before the event loop, where Ctrl-C would not end the wait."""

    def client(self, **more: Any) -> CallsInProgressClient:
        """Make the client, with the token from the environment.

        Raises:
            InvalidRequestError: There is no token, or a setting is out of its range.
        """
        given: dict[str, Any] = {
            "base_url": self.base_url,
            "network": self.network,
            "organization_type_case": self.organization_type_case,
            "timeout": self.timeout,
            "rate_limit": None if self.rate is None else RateLimit(rate=self.rate),
            "token": self.token,
            **more,
        }
        settings = {name: value for name, value in given.items() if value is not None}
        # A host on the command line, in either form, overrides every host of the environment.
        if self.base_url is not None:
            settings.setdefault("network", None)
        elif self.network is not None:
            settings["base_url"] = _default("base_url")
        return CallsInProgressClient.from_env(**settings)


def wire_format_of(client: CallsInProgressClient) -> WireFormat:
    """Return the settings that shape a client's requests, including those of the environment."""
    return client._wire_format


def _default(setting: str) -> Any:
    return inspect.signature(CallsInProgressClient).parameters[setting].default


_POSITIVE = FiniteRange(min=0, min_open=True)
_OPTIONS = (
    click.option("--base-url", metavar="URL", help="The host, such as https://invoca.net."),
    click.option("--network", metavar="NAME", help="A network's own subdomain, instead: NAME.invoca.net."),
    click.option(
        "--organization-type-case",
        type=click.Choice(["lower", "capitalized"]),
        help="Send `advertiser` or `Advertiser`. `check` finds the right one.",
    ),
    click.option("--timeout", type=_POSITIVE, metavar="SECONDS", help="Limit for each request, including its retries."),
    click.option("--rate", type=_POSITIVE, metavar="N", help="At most so many requests per second."),
)


def takes_client_settings(
    command: Callable[Concatenate[ClientSettings, P], R],
) -> Callable[P, R]:
    """Give a command the options of the client, and call it with the resulting settings."""

    @wraps(command)
    def collect(*args: Any, **options: Any) -> R:
        settings = ClientSettings(**{name: options.pop(name) for name in _NAMES})
        return command(settings, *args, **options)

    decorated: Any = collect
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


_NAMES = tuple(each.name for each in ClientSettings.__attrs_attrs__ if each.default is None)
