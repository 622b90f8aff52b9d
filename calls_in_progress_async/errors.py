"""Every error of this package, in one tree that is split by what a caller would do about it.

All of them pickle, and none carries the token, a query string or a caller's phone number. What a request raises
has ``attempts``; what an update raises has ``may_have_been_applied`` as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .attempt import Attempt


class CallsInProgressError(Exception):
    """The root of the tree.

    Attributes:
        attempts: What each attempt came to and where its time went, oldest first; empty where nothing was sent.
        may_have_been_applied: Of an update: True from the moment one attempt may have been carried out by the
            server, whatever a later attempt says. Always False for a find.
    """

    # Defaults stand on the class, so an error unpickles from its message and its ``__dict__`` alone.
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
    """Refused before anything was sent: mend the argument that ``parameter`` names.

    Attributes:
        parameter: The name of the argument, as the caller spells it.
    """

    parameter: str = ""


class ClientStateError(CallsInProgressError):
    """The client cannot be used here or now: a fault of the program that uses it."""


class ClientClosedError(ClientStateError):
    """The client was closed, before the call or while it was running."""


class WrongLoopError(ClientStateError):
    """The client belongs to another event loop or to the process that forked this one."""


class RateLimitWaitError(CallsInProgressError):
    """The wait for the rate limit would be longer than allowed; nothing was sent.

    Attributes:
        estimated_wait: Seconds until the request could have been sent.
    """

    estimated_wait: float = 0.0


class SupersededError(CallsInProgressError):
    """A newer update of the same call is waiting, so repeating this one could have overwritten it."""


class TransportError(CallsInProgressError):
    """No answer was had: the network, the name service, TLS or the other side's HTTP failed."""


class ConnectionFailedError(TransportError):
    """No connection was made, so the request surely did not reach the server."""


class ConnectionLostError(TransportError):
    """The connection broke, or talked something that is not HTTP, after it was made."""


class RequestTimeoutError(TransportError, TimeoutError):
    """An attempt took longer than ``attempt_timeout``."""


class DeadlineExceededError(RequestTimeoutError):
    """The whole call (limiter, connection, attempts and waits) took longer than ``timeout``."""


class TlsError(TransportError):
    """TLS could not be agreed on, or the certificate is not to be trusted; never retried."""


class ResponseError(CallsInProgressError):
    """The server answered, with something other than what was asked for.

    Attributes:
        status: The HTTP status.
        request_id: The server's ``X-Request-Id``, for its support; None where it sent none.
        retry_after: Seconds the server asks to wait; None where it does not say.
    """

    status: int = 0
    request_id: str | None = None
    retry_after: float | None = None


class AuthenticationError(ResponseError):
    """401: the token is missing, wrong or revoked."""


class PermissionDeniedError(ResponseError):
    """403: the token may not do this."""


class RequestRejectedError(ResponseError):
    """400, 422, or a 403 that lists fields: the server finds the arguments invalid.

    Attributes:
        field_errors: What the server says of each field.
    """

    field_errors: Mapping[str, Sequence[str]] = {}  # never written to


class NotFoundError(ResponseError):
    """404."""


class CallNotFoundError(NotFoundError):
    """404 on an update: no such call is in progress (any more)."""


class RateLimitedError(ResponseError):
    """429: ``retry_after`` says when to come back, if the server does."""


class ServerError(ResponseError):
    """5xx.

    Attributes:
        error_handle: The number that the vendor's support asks for; None where the server gave none.
    """

    error_handle: str | None = None


class UnexpectedResponseError(ResponseError):
    """An answer that the API does not document, or a payload that cannot be read (``path`` says where).

    Attributes:
        path: The field path of what could not be read, such as ``current_calls[3].start_time``.
    """

    path: str | None = None


class ResponseTooLargeError(UnexpectedResponseError):
    """The decoded body is larger than ``max_response_size``; the rest was not read."""


class RedirectRefusedError(UnexpectedResponseError):
    """A redirect: never followed, since the token would go with it. Set ``base_url`` or ``network`` instead."""
