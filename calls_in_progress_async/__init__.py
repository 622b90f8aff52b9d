"""Async Python SDK for Invoca's Calls In Progress API: find the phone calls that are live right now, update them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .attempt import Attempt
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
from .limits.rate_limits import LimiterSnapshot, RateLimit, RateLimiter
from .limits.token_bucket import BucketSnapshot
from .organization import Organization
from .records import Call, CallUpdate, CurrentCalls, CustomDataField, Problem
from .transport.retry import RetryPolicy

if TYPE_CHECKING:
    from .find_many import OrganizationResult
    from .watch.events import (
        CallChanged,
        CallEnded,
        CallEvent,
        CallStarted,
        OrganizationFailed,
        OrganizationRecovered,
    )
    from .watch.stats import WatchStats
    from .watch.watch import Watch

__all__ = [
    "Attempt",
    "AuthenticationError",
    "BucketSnapshot",
    "Call",
    "CallChanged",
    "CallEnded",
    "CallEvent",
    "CallNotFoundError",
    "CallStarted",
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
    "LimiterSnapshot",
    "NotFoundError",
    "Organization",
    "OrganizationFailed",
    "OrganizationRecovered",
    "OrganizationResult",
    "PermissionDeniedError",
    "Problem",
    "RateLimit",
    "RateLimitWaitError",
    "RateLimitedError",
    "RateLimiter",
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
    "Watch",
    "WatchStats",
    "WrongLoopError",
    "__version__",
]

_IMPORTED_WHEN_USED = {
    "CallChanged": "events",
    "CallEnded": "events",
    "CallEvent": "events",
    "CallStarted": "events",
    "OrganizationFailed": "events",
    "OrganizationRecovered": "events",
    "OrganizationResult": "find_many",
    "Watch": "watch",
    "WatchStats": "stats",
}


def __getattr__(name: str) -> Any:
    """Import the names of polling when they are used: a third of the time that the package takes to import."""
    if name not in _IMPORTED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _IMPORTED_WHEN_USED[name]
    if module != "find_many":  # who names these will watch: better now than amid the running loop
        import_module(".watch.watch", __name__)
    return getattr(import_module(f".{module}" if module == "find_many" else f".watch.{module}", __name__), name)
