"""Instrumentation: hooks around operations and attempts, for traces, metrics and logs of your own.

An operation is one call of the client (``find``, ``update``, ``poll``); an attempt is one request on the wire. Pass
hooks as ``CallsInProgressClient(instrumentation=[...])``. Without hooks an operation pays for one comparison, and each
of its attempts for one more. `calls_in_progress_async.opentelemetry` has hooks for OpenTelemetry.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from types import TracebackType
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from attrs import define, field

from . import validation
from .attempt import Attempt
from .organization import Organization

logger: logging.Logger = logging.getLogger("calls_in_progress_async")
logger.addHandler(logging.NullHandler())  # else Python prints warnings of a program without logging to stderr

_SHOWN = ("id", "organization_type")
"""Query parameters with a value that identifies no caller."""


@define(kw_only=True, eq=False)
class OperationInfo:
    """One operation, as hooks see it. Neither the token nor a caller's number is in it."""

    name: str
    """The name of the operation, such as ``find``, ``update`` or ``poll``."""
    method: str
    """The HTTP method."""
    organization: Organization
    """The organization that the operation is about."""
    timeout: float | None
    """Seconds for the whole operation; None for no deadline."""
    shared: bool = False
    """True if the response is not for one caller alone: a poll of a watch, or a find with ``max_age``."""
    joined: Sequence[Context] = field(default=(), repr=False)
    """The contexts of further callers so far: their finds with ``max_age`` wait for the same response."""
    attempts: tuple[Attempt, ...] = ()
    """The attempts; complete when the context manager of the operation is left."""


@define(kw_only=True, eq=False)
class AttemptInfo:
    """One attempt, as hooks see it: from the moment it is given to the transport until its response is read."""

    operation: OperationInfo
    """The operation of the attempt."""
    number: int
    """1 for the first attempt of the operation."""
    url: str
    """The URL, with ``REDACTED`` for each value of the query except the organization."""
    headers: dict[str, str] = field(factory=dict, repr=False)
    """Headers to send with this attempt, such as the context of a trace: a hook adds to them on entering."""
    status: int | None = None
    """The HTTP status, once there is a response."""
    error: str | None = None
    """The class name of the error, once the attempt has failed."""


class ClientLevels(NamedTuple):
    """The state of a client in a few numbers."""

    retry_budget: float
    """Number of retries left to the whole client until a success."""


class ObservedClient(Protocol):
    """A client, as hooks see it."""

    def levels(self) -> ClientLevels | None:
        """Return the numbers at this moment, from any thread; None after the client is closed."""
        ...


class WatchLevels(NamedTuple):
    """The state of a watch, or of one worker of a fleet, in a few numbers."""

    organizations: int
    """Number of organizations polled."""
    failing: int
    """Number of organizations failing at present."""
    calls: int
    """Number of calls in progress, in the last good responses."""
    max_staleness: float
    """The age in seconds of the oldest last good response."""


class ObservedWatch(Protocol):
    """A watch or a worker of a fleet, as hooks see it."""

    def levels(self) -> WatchLevels | None:
        """Return the numbers at this moment, from any thread; None while polling is not running."""
        ...


class Instrumentation(Protocol):
    """Hooks around operations and attempts. Inherit from this class and override the methods that you need.

    Context managers are entered and left in the task of the caller, the attempt's inside the operation's. A hook that
    raises breaks no request: its first failure is logged, under ``calls_in_progress_async``.
    """

    def operation(self, info: OperationInfo) -> AbstractContextManager[object]:
        """Return a context manager around one operation.

        It is left with the exception that the caller gets, if any, free of the token and of phone numbers.
        """
        return nullcontext()

    def attempt(self, info: AttemptInfo) -> AbstractContextManager[object]:
        """Return a context manager around one attempt.

        It is left without an exception; ``info.status`` or ``info.error`` is set by then. Both are None only if the
        caller was cancelled.
        """
        return nullcontext()

    def on_retry(self, info: OperationInfo, attempt: Attempt, delay: float) -> None:
        """Called after ``attempt`` has failed and before another one follows in ``delay`` seconds."""
        return  # type checkers take an empty method of a Protocol for an abstract one

    def on_rate_limit_wait(self, info: OperationInfo, seconds: float) -> None:
        """Called after an attempt has waited for the rate limit."""
        return  # type checkers take an empty method of a Protocol for an abstract one

    def on_throttled(self, info: OperationInfo, retry_after: float | None) -> None:
        """Called after the server has asked to slow down; ``retry_after`` is None if it does not say for how long."""
        return  # type checkers take an empty method of a Protocol for an abstract one

    def on_token_refresh(self, info: OperationInfo) -> None:
        """Called after a 401, when the token callable has returned another token."""
        return  # type checkers take an empty method of a Protocol for an abstract one

    def on_retry_budget_spent(self, info: OperationInfo) -> None:
        """Called when no retry follows a failed attempt because the retry budget is spent."""
        return  # type checkers take an empty method of a Protocol for an abstract one

    def on_client(self, client: ObservedClient) -> None:
        """Called when a client is made. Keep only a weak reference to it."""
        return  # type checkers take an empty method of a Protocol for an abstract one

    def on_watch(self, watch: ObservedWatch) -> None:
        """Called when a watch is made, or a fleet's worker starts. Keep only a weak reference to it."""
        return  # type checkers take an empty method of a Protocol for an abstract one


class Hooks:
    """The hooks of one client, called so that none can break a request."""

    def __init__(self, hooks: Iterable[Instrumentation]) -> None:
        self._hooks = tuple(hooks)
        self._failed: set[tuple[type, str]] = set()

    def around(self, method: str, info: OperationInfo | AttemptInfo) -> _Around:
        """Return one context manager for those of all hooks; ``method`` is ``operation`` or ``attempt``."""
        return _Around(self, method, info)

    def notify(self, method: str, *arguments: Any) -> None:
        """Call a method of every hook."""
        for hook in self._hooks:
            self.call(hook, method, *arguments)

    def call(self, hook: Instrumentation, method: str, *arguments: Any) -> Any:
        """Call a method of one hook; return None if the method is missing or fails."""
        try:
            return getattr(hook, method, _no_method)(*arguments)
        except Exception:
            self.log_failure(hook, method)

    def log_failure(self, hook: Instrumentation, method: str) -> None:
        """Log the exception being handled, unless the same method has failed before."""
        kind = type(hook)
        if (kind, method) not in self._failed:
            self._failed.add((kind, method))
            logger.warning(
                "%s.%s failed; the request goes on, and further failures are not logged",
                kind.__qualname__,
                method,
                exc_info=True,
                extra={"hook": kind.__qualname__, "method": method},
            )

    def __iter__(self) -> Any:
        return iter(self._hooks)


class _Around:
    """The context managers of all hooks for one operation or attempt."""

    def __init__(self, hooks: Hooks, method: str, info: OperationInfo | AttemptInfo) -> None:
        self._hooks = hooks
        self._method = method
        self._info = info
        self._entered: list[tuple[Instrumentation, AbstractContextManager[object]]] = []

    def __enter__(self) -> None:
        for hook in self._hooks:
            manager = self._hooks.call(hook, self._method, self._info)
            try:
                if manager is not None:
                    manager.__enter__()
                    self._entered.append((hook, manager))
            except Exception:
                self._hooks.log_failure(hook, self._method)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for hook, manager in reversed(self._entered):
            try:
                manager.__exit__(kind, error, traceback)
            except Exception as failure:
                if failure is not error:
                    self._hooks.log_failure(hook, self._method)


def make_hooks(instrumentation: Iterable[Instrumentation]) -> Hooks | None:
    """Make the hooks of a client; None if there are none.

    Raises:
        InvalidRequestError: It is not a list of objects with methods of `Instrumentation`.
    """
    hooks = tuple(instrumentation) if isinstance(instrumentation, Iterable) else (instrumentation,)
    if isinstance(instrumentation, str) or not isinstance(instrumentation, Iterable) or any(map(_is_no_hook, hooks)):
        shown = validation.describe(instrumentation)
        raise validation.invalid("instrumentation", f"must be a list of Instrumentation objects, got {shown}")
    return Hooks(hooks) if hooks else None


def _is_no_hook(hook: object) -> bool:
    names = [name for name in vars(Instrumentation) if name.startswith(("on_", "operation", "attempt"))]
    return isinstance(hook, type) or not any(callable(getattr(hook, name, None)) for name in names)


def redact_url(base_url: str, target: str) -> str:
    """Join the URL of a request, with ``REDACTED`` for each value of the query except the organization."""
    path, query = urlsplit(target)[2:4]
    pairs = (pair.partition("=") for pair in query.split("&"))
    shown = "&".join(f"{name}={value if name in _SHOWN else 'REDACTED'}" for name, _, value in pairs if name)
    return f"{base_url}{path}{'?' * bool(shown)}{shown}"


def _no_method(*_: object) -> None:
    """Stand in for a method that a hook does not have."""
