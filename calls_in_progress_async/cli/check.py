"""``check``: the conditions of a first request, step by step, in plain words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import urlsplit

import click
from attrs import evolve
from rich.table import Table
from rich.text import Text

from .. import RetryPolicy
from ..errors import (
    AuthenticationError,
    CallsInProgressError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RedirectRefusedError,
    RequestRejectedError,
    UnexpectedResponseError,
)
from ..organization import Organization
from ..records import CurrentCalls
from .diagnostics import Finding, check_network
from .error_reports import message_of
from .escaping import printable
from .exit_codes import ExitCode, exit_code_of
from .options import ORGANIZATION, as_json
from .output import count, stdout_console, write_json
from .runner import run
from .settings import ClientSettings, takes_client_settings, wire_format_of

_PORTS = {"https": 443, "http": 80}
_SPELLINGS = ("lower", "capitalized")
_WORD_WIDTH, _STEP_WIDTH = 6, 12

_TOKEN_ACCEPTED = Finding(step="token", message="the server accepts the token")

Results = Mapping[str, CurrentCalls | CallsInProgressError]
"""The result of a find with each spelling of the type."""


@click.command(short_help="Check host, token and organization, step by step.")
@click.argument("organization", metavar="ORG", type=ORGANIZATION)
@as_json
@takes_client_settings
def check(settings: ClientSettings, /, organization: Organization, as_json: bool) -> int:
    """Check the conditions of a request about ORG step by step, and say how to fix the first failure.

    The steps are host name, connection, TLS, token, organization, and the spelling of its type. It finds the calls in
    progress twice, and changes nothing.
    """
    return run(_check(settings, organization, as_json=as_json))


async def _check(settings: ClientSettings, organization: Organization, *, as_json: bool) -> int:
    code = ExitCode.OK
    async for finding in _findings(settings, organization):
        _write(finding, as_json=as_json)
        if not finding.ok:
            code = finding.code
    return code


def _write(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        write_json({"step": finding.step, "ok": finding.ok, "message": finding.message, "next": finding.remedy or None})
        return
    word, style = ("ok", "green") if finding.ok else ("FAILED", "bold red")
    table = Table.grid(padding=(0, 2, 0, 0))
    for width in (_WORD_WIDTH, _STEP_WIDTH, None):
        table.add_column(width=width)
    table.add_row(Text(word, style), finding.step, Text(printable(finding.message)))
    if finding.remedy:
        table.add_row("", "next:", Text(printable(finding.remedy)))
    stdout_console().print(table)


async def _findings(settings: ClientSettings, organization: Organization) -> AsyncIterator[Finding]:
    try:
        client = settings.client()
    except InvalidRequestError as error:
        yield _settings_failure(error)
        return
    yield Finding(step="settings", message=f"the host is {client.base_url}, and there is a token")
    url = urlsplit(client.base_url)
    async for finding in check_network(url.scheme, url.hostname or "", url.port or _PORTS[url.scheme]):
        yield finding
    if not finding.ok:
        return
    results = {spelling: await _find(settings, organization, spelling) for spelling in _SPELLINGS}
    for finding in conclude(results, organization, configured=wire_format_of(client).organization_type_case):
        yield finding


def _settings_failure(error: InvalidRequestError) -> Finding:
    remedy = "see `calls-in-progress --help` for the environment variables, and `check --help` for the options"
    return Finding(step="settings", message=message_of(error), remedy=remedy, code=exit_code_of(error))


async def _find(
    settings: ClientSettings, organization: Organization, spelling: str
) -> CurrentCalls | CallsInProgressError:
    async with evolve(settings, organization_type_case=spelling).client(retry=RetryPolicy(max_attempts=1)) as client:
        try:
            return await client.find(organization)
        except CallsInProgressError as error:
            return error


def conclude(results: Results, organization: Organization, *, configured: str) -> list[Finding]:
    """Draw the findings about API, token, organization and spelling.

    Args:
        results: The result of a find with each spelling.
        organization: The organization of the finds.
        configured: The spelling in the settings.
    """
    found = [result for result in results.values() if isinstance(result, CurrentCalls)]
    if not found:
        errors = [result for result in results.values() if isinstance(result, CallsInProgressError)]
        return _conclude_from_errors(errors, organization)
    calls = Finding(step="organization", message=f"{organization} has {count(len(found[0]), 'call')} in progress")
    return [_TOKEN_ACCEPTED, calls, _conclude_spelling(results, organization, configured)]


def _conclude_from_errors(errors: Sequence[CallsInProgressError], organization: Organization) -> list[Finding]:
    # A rejected spelling says less than the server's response to the other one.
    error = min(errors, key=lambda each: "organization_type" in getattr(each, "field_errors", ()))
    match error:
        case AuthenticationError():
            step, message = "token", f"the server does not accept the token: {error.message}"
            remedy = "copy the API token from the platform again, without spaces; is it of this network?"
        case RequestRejectedError() | PermissionDeniedError():
            step, message = "organization", f"{organization} is rejected: {error.message}"
            remedy = _remedy(error, organization)
        case NotFoundError() | RedirectRefusedError() | UnexpectedResponseError():
            step, message = "API", f"the response is not of the API: {error.message}"
            remedy = "is this the host of the API? Set --network or --base-url"
        case _:
            step, message = "API", f"no good response: {error.message}"
            remedy = "the network, the server or something between is at fault: try again later, or elsewhere"
    failure = Finding(step=step, message=message, remedy=remedy, code=exit_code_of(error))
    return [_TOKEN_ACCEPTED, failure] if step == "organization" else [failure]


def _remedy(error: CallsInProgressError, organization: Organization) -> str:
    if isinstance(error, PermissionDeniedError):
        return "ask the token's owner on the platform for access to this organization"
    other = "a network" if organization.type == "advertiser" else "an advertiser"
    return f"is the id right, is it of {other} rather, and is the token for this organization?"


def _conclude_spelling(results: Results, organization: Organization, configured: str) -> Finding:
    works = [spelling for spelling, result in results.items() if not isinstance(result, CallsInProgressError)]
    if len(works) == len(results):
        return Finding(step="spelling", message=f"the server accepts any spelling of the type; {configured} is set")
    kind = organization.type if works[0] == "lower" else organization.type.capitalize()
    if configured in works:
        return Finding(step="spelling", message=f"the server wants {kind}, and {configured} is set")
    return Finding(
        step="spelling",
        message=f"the server wants {kind}, but {configured} is set",
        remedy=f"set CALLS_IN_PROGRESS_ORGANIZATION_TYPE_CASE={works[0]}, or pass --organization-type-case {works[0]}",
        code=ExitCode.FAILED,
    )
