"""``list``: the calls in progress of some organizations, or of very many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import TextIO

import click
from attrs import frozen
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..client import CallsInProgressClient
from ..endpoints.current_calls import CurrentCallsRequest
from ..errors import CallsInProgressError, InvalidRequestError
from ..find_many import OrganizationResult
from ..organization import Organization
from ..records import CurrentCalls
from .call_table import Row, call_table
from .exit_codes import ExitCode, combined, report
from .organizations_file import organizations_from
from .output import count, is_live, say, stderr_console, stdout_console, write_json
from .runner import run
from .settings import ORGANIZATION, ClientSettings, as_json, show_numbers, takes_client_settings

_MAX_IN_FLIGHT = 64


@frozen(kw_only=True)
class ListOptions:
    """What is to be listed, and how."""

    organizations: Sequence[Organization]
    filters: Mapping[str, str]
    as_json: bool
    masked: bool


@click.command("list")
@click.argument("organizations", metavar="ORG...", nargs=-1, type=ORGANIZATION)
@click.option("--transaction-id", metavar="ID", help="Only the call with the API's own id.")
@click.option("--external-unique-id", metavar="ID", help="Only the call with an id of your own.")
@click.option("--calling-phone-number", metavar="NUMBER", help="Only calls of this caller; with the next one.")
@click.option("--destination-phone-number", metavar="NUMBER", help="Only calls transferred to this number.")
@click.option(
    "--all-from",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="Organizations, one a line; - is stdin. What follows a # is a comment.",
)
@as_json
@show_numbers
@takes_client_settings
def list_calls(
    settings: ClientSettings,
    /,
    *,
    organizations: tuple[Organization, ...],
    all_from: TextIO | None,
    as_json: bool,
    show_numbers: bool,
    **filters: str | None,
) -> int:
    """List the calls in progress of each ORG, such as advertiser:25.

    With --json, a line is {"organization": ..., "call": the exact payload}. An organization that fails is told of on
    stderr and the others go on. A filter that finds nothing anywhere exits with 4.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    listing = ListOptions(
        organizations=organizations_from(organizations, all_from),
        filters=given,
        as_json=as_json,
        masked=not show_numbers,
    )
    return run(_list(settings, listing))


async def _list(settings: ClientSettings, listing: ListOptions) -> int:
    rows: list[Row] = []
    codes: set[ExitCode] = set()
    found = failed = 0
    with _progress_bar(listing) as advance:
        async with settings.client() as client, aclosing(_ask(client, listing)) as answers:
            async for organization, answer in answers:
                if isinstance(answer, CallsInProgressError):
                    failed += 1
                    codes.add(report(answer, organization))
                else:
                    found += len(answer)
                    rows += _take(organization, answer, listing)
                advance()
    _print_table(rows, listing)
    answered = count(len(listing.organizations) - failed, "organization")
    say(f"{count(found, 'call')} in progress in {answered}" + (f"; {failed} failed" if failed else ""))
    if listing.filters and not (found or codes):
        return ExitCode.NO_SUCH_CALL
    return combined(codes)


@contextmanager
def _progress_bar(listing: ListOptions) -> Iterator[Callable[[], None]]:
    """Show how many organizations have answered. Call what it gives for each that has."""
    console = stderr_console()
    # Lines of JSON on the same terminal would run into it. A disabled Progress would end with an empty one.
    if not is_live(console) or (listing.as_json and stdout_console().is_terminal):
        yield lambda: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("asking", total=len(listing.organizations))
        yield lambda: progress.advance(task)


def _take(organization: Organization, found: CurrentCalls, listing: ListOptions) -> list[Row]:
    """Write calls out at once, as JSON, or give them back as rows of the table to come."""
    for problem in found.problems:
        say(f"note: {organization}: {problem.path}: {problem.reason}")
    if not listing.as_json:
        return [Row(organization, call) for call in found]
    for call in found:
        write_json({"organization": str(organization)}, call=call.raw_json)
    return []


def _print_table(rows: list[Row], listing: ListOptions) -> None:
    if not rows:
        return
    place = {organization: number for number, organization in enumerate(listing.organizations)}
    rows.sort(key=lambda row: place[row.organization])
    console = stdout_console()
    console.print(call_table(rows, width=console.width, masked=listing.masked))


async def _ask(
    client: CallsInProgressClient, listing: ListOptions
) -> AsyncGenerator[tuple[Organization, CurrentCalls | CallsInProgressError], None]:
    """Ask each organization; the answers come as they complete."""
    if listing.filters:
        for batch in _batches(listing.organizations):
            answers = await asyncio.gather(*(_find(client, each, listing.filters) for each in batch))
            for pair in zip(batch, answers, strict=True):
                yield pair
        return
    async with client.find_many(listing.organizations, max_in_flight=_MAX_IN_FLIGHT) as results:
        async for result in results:
            yield result.organization, _answer(result)


def _answer(result: OrganizationResult) -> CurrentCalls | CallsInProgressError:
    if result.calls is not None:
        return result.calls
    if isinstance(result.error, CallsInProgressError):
        return result.error
    raise result.error or RuntimeError("a result without calls or error")


def _batches(organizations: Sequence[Organization]) -> Iterator[Sequence[Organization]]:
    for start in range(0, len(organizations), _MAX_IN_FLIGHT):
        yield organizations[start : start + _MAX_IN_FLIGHT]


async def _find(
    client: CallsInProgressClient, organization: Organization, filters: Mapping[str, str]
) -> CurrentCalls | CallsInProgressError:
    try:
        return await client.send(CurrentCallsRequest(organization=organization, **filters))
    except InvalidRequestError:
        raise  # the filters are at fault, for all organizations alike
    except CallsInProgressError as error:
        return error
