"""``check``: is everything right that a first request needs? Step by step, in plain words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import urlsplit

import click
from attrs import evolve
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
from .escaping import printable
from .exit_codes import ExitCode, exit_code_of
from .output import count, stdout_console, write_json
from .runner import run
from .settings import ORGANIZATION, ClientSettings, as_json, takes_client_settings, wire_format_of

_PORTS = {"https": 443, "http": 80}
_SPELLINGS = ("lower", "capitalized")
_STEP_WIDTH = 14

_TOKEN_TAKEN = Finding(step="token", said="the server takes the token")

Answers = Mapping[str, CurrentCalls | CallsInProgressError]
"""What a find came to with each spelling."""


@click.command()
@click.argument("organization", metavar="ORG", type=ORGANIZATION)
@as_json
@takes_client_settings
def check(settings: ClientSettings, /, organization: Organization, as_json: bool) -> int:
    """Check step by step what a request about ORG needs, and say what to do where a step fails.

    Host name, connection, TLS, token, organization, and which spelling of its type the server takes: it asks for
    the calls in progress twice, and changes nothing.
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
        write_json({"step": finding.step, "ok": finding.ok, "said": finding.said, "next": finding.next or None})
        return
    word, style = ("ok", "green") if finding.ok else ("FAILED", "bold red")
    console = stdout_console()
    console.print(Text.assemble((f"{word:<8}", style), f"{finding.step:<{_STEP_WIDTH}}{printable(finding.said)}"))
    if finding.next:
        console.print(Text(f"{'':8}{'next:':<{_STEP_WIDTH}}{printable(finding.next)}"))


async def _findings(settings: ClientSettings, organization: Organization) -> AsyncIterator[Finding]:
    try:
        client = settings.client()
    except InvalidRequestError as error:
        yield _of_settings(error)
        return
    yield Finding(step="settings", said=f"the host is {client.base_url}, and there is a token")
    url = urlsplit(client.base_url)
    async for finding in check_network(url.scheme, url.hostname or "", url.port or _PORTS[url.scheme]):
        yield finding
    if not finding.ok:
        return
    answers = {spelling: await _ask(settings, organization, spelling) for spelling in _SPELLINGS}
    for finding in judge(answers, organization, configured=wire_format_of(client).organization_type_case):
        yield finding


def _of_settings(error: InvalidRequestError) -> Finding:
    remedy = "see `calls-in-progress --help` for the environment variables, and `check --help` for the options"
    return Finding(step="settings", said=error.message, next=remedy, code=exit_code_of(error))


async def _ask(
    settings: ClientSettings, organization: Organization, spelling: str
) -> CurrentCalls | CallsInProgressError:
    async with evolve(settings, organization_type_case=spelling).client(retry=RetryPolicy(max_attempts=1)) as client:
        try:
            return await client.find(organization)
        except CallsInProgressError as error:
            return error


def judge(answers: Answers, organization: Organization, *, configured: str) -> list[Finding]:
    """What the answers to both spellings say of API, token, organization and spelling.

    Args:
        answers: What a find came to with each spelling.
        organization: Whose calls were asked for.
        configured: The spelling that the settings say.
    """
    found = [answer for answer in answers.values() if isinstance(answer, CurrentCalls)]
    if not found:
        return _judge_refusals(
            [answer for answer in answers.values() if isinstance(answer, CallsInProgressError)], organization
        )
    said = f"{organization} has {count(len(found[0]), 'call')} in progress"
    return [_TOKEN_TAKEN, Finding(step="organization", said=said), _judge_spelling(answers, organization, configured)]


def _judge_refusals(refusals: Sequence[CallsInProgressError], organization: Organization) -> list[Finding]:
    # A refusal of one spelling of the type says less than what the server answers to the other.
    refusal = min(refusals, key=lambda each: "organization_type" in getattr(each, "field_errors", ()))
    match refusal:
        case AuthenticationError():
            step, said = "token", f"the server does not take the token: {refusal.message}"
            remedy = "copy the API token from the platform again, without spaces; is it of this network?"
        case RequestRejectedError() | PermissionDeniedError():
            step, said = "organization", f"{organization} is refused: {refusal.message}"
            remedy = _remedy(refusal, organization)
        case NotFoundError() | RedirectRefusedError() | UnexpectedResponseError():
            step, said = "API", f"this does not answer as the API does: {refusal.message}"
            remedy = "is this the host of the API? Set --network or --base-url"
        case _:
            step, said = "API", f"no answer was had: {refusal.message}"
            remedy = "the network, the server or what stands between is at fault: try again later, or elsewhere"
    failed = Finding(step=step, said=said, next=remedy, code=exit_code_of(refusal))
    return [_TOKEN_TAKEN, failed] if step == "organization" else [failed]


def _remedy(refusal: CallsInProgressError, organization: Organization) -> str:
    if isinstance(refusal, PermissionDeniedError):
        return "ask whoever made the token on the platform to let it see this organization"
    other = "a network" if organization.type == "advertiser" else "an advertiser"
    return f"is the id right, is it of {other} rather, and is it one that this token is for?"


def _judge_spelling(answers: Answers, organization: Organization, configured: str) -> Finding:
    works = [spelling for spelling, answer in answers.items() if not isinstance(answer, CallsInProgressError)]
    if len(works) == len(answers):
        return Finding(step="spelling", said=f"any spelling of the type will do; {configured} is set")
    kind = organization.type if works[0] == "lower" else organization.type.capitalize()
    if configured in works:
        return Finding(step="spelling", said=f"the server wants {kind}, and {configured} is set")
    return Finding(
        step="spelling",
        said=f"the server wants {kind}, but {configured} is set",
        next=f"set CALLS_IN_PROGRESS_ORGANIZATION_TYPE_CASE={works[0]}, or pass --organization-type-case {works[0]}",
        code=ExitCode.FAILED,
    )
