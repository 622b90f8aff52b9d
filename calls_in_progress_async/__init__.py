"""Async Python SDK for Invoca's Calls In Progress API: find the phone calls in progress, and update them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .attempt import Attempt
from .client import CallsInProgressClient
from .endpoints.current_calls import CurrentCallsRequest
from .endpoints.protocol import Endpoint
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
from .instrumentation import (
    AttemptInfo,
    ClientLevels,
    Instrumentation,
    ObservedClient,
    ObservedWatch,
    OperationInfo,
    WatchLevels,
)
from .limits.rate_limits import RateLimits
from .limits.settings import RateLimit
from .limits.snapshots import BucketSnapshot, LimiterSnapshot
from .organization import Organization
from .records import Call, CallUpdate, CurrentCalls, CustomDataField, Problem
from .transport.protocol import SendState, Transport
from .transport.retry import RetryPolicy
from .transport.tokens import TokenSource
from .transport.wire import WireRequest, WireResponse

if TYPE_CHECKING:
    from .endpoints.update_call import UpdateCallRequest
    from .find_many import FindMany, OrganizationResult
    from .watch.events import (
        CallChanged,
        CallEnded,
        CallEvent,
        CallStarted,
        OrganizationFailed,
        OrganizationRecovered,
        OrganizationResumed,
    )
    from .watch.stats import WatchStats
    from .watch.watch import Watch

__all__ = [
    "Attempt",
    "AttemptInfo",
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
    "ClientLevels",
    "ClientStateError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "CurrentCalls",
    "CurrentCallsRequest",
    "CustomDataField",
    "DeadlineExceededError",
    "Endpoint",
    "FindMany",
    "Instrumentation",
    "InvalidRequestError",
    "LimiterSnapshot",
    "NotFoundError",
    "ObservedClient",
    "ObservedWatch",
    "OperationInfo",
    "Organization",
    "OrganizationFailed",
    "OrganizationRecovered",
    "OrganizationResult",
    "OrganizationResumed",
    "PermissionDeniedError",
    "Problem",
    "RateLimit",
    "RateLimitWaitError",
    "RateLimitedError",
    "RateLimits",
    "RedirectRefusedError",
    "RequestRejectedError",
    "RequestTimeoutError",
    "ResponseError",
    "ResponseTooLargeError",
    "RetryPolicy",
    "SendState",
    "ServerError",
    "SupersededError",
    "TlsError",
    "TokenSource",
    "Transport",
    "TransportError",
    "UnexpectedResponseError",
    "UpdateCallRequest",
    "Watch",
    "WatchLevels",
    "WatchStats",
    "WireRequest",
    "WireResponse",
    "WrongLoopError",
    "__version__",
]

_LAZY = {
    **dict.fromkeys(("Fleet", "FleetEvents", "FleetView"), "fleet"),
    **dict.fromkeys(("FindMany", "OrganizationResult"), "find_many"),
    **dict.fromkeys(
        (
            "CallChanged",
            "CallEnded",
            "CallEvent",
            "CallStarted",
            "OrganizationFailed",
            "OrganizationRecovered",
            "OrganizationResumed",
        ),
        "watch.events",
    ),
    "UpdateCallRequest": "endpoints.update_call",
    "Watch": "watch.watch",
    "WatchStats": "watch.stats",
}
"""The modules of names imported on first use: the fleet needs an extra, and not every program watches or updates."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = globals()[name] = getattr(import_module(f".{_LAZY[name]}", __name__), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY} - {"TYPE_CHECKING", "Any", "import_module"})
