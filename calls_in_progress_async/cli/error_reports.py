"""Errors in words: the problem in the command line's own terms, and a hint for the next step."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .. import errors
from .exit_codes import ExitCode, exit_code_of
from .output import say

_CHECK = "`calls-in-progress check ORG` tries each step and names the one at fault"
_HINTS: tuple[tuple[type[errors.CallsInProgressError], str], ...] = (
    (errors.AuthenticationError, f"is CALLS_IN_PROGRESS_TOKEN right, and for this organization? {_CHECK}"),
    (errors.PermissionDeniedError, "the token is known but has no permission: ask its owner on the platform"),
    (errors.CallNotFoundError, "the call may have ended; `calls-in-progress list ORG` shows the calls in progress"),
    (errors.RequestRejectedError, _CHECK),
    (errors.NotFoundError, f"is this the right host? {_CHECK}"),
    (errors.RateLimitedError, "send fewer requests, with --rate"),
    (errors.RedirectRefusedError, "is this the right host? Set --base-url or --network"),
    (errors.ResponseTooLargeError, "ask for fewer calls, with a filter"),
    (errors.UnexpectedResponseError, f"is there a Calls In Progress API at this host? {_CHECK}"),
    (errors.ServerError, "the server is at fault: try again later"),
    (errors.DeadlineExceededError, "allow more time, with --timeout"),
    (errors.TransportError, _CHECK),
)
_FLAGS = {
    "custom_data": "--set",
    "custom_data name": "--set NAME",
    "base_url": "--base-url (CALLS_IN_PROGRESS_BASE_URL)",
    "network": "--network (CALLS_IN_PROGRESS_NETWORK)",
    "organization_type_case": "--organization-type-case (CALLS_IN_PROGRESS_ORGANIZATION_TYPE_CASE)",
    "token": "CALLS_IN_PROGRESS_TOKEN",
    "organization": "ORG",
    "id": "ORG",
    "type": "ORG",
    "path": "FILE",
}
"""The flag or variable of each Python parameter with a different name."""
_PYTHON_REMEDY = re.compile(r" or pass None if there is none| or None\b")
_PYTHON_ARGUMENT = re.compile(r"\b([a-z_]+)=(?=\d)")
_IN_TEXT = re.compile(r"(?<![\w\"'`-])(?:new_external_unique_id|\w+_(?:id|number|data|url|case))\b(?![\"'`\[])")


def report(error: errors.CallsInProgressError, subject: object = None) -> ExitCode:
    """Report an error on stderr: the problem, further facts, and a hint.

    Args:
        error: The error.
        subject: The error's subject, such as one of many organizations.

    Returns:
        The exit code for the error.
    """
    say(f"error: {'' if subject is None else f'{subject}: '}{message_of(error)}")
    for note in _notes(error):
        say(f"note: {note}")
    if hint := _hint(error):
        say(f"hint: {hint}")
    return exit_code_of(error)


def message_of(error: errors.CallsInProgressError) -> str:
    """Return an error's message, with flags in place of Python's parameters."""
    if not isinstance(error, errors.InvalidRequestError):
        return error.message
    return f"{_flag_of(error.parameter)} {problem_of(error)}"


def problem_of(error: errors.InvalidRequestError) -> str:
    """Return an error's message after the name of its parameter, without Python's own remedies."""
    problem = _PYTHON_REMEDY.sub("", error.message.removeprefix(error.parameter).strip())
    problem = _PYTHON_ARGUMENT.sub(lambda found: f"{_short(found[1])} ", problem)
    return _IN_TEXT.sub(lambda found: _short(found[0]), problem)


def _flag_of(parameter: str) -> str:
    if parameter.startswith("custom_data["):
        return f"--set {parameter.removeprefix('custom_data[').removesuffix(']')}"
    return _FLAGS.get(parameter, f"--{parameter.replace('_', '-')}")


def _short(parameter: str) -> str:
    return _flag_of(parameter).partition(" (")[0]


def _notes(error: errors.CallsInProgressError) -> Iterable[str]:
    if error.may_have_been_applied:
        yield "the server may have carried out the update all the same"
    if isinstance(error, errors.ServerError) and error.error_handle:
        yield f"the vendor's support asks for the error handle: {error.error_handle}"
    if isinstance(error, errors.ResponseError) and error.request_id:
        yield f"request id {error.request_id}"


def _hint(error: errors.CallsInProgressError) -> str:
    if any("organization_type" in note for note in getattr(error, "__notes__", ())):
        return "try --organization-type-case capitalized (or lower); `calls-in-progress check ORG` tries both"
    return next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
