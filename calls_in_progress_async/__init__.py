"""Async Python SDK for Invoca's Calls In Progress API: find the phone calls that are live right now, update them."""

from ._version import __version__
from .attempts import Attempt
from .client import CallsInProgressClient
from .endpoints.current_calls import CurrentCallsRequest
from .endpoints.update_call import UpdateCallRequest
from .errors import (
    AuthenticationError,
    CallNotFoundError,
    CallsInProgressError,
    ClientClosedError,
    ClientStateError,
    ConnectionFailedError,
    ConnectionLostError,
    DeadlineExceededError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RateLimitWaitError,
    RedirectRefusedError,
    RequestRejectedError,
    RequestTimeoutError,
    ResponseError,
    ResponseTooLargeError,
    ServerError,
    SupersededError,
    TlsError,
    TransportError,
    UnexpectedResponseError,
    WrongLoopError,
)
from .limits.rate_limits import RateLimit
from .organization import Organization
from .records import Call, CallUpdate, CurrentCalls, CustomDataField, Problem
from .transport.retry import RetryPolicy

__all__ = [
    "Attempt",
    "AuthenticationError",
    "Call",
    "CallNotFoundError",
    "CallUpdate",
    "CallsInProgressClient",
    "CallsInProgressError",
    "ClientClosedError",
    "ClientStateError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "CurrentCalls",
    "CurrentCallsRequest",
    "CustomDataField",
    "DeadlineExceededError",
    "InvalidRequestError",
    "NotFoundError",
    "Organization",
    "PermissionDeniedError",
    "Problem",
    "RateLimit",
    "RateLimitWaitError",
    "RateLimitedError",
    "RedirectRefusedError",
    "RequestRejectedError",
    "RequestTimeoutError",
    "ResponseError",
    "ResponseTooLargeError",
    "RetryPolicy",
    "ServerError",
    "SupersededError",
    "TlsError",
    "TransportError",
    "UnexpectedResponseError",
    "UpdateCallRequest",
    "WrongLoopError",
    "__version__",
]
