"""``fleet``: workers on several hosts that share organizations, their events, their state, and a plan before all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..organization import Organization
from .exit_codes import ExitCode
from .options import ORGANIZATION, FiniteRange, as_json, organizations_option, show_numbers
from .organizations_file import organizations_from
from .output import say, write_json, write_line
from .runner import run
from .settings import ClientSettings, takes_client_settings

if TYPE_CHECKING:  # needs an extra
    from ..fleet.sizing import FleetPlan

_POSITIVE = FiniteRange(min=0, min_open=True)
_AT_LEAST_ONE = click.IntRange(min=1)
_max_age = click.option(
    "--max-age",
    type=_POSITIVE,
    default=7 * 86400.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for which the log keeps messages.",
)
_interval = click.option(
    "--interval",
    type=_POSITIVE,
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two polls of an organization.",
)
_OPTIONS = (
    click.option(
        "--servers",
        default="nats://127.0.0.1:4222",
        show_default=True,
        envvar="NATS_URL",
        metavar="URL,...",
        help="Addresses of NATS servers.",
    ),
    click.option("--name", default="prod", show_default=True, help="The name of the fleet."),
    click.option("--credentials", type=click.Path(exists=True, dir_okay=False), help="A NATS credentials file."),
)


def takes_log_settings(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of the log, and call it with ``servers``, ``name`` and ``connection``."""

    @wraps(command)
    def collect(*args: Any, credentials: str | None, **options: Any) -> int:
        connection = {} if credentials is None else {"user_credentials": credentials}
        return command(*args, log={"connection": connection, **_taken(options, "servers", "name")}, **options)

    decorated: Any = collect
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _taken(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: options.pop(name) for name in names}


class _Warnings(logging.Handler):
    """Says the warnings of the fleet on stderr, also behind a live picture."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


_WARNINGS = _Warnings(logging.WARNING)


def show_warnings() -> None:
    """Say from now on, for example, that no server responds."""
    logging.getLogger("calls_in_progress_async.fleet").addHandler(_WARNINGS)


def load_fleet() -> ModuleType:
    """Import the fleet, which needs an extra.

    Raises:
        click.ClickException: The extra is not installed.
    """
    try:
        from .. import fleet  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    return fleet


@click.group(short_help="Share organizations between workers on several hosts.")
def fleet() -> None:
    """Share organizations and rate between worker processes, and read their events from a NATS JetStream log."""


@fleet.command(short_help="Poll this process's share of the organizations.")
@click.argument("organizations", metavar="ORG...", nargs=-1, type=ORGANIZATION)
@organizations_option
@takes_log_settings
@_interval
@click.option(
    "--lease",
    type=_POSITIVE,
    default=6.0,
    show_default=True,
    metavar="SECONDS",
    help="Silence after which another worker takes over.",
)
@click.option(
    "--shards",
    type=_AT_LEAST_ONE,
    default=64,
    show_default=True,
    metavar="N",
    help="Parts of the fleet's organizations; fixed with the first worker.",
)
@click.option("--replicas", type=_AT_LEAST_ONE, default=1, show_default=True, metavar="N", help="Copies of the log.")
@_max_age
@click.option("--worker", metavar="ID", help="The id of this worker; a random one if left out.")
@takes_client_settings
def worker(
    settings: ClientSettings,
    /,
    *,
    organizations: tuple[Organization, ...],
    organizations_file: TextIO | None,
    log: dict[str, Any],
    **options: Any,
) -> int:
    """Poll this worker's share of the organizations until SIGTERM or Ctrl-C, then hand over to the other workers.

    Name all organizations of the fleet in every worker. --rate is the rate of the whole fleet.
    """
    named = organizations_from(organizations, organizations_file)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return run(_work(settings, organizations=named, **log, **options))


async def _work(settings: ClientSettings, **options: Any) -> int:
    async with settings.client() as client:
        await load_fleet().Fleet(client, **options).run()
    return ExitCode.OK


@fleet.command(short_help="Print the events of the fleet as lines of JSON.")
@takes_log_settings
@click.option(
    "--group", default="console", show_default=True, help="The group of consumers, which resumes after its last event."
)
@click.option("--limit", type=_AT_LEAST_ONE, metavar="N", help="Stop after so many events.")
@click.option("--accept-loss", is_flag=True, help="Continue if messages were trimmed before their delivery.")
@show_numbers
def events(*, log: dict[str, Any], group: str, limit: int | None, accept_loss: bool, show_numbers: bool) -> int:
    """Print the events of the fleet as lines of JSON, and acknowledge each once it is printed.

    Callers' numbers are in the lines only with --show-numbers.
    """
    show_warnings()
    return run(_print_events(log, group, limit, accept_loss=accept_loss, show_numbers=show_numbers))


async def _print_events(
    log: dict[str, Any], group: str, limit: int | None, *, accept_loss: bool, show_numbers: bool
) -> int:
    options = {"group": group, "accept_loss": accept_loss, **log}
    async with load_fleet().FleetEvents(options.pop("servers"), **options) as found:
        printed = 0
        while printed != limit:
            event = await anext(found)
            write_json(_fields_of(event, show_numbers=show_numbers))
            await event.ack()
            printed += 1
    return ExitCode.OK


def _fields_of(event: Any, *, show_numbers: bool) -> dict[str, Any]:
    fields = {
        "id": event.id,
        "kind": event.kind,
        "organization": str(event.organization),
        "rev": event.rev,
        "at": event.at,
        "redelivered": event.redelivered,
        "transaction_id": event.call.transaction_id if event.call else None,
        "changed": sorted(event.changes),
    }
    if show_numbers and event.call is not None:
        fields["call"] = dict(event.call.raw)
    return {name: value for name, value in fields.items() if value not in (None, [])}


@fleet.command(short_help="Say what a fleet needs, before anything is deployed.")
@click.option("--organizations", type=_AT_LEAST_ONE, required=True, metavar="N", help="Number of organizations.")
@click.option("--rate", type=_POSITIVE, metavar="N", help="Requests per second that the API allows.")
@_interval
@click.option(
    "--calls",
    type=FiniteRange(min=0),
    default=5.0,
    show_default=True,
    metavar="N",
    help="Calls in progress of an organization, on average.",
)
@_max_age
@click.option(
    "--call-seconds",
    type=_POSITIVE,
    default=180.0,
    show_default=True,
    metavar="SECONDS",
    help="Length of a call, on average.",
)
@as_json
def plan(*, as_json: bool, **demands: Any) -> int:
    """Compute the staleness, workers, memory and log of a fleet.

    benchmarks/fleet.py measured the figures behind the plan.
    """
    load_fleet()
    from ..fleet.sizing import FleetPlan  # noqa: PLC0415 - needs an extra

    found = FleetPlan(**demands)
    if as_json:
        names = (
            "polls_per_second",
            "effective_interval",
            "staleness",
            "workers",
            "worker_memory",
            "shards",
            "messages_per_second",
            "log_size",
            "server_share",
        )
        write_json({name: round(getattr(found, name), 3) for name in names})
        return ExitCode.OK
    for name, text in _plan_lines(found):
        write_line(f"{name:12} {text}")
    return ExitCode.OK


def _plan_lines(plan: FleetPlan) -> Iterator[tuple[str, str]]:
    interval, days = plan.effective_interval, plan.max_age / 86400
    polls = f"{plan.polls_per_second:,.0f} a second; each organization every {interval:.1f} s"
    if interval > plan.interval:
        wanted = plan.organizations / plan.interval
        polls += f", because of the rate (every {plan.interval:g} s needs {wanted:,.0f} a second)"
    yield "polls", polls
    yield (
        "staleness",
        f"{plan.staleness:.1f} s on average, {interval:.1f} s at most; a lease more after a worker's death",
    )
    yield "workers", f"{plan.workers}, one of them to spare; {plan.worker_memory / 1e6:,.0f} MB of memory each"
    yield "shards", f"{plan.shards}: start the first worker with --shards {plan.shards}"
    kept = f"{days:g} day{'s' * (days != 1)}"
    yield "log", f"{plan.messages_per_second:,.1f} messages a second; {plan.log_size / 1e9:,.1f} GB in {kept}"
    yield "NATS server", f"{100 * plan.server_share:.0f} % of a core"
