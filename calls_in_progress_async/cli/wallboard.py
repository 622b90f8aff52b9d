"""``wallboard``: live calls on a page, served from here until Ctrl-C."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, TextIO

import click
from attrs import evolve, frozen

from ..errors import InvalidRequestError
from ..organization import Organization
from ..wallboard import Feed, WatchFeed, board_application, serve
from .error_reports import problem_of
from .exit_codes import ExitCode
from .fleet import load_fleet
from .options import ORGANIZATION, FiniteRange, organizations_option, show_numbers
from .organizations_file import organizations_from
from .output import count, say, write_line
from .runner import run
from .settings import ClientSettings, takes_client_settings
from .wallboard_demo import demo_day

_FLEET_FLAGS = {"servers": "--fleet", "name": "--fleet-name"}
"""The flag of each parameter of the fleet."""
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_POSITIVE = FiniteRange(min=0, min_open=True)


@frozen(kw_only=True)
class WallboardOptions:
    """The page to serve, and the address to serve it at."""

    organizations: Sequence[Organization]
    """The organizations on the board; empty for a demo, which has its own, and for all of a fleet."""
    host: str
    port: int
    interval: float
    """Seconds between two polls of an organization."""
    fleet: Mapping[str, Any] | None
    """The arguments of `FleetFeed`; None for a board that polls for itself."""
    page: dict[str, Any]
    """The settings of the page, as for `wallboard.application`."""

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


def _split(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


@click.command(short_help="Serve a page with live calls, for a wall, a desk or a phone.")
@click.argument("organizations", metavar="ORG...", nargs=-1, type=ORGANIZATION)
@organizations_option
@click.option("--demo", is_flag=True, help="Show made-up calls: no account, no network.")
@click.option("--fleet", metavar="URL,...", help="Show a fleet's findings: the addresses of its NATS servers.")
@click.option("--fleet-name", default="prod", show_default=True, help="The name of the fleet.")
@click.option(
    "--fleet-credentials", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="NATS credentials."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8790, show_default=True, help="0 for any free one.")
@click.option("--fields", default="", callback=_split, metavar="NAME,...", help="Custom fields to show as columns.")
@click.option("--title", default="Live calls", show_default=True, help="Heading of the page.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Ask browsers for the page token in this file.",
)
@click.option("--interval", type=_POSITIVE, default=5.0, show_default=True, metavar="SECONDS", help="Between polls.")
@show_numbers
@takes_client_settings
def wallboard(
    settings: ClientSettings,
    /,
    *,
    organizations: tuple[Organization, ...],
    organizations_file: TextIO | None,
    demo: bool,
    fleet: str | None,
    fleet_name: str,
    fleet_credentials: str | None,
    host: str,
    port: int,
    fields: list[str],
    title: str,
    token_file: Path | None,
    interval: float,
    show_numbers: bool,
) -> int:
    """Serve a page with the live calls of each ORG, such as advertiser:25, until Ctrl-C.

    The page is for a wall, a desk or a phone. It listens on this machine only, unless --host names another address:
    then give --token-file, and put a proxy with TLS in front. Callers' numbers leave the program masked.

    With --fleet the page shows all organizations of a fleet, or each ORG of these. The fleet's workers poll; the page
    needs no API token.
    """
    if demo and (organizations or organizations_file or fleet is not None):
        raise click.UsageError("--demo has organizations of its own: leave out ORG, --organizations and --fleet")
    page = {"fields": fields, "title": title, "show_numbers": show_numbers, "page_token": _read_token(token_file)}
    named = bool(organizations or organizations_file)
    has_own = demo or fleet is not None
    options = WallboardOptions(
        organizations=organizations_from(organizations, organizations_file) if named or not has_own else [],
        host=host,
        port=port,
        interval=interval,
        fleet=_fleet_arguments(fleet, fleet_name, fleet_credentials),
        page=page,
    )
    if options.fleet is not None:
        return run(_serve_fleet(options.fleet, options))
    return run(_serve_demo(options) if demo else _serve(settings, options))


def _fleet_arguments(servers: str | None, name: str, credentials: str | None) -> dict[str, Any] | None:
    if servers is None:
        return None
    connection = {} if credentials is None else {"user_credentials": credentials}
    return {"servers": servers, "name": name, "connection": connection}


def _read_token(file: Path | None) -> str | None:
    try:
        return None if file is None else file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        raise click.UsageError(f"--token-file {file} cannot be read as text") from None


async def _serve(settings: ClientSettings, options: WallboardOptions) -> int:
    async with settings.client() as client:
        return await _serve_board(lambda: WatchFeed(client, options.organizations, options.interval), options)


async def _serve_demo(options: WallboardOptions) -> int:
    async with demo_day() as day:
        page = {**options.page, "fields": options.page["fields"] or day.fields, "history": day.history}
        options = evolve(options, organizations=day.organizations, page=page)
        return await _serve_board(lambda: WatchFeed(day.client, day.organizations, day.interval), options)


async def _serve_fleet(fleet: Mapping[str, Any], options: WallboardOptions) -> int:
    load_fleet()
    from ..wallboard.fleet_feed import FleetFeed  # noqa: PLC0415 - needs an extra

    try:
        feed = FleetFeed(**fleet, organizations=options.organizations or None)
    except InvalidRequestError as error:
        raise click.UsageError(f"{_FLEET_FLAGS.get(error.parameter, error.parameter)} {problem_of(error)}") from None
    write_line("Reading the state of the fleet, once a NATS server responds.")
    return await _serve_board(lambda: feed, options)


async def _serve_board(open_feed: Callable[[], AbstractAsyncContextManager[Feed]], options: WallboardOptions) -> int:
    hosts = _LOOPBACK_NAMES if options.is_loopback else None
    try:
        app = board_application(open_feed, allowed_hosts=hosts, **options.page)
    except InvalidRequestError as error:
        option = "--token-file" if error.parameter == "page_token" else f"--{error.parameter}"
        raise click.UsageError(f"{option} {error.message.removeprefix(error.parameter).strip(': ')}") from None
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(serve(app, options.host, options.port))
        except OSError as error:
            say(f"error: cannot listen at {options.host} port {options.port}: {error.strerror or error}")
            return ExitCode.FAILED
        _introduce(url, options)
        return int(await asyncio.Event().wait())  # nobody sets the event: Ctrl-C or SIGTERM cancels


def _introduce(url: str, options: WallboardOptions) -> None:
    of = count(len(options.organizations), "organization") if options.organizations else "the fleet"
    write_line(f"The wallboard of {of} is at {url}")
    if not options.is_loopback:
        say(_exposure(options.page))
    write_line("Ctrl-C stops it.")


def _exposure(page: Mapping[str, Any]) -> str:
    """Say in a line what an address beyond this machine exposes, and to whom."""
    who = "anyone with the page token" if page["page_token"] else "anyone who can reach this address"
    numbers = "whole phone numbers" if page["show_numbers"] else "the last four digits of phone numbers"
    seen = ", ".join(["organizations", "campaigns", "callers' towns", numbers, *page["fields"]])
    hint = "" if page["page_token"] else "; --token-file asks for a token"
    return f"warning: {who} can read, without TLS: {seen}{hint}"
