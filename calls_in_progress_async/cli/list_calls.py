"""``list``: the calls in progress of some organizations, or of very many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import TextIO

import click
from attrs import frozen
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .. import clock
from ..client import CallsInProgressClient
from ..endpoints.current_calls import CurrentCallsRequest
from ..errors import CallsInProgressError, InvalidRequestError
from ..find_many import OrganizationResult
from ..organization import Organization
from ..records import CurrentCalls
from .call_table import Row, TableOptions, print_table
from .columns import Column, View
from .error_reports import report
from .exit_codes import ExitCode, combined
from .options import ORGANIZATION, as_json, choose_columns, organizations_option, show_numbers
from .organizations_file import organizations_from
from .output import count, is_live, say, stderr_console, stdout_console, write_json
from .runner import run
from .settings import ClientSettings, takes_client_settings

_MAX_IN_FLIGHT = 64
_PROBLEMS_SHOWN = 5
"""Unreadable fields reported for each organization."""


@frozen(kw_only=True)
class ListOptions:
    """The organizations and calls to list, and the form of the output."""

    organizations: Sequence[Organization]
    filters: Mapping[str, str]
    as_json: bool
    table: TableOptions


@click.command("list", short_help="Show the calls in progress.")
@click.argument("organizations", metavar="ORG...", nargs=-1, type=ORGANIZATION)
@organizations_option
@click.option("--transaction-id", metavar="ID", help="Only the call with this id of the API.")
@click.option("--external-unique-id", metavar="ID", help="Only the call with this id of your own.")
@click.option("--calling-phone-number", metavar="NUMBER", help="Only calls of this caller; with the next one.")
@click.option("--destination-phone-number", metavar="NUMBER", help="Only calls transferred to this number.")
@choose_columns
@as_json
@show_numbers
@takes_client_settings
def list_calls(
    settings: ClientSettings,
    /,
    *,
    organizations: tuple[Organization, ...],
    organizations_file: TextIO | None,
    columns: Sequence[Column] | None,
    as_json: bool,
    show_numbers: bool,
    **filters: str | None,
) -> int:
    """List the calls in progress of each ORG, such as advertiser:25.

    With --json, a line is {"organization": ..., "call": the exact payload}. Failures are reported on stderr; other
    organizations continue. A filter without any result exits with 4.
    """
    options = ListOptions(
        organizations=organizations_from(organizations, organizations_file),
        filters={name: value for name, value in filters.items() if value is not None},
        as_json=as_json,
        table=TableOptions(masked=not show_numbers, columns=columns),
    )
    return run(_list(settings, options))


async def _list(settings: ClientSettings, options: ListOptions) -> int:
    rows: list[Row] = []
    codes: set[ExitCode] = set()
    found = failed = 0
    with _progress_bar(options) as advance:
        async with settings.client() as client, aclosing(_results(client, options)) as results:
            async for organization, result in results:
                if isinstance(result, CallsInProgressError):
                    failed += 1
                    codes.add(report(result, organization))
                else:
                    found += len(result)
                    rows += _collect(organization, result, options)
                advance()
    _print_rows(rows, options)
    found_in = count(len(options.organizations) - failed, "organization")
    say(f"{count(found, 'call')} in progress in {found_in}" + (f"; {failed} failed" if failed else ""))
    if options.filters and not (found or codes):
        return ExitCode.NO_SUCH_CALL
    return combined(codes)


@contextmanager
def _progress_bar(options: ListOptions) -> Iterator[Callable[[], None]]:
    """Show a progress bar. Yield a function to call after each organization."""
    console = stderr_console()
    # Lines of JSON on the same terminal would run into the bar. A disabled Progress would end with an empty line.
    if not is_live(console) or (options.as_json and stdout_console().is_terminal):
        yield lambda: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("asking", total=len(options.organizations))
        yield lambda: progress.advance(task)


def _collect(organization: Organization, found: CurrentCalls, options: ListOptions) -> list[Row]:
    """Write calls at once as JSON, or return them as rows of the table."""
    _report_problems(organization, found)
    if not options.as_json:
        return [Row(organization, call) for call in found]
    for call in found:
        write_json({"organization": str(organization)}, call=call.raw_json)
    return []


def _report_problems(organization: Organization, found: CurrentCalls) -> None:
    notes = [f"{problem.path}: {problem.reason}" for problem in found.problems]
    for call in found:
        notes += [f"call {call.transaction_id}: {problem.path}: {problem.reason}" for problem in call.problems]
    for note in notes[:_PROBLEMS_SHOWN]:
        say(f"note: {organization}: {note}")
    if len(notes) > _PROBLEMS_SHOWN:
        say(f"note: {organization}: {count(len(notes) - _PROBLEMS_SHOWN, 'more unreadable field')}")


def _print_rows(rows: list[Row], options: ListOptions) -> None:
    if not rows:
        return
    order = {organization: number for number, organization in enumerate(options.organizations)}
    rows.sort(key=lambda row: order[row.organization])
    view = View(now=clock.utc_now(), masked=options.table.masked)
    print_table(stdout_console(), rows, view, options.table.columns)


async def _results(
    client: CallsInProgressClient, options: ListOptions
) -> AsyncGenerator[tuple[Organization, CurrentCalls | CallsInProgressError], None]:
    """Find the calls of each organization; yield the results as they complete."""
    if options.filters:
        for batch in _batches(options.organizations):
            results = await asyncio.gather(*(_find(client, each, options.filters) for each in batch))
            for pair in zip(batch, results, strict=True):
                yield pair
        return
    async with client.find_many(options.organizations, max_in_flight=_MAX_IN_FLIGHT) as many:
        async for result in many:
            yield result.organization, _calls_or_error(result)


def _calls_or_error(result: OrganizationResult) -> CurrentCalls | CallsInProgressError:
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
