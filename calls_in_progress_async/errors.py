"""Every error of this package, in one tree split by the caller's remedy.

All errors pickle, and none carries the token, a query string or a caller's phone number. The errors of a request have
``attempts``; those of an update have ``may_have_been_applied`` as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .attempt import Attempt


class CallsInProgressError(Exception):
    """The root of the tree.

    Attributes:
        attempts: The attempts, oldest first, with the result and the times of each; empty if nothing was sent.
        may_have_been_applied: True if the server may have carried out any attempt of an update, whatever a later
            attempt says. Always False for a find.
    """

    # Defaults are on the class, so that an error unpickles from its message and its ``__dict__`` alone.
    attempts: tuple[Attempt, ...] = ()
    may_have_been_applied: bool = False

    def __init__(self, message: str = "", **attributes: Any) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)

    @property
    def message(self) -> str:
        """The error's one line of text."""
        return str(self.args[0])


class InvalidRequestError(CallsInProgressError, ValueError):
    """An argument was rejected before anything was sent: fix the argument named in ``parameter``.

    Attributes:
        parameter: The name of the argument, in the caller's spelling.
    """

    parameter: str = ""


class ClientStateError(CallsInProgressError):
    """The client cannot be used here or now: a fault of the calling program."""


class ClientClosedError(ClientStateError):
    """The client was closed, before the call or while it was running."""


class WrongLoopError(ClientStateError):
    """The client is in use in another event loop, or was used before this process was forked."""


class RateLimitWaitError(CallsInProgressError):
    """The wait for the rate limit would be longer than ``max_wait``; nothing was sent.

    Attributes:
        estimated_wait: Seconds until the request could have been sent.
    """

    estimated_wait: float = 0.0


class SupersededError(CallsInProgressError):
    """Newer updates of the same call are waiting that overwrite every field of this one, so it is not repeated."""


class TransportError(CallsInProgressError):
    """There was no response: the network, the name service, TLS or the other side's HTTP failed."""


class ConnectionFailedError(TransportError):
    """No connection was made, so the request did not reach the server."""


class ConnectionLostError(TransportError):
    """The connection broke, or carried something other than HTTP, after it was made."""


class RequestTimeoutError(TransportError, TimeoutError):
    """An attempt took longer than ``attempt_timeout``."""


class DeadlineExceededError(RequestTimeoutError):
    """The whole call (rate limit, connection, attempts, waits, reading) took longer than ``timeout``."""


class TlsError(TransportError):
    """The TLS handshake failed, or the certificate is not trusted; never retried."""


class ResponseError(CallsInProgressError):
    """The server's response is not the expected one.

    Attributes:
        status: The HTTP status.
        request_id: The server's ``X-Request-Id``, for its support; None if there is none.
        retry_after: Seconds that the server asks to wait; None if it does not say.
    """

    status: int = 0
    request_id: str | None = None
    retry_after: float | None = None


class AuthenticationError(ResponseError):
    """401: the token is missing, wrong or revoked."""


class PermissionDeniedError(ResponseError):
    """403: the token lacks the permission."""


class RequestRejectedError(ResponseError):
    """400, 422, or a 403 with a list of fields: the server finds the arguments invalid.

    Attributes:
        field_errors: The server's complaints, by field.
    """

    field_errors: Mapping[str, Sequence[str]] = {}  # never written to


class NotFoundError(ResponseError):
    """404."""


class CallNotFoundError(NotFoundError):
    """404 on an update: no such call is in progress (any more)."""


class RateLimitedError(ResponseError):
    """429: come back after ``retry_after`` seconds, if the server says so."""


class ServerError(ResponseError):
    """5xx.

    Attributes:
        error_handle: The number for the vendor's support; None if the server gave none.
    """

    error_handle: str | None = None


class UnexpectedResponseError(ResponseError):
    """An undocumented response, or a payload that cannot be read.

    Attributes:
        path: The path of the unreadable field, such as ``current_calls[3].start_time``.
    """

    path: str | None = None


class ResponseTooLargeError(UnexpectedResponseError):
    """The decoded body is larger than ``max_response_size``; the rest was not read."""


class RedirectRefusedError(UnexpectedResponseError):
    """A redirect: never followed, because the token would go with it. Set ``base_url`` or ``network`` instead."""
