"""Exit codes: one for each way in which a command ends."""

from __future__ import annotations

from enum import IntEnum

from .. import errors


class ExitCode(IntEnum):
    """The result of a command. The epilog of ``--help`` lists them."""

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
    1  the API rejected the request, or could not be reached
    2  the command line or a setting is wrong; nothing was sent
    3  the token is missing, or the API does not accept it
    4  the named call is not in progress
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


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code for an error."""
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
    """Return one exit code for several results: the common code of all failures, else `FAILED`."""
    failures = codes - {ExitCode.OK}
    if not failures:
        return ExitCode.OK
    return failures.pop() if len(failures) == 1 else ExitCode.FAILED
