"""What commands share of their arguments: organizations, and the settings of the client."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import click
from attrs import frozen

from .. import RateLimit
from ..client import CallsInProgressClient
from ..endpoints.wire_format import WireFormat
from ..errors import InvalidRequestError
from ..organization import Organization

P = ParamSpec("P")
R = TypeVar("R")


class OrganizationArgument(click.ParamType):  # type: ignore[type-arg]  # click 8.1's is not generic
    """An organization, written as ``advertiser:25``."""

    name = "organization"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Organization:
        """Read it, or end the command with the reason."""
        try:
            return Organization.parse(value)
        except InvalidRequestError as error:
            self.fail(error.message, param, ctx)


ORGANIZATION = OrganizationArgument()


@frozen(kw_only=True)
class ClientSettings:
    """The settings of the client that the command line gives; None is for what it leaves to the environment."""

    base_url: str | None = None
    network: str | None = None
    organization_type_case: str | None = None
    timeout: float | None = None
    rate: float | None = None

    def client(self, **more: Any) -> CallsInProgressClient:
        """Make the client, with the token from the environment.

        Raises:
            InvalidRequestError: There is no token, or a setting will not do.
        """
        given: dict[str, Any] = {
            "base_url": self.base_url,
            "network": self.network,
            "organization_type_case": self.organization_type_case,
            "timeout": self.timeout,
            "rate_limit": None if self.rate is None else RateLimit(rate=self.rate),
        }
        settings = {name: value for name, value in given.items() if value is not None}
        # A host on the command line is meant instead of whatever host the environment names, in either form.
        if self.base_url is not None:
            settings.setdefault("network", None)
        elif self.network is not None:
            settings["base_url"] = _default("base_url")
        return CallsInProgressClient.from_env(**settings, **more)


def wire_format_of(client: CallsInProgressClient) -> WireFormat:
    """The settings that shape a client's requests, the environment's among them."""
    return client._wire_format


def _default(setting: str) -> Any:
    return inspect.signature(CallsInProgressClient).parameters[setting].default


_POSITIVE = click.FloatRange(min=0, min_open=True)
_OPTIONS = (
    click.option("--base-url", metavar="URL", help="The host, such as https://invoca.net."),
    click.option("--network", metavar="NAME", help="A network's own subdomain, instead: NAME.invoca.net."),
    click.option(
        "--organization-type-case",
        type=click.Choice(["lower", "capitalized"]),
        help="Send `advertiser` or `Advertiser`. `check` finds out which one is right.",
    ),
    click.option("--timeout", type=_POSITIVE, metavar="SECONDS", help="For each request, its retries included."),
    click.option("--rate", type=_POSITIVE, metavar="N", help="Requests per second at most."),
)


def takes_client_settings(
    command: Callable[Concatenate[ClientSettings, P], R],
) -> Callable[P, R]:
    """Give a command the options of the client, and call it with what they come to."""

    @wraps(command)
    def collect(*args: Any, **options: Any) -> R:
        settings = ClientSettings(**{name: options.pop(name) for name in _NAMES})
        return command(settings, *args, **options)

    decorated: Any = collect
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


_NAMES = tuple(field.name for field in ClientSettings.__attrs_attrs__)

show_numbers = click.option("--show-numbers", is_flag=True, help="Show callers' phone numbers whole, not masked.")
as_json = click.option("--json", "as_json", is_flag=True, help="Lines of JSON, for programs.")
