"""What a command comes to: exit codes, and errors in words that say what to do next."""

from __future__ import annotations

from enum import IntEnum

from .. import errors
from .output import say


class ExitCode(IntEnum):
    """How a command ended. The epilog of ``--help`` lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TOKEN = 3
    NO_SUCH_CALL = 4
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


# \b keeps click from joining the lines.
EPILOG = """\b
Exit codes:
    0  done
    1  the API refused, or could not be reached
    2  the command line or a setting is wrong; nothing was sent
    3  the token is missing, or the API does not take it
    4  the call that was named is not in progress
  130  Ctrl-C (128 + SIGINT)
  141  the reader of the output went away (128 + SIGPIPE)
  143  terminated (128 + SIGTERM)

\b
The token is read from the environment only:
  CALLS_IN_PROGRESS_TOKEN       the token itself, or
  CALLS_IN_PROGRESS_TOKEN_FILE  a file that holds it
CALLS_IN_PROGRESS_BASE_URL, CALLS_IN_PROGRESS_NETWORK and
CALLS_IN_PROGRESS_ORGANIZATION_TYPE_CASE stand in for options.
"""

_CHECK = "`calls-in-progress check ORG` tries each step and says which one fails"
_HINTS: tuple[tuple[type[errors.CallsInProgressError], str], ...] = (
    (errors.AuthenticationError, f"is CALLS_IN_PROGRESS_TOKEN right, and for this organization? {_CHECK}"),
    (errors.PermissionDeniedError, "the token is known, but may not do this: ask whoever made it on the platform"),
    (errors.CallNotFoundError, "the call may have ended; `calls-in-progress list ORG` shows those in progress"),
    (errors.RequestRejectedError, _CHECK),
    (errors.NotFoundError, f"is this the right host? {_CHECK}"),
    (errors.RateLimitedError, "send fewer requests, with --rate"),
    (errors.RedirectRefusedError, "is this the right host? Set --base-url or --network"),
    (errors.ResponseTooLargeError, "ask for fewer calls, with a filter"),
    (errors.UnexpectedResponseError, f"is there a Calls In Progress API at this host? {_CHECK}"),
    (errors.ServerError, "the trouble is the server's: try again later"),
    (errors.DeadlineExceededError, "give it more time, with --timeout"),
    (errors.TransportError, _CHECK),
)


def exit_code_of(error: errors.CallsInProgressError) -> ExitCode:
    """The exit code that an error means."""
    match error:
        case errors.InvalidRequestError():
            return ExitCode.TOKEN if error.parameter == "token" else ExitCode.USAGE
        case errors.AuthenticationError() | errors.PermissionDeniedError():
            return ExitCode.TOKEN
        case errors.CallNotFoundError():
            return ExitCode.NO_SUCH_CALL
        case _:
            return ExitCode.FAILED


def combined(codes: set[ExitCode]) -> ExitCode:
    """One exit code for several outcomes: theirs if they agree, else that something failed."""
    failures = codes - {ExitCode.OK}
    if not failures:
        return ExitCode.OK
    return failures.pop() if len(failures) == 1 else ExitCode.FAILED


def report(error: errors.CallsInProgressError, subject: object = None) -> ExitCode:
    """Tell of an error on stderr: what it is, what is known beside, and what to do about it.

    Args:
        error: The error.
        subject: What it is about, such as one of many organizations.

    Returns:
        The exit code that it means.
    """
    say(f"error: {'' if subject is None else f'{subject}: '}{error.message}")
    for note in _notes(error):
        say(f"note: {note}")
    if hint := _hint(error):
        say(f"hint: {hint}")
    return exit_code_of(error)


def _notes(error: errors.CallsInProgressError) -> list[str]:
    notes = []
    if error.may_have_been_applied:
        notes.append("the update may have been carried out all the same")
    if isinstance(error, errors.ServerError) and error.error_handle:
        notes.append(f"the vendor's support asks for the error handle: {error.error_handle}")
    if isinstance(error, errors.ResponseError) and error.request_id:
        notes.append(f"request id {error.request_id}")
    return notes


def _hint(error: errors.CallsInProgressError) -> str:
    if any("organization_type" in note for note in getattr(error, "__notes__", ())):
        return "try --organization-type-case capitalized (or lower); `calls-in-progress check ORG` tries both"
    return next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
