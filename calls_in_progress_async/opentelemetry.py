"""OpenTelemetry: hooks that write spans and metrics, and send the context of the trace to the server.

Install the extra ``[otel]``, and pass the hooks to a client::

    CallsInProgressClient(token=..., instrumentation=[OpenTelemetry()])

Names and units follow the semantic conventions for HTTP clients, version 1.38. They are constants here, because the
package of the conventions is a beta.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import cache
from typing import Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit

try:
    from opentelemetry import context as otel_context
    from opentelemetry import metrics, propagate, trace
except ImportError as _error:
    raise ImportError('OpenTelemetry needs its extra: pip install "calls-in-progress-async[otel]"') from _error
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, TracerProvider
from opentelemetry.util.types import AttributeValue

from . import clock
from ._version import __version__
from .attempt import Attempt
from .gauges import CLIENT_GAUGES, WATCH_GAUGES
from .instrumentation import (
    AttemptInfo,
    ClientLevels,
    Instrumentation,
    ObservedClient,
    ObservedWatch,
    OperationInfo,
    WatchLevels,
)

__all__ = ["OpenTelemetry"]

_SCOPE = "calls_in_progress_async"
_DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Boundaries in seconds that the HTTP convention gives for ``http.client.request.duration``."""

# Attributes of the HTTP convention.
_METHOD = "http.request.method"
_STATUS = "http.response.status_code"
_RESEND_COUNT = "http.request.resend_count"
_SERVER_ADDRESS = "server.address"
_SERVER_PORT = "server.port"
_URL = "url.full"
_ERROR = "error.type"
# Attributes of this package.
_OPERATION = "calls_in_progress.operation"
_ORGANIZATION = "calls_in_progress.organization"
_TIMEOUT = "calls_in_progress.timeout"
_ATTEMPTS = "calls_in_progress.attempts"
_SECONDS = "calls_in_progress.seconds"

_Attributes: TypeAlias = dict[str, AttributeValue]
Levels = TypeVar("Levels")


class OpenTelemetry(Instrumentation):
    """Spans and metrics of a client. One object serves any number of clients.

    An operation is an INTERNAL span such as ``calls_in_progress.find``, and each attempt is a CLIENT span under it.
    Retries, waits, throttling and token refreshes are events of the operation's span. Neither spans nor metrics hold
    the token, a phone number, the id of a call or a custom value; spans name the organization, metrics do not.

    A poll, or a find with ``max_age``, serves more than one caller. Its span is the root of a trace of its own, with
    links to the spans of its callers: of the code that opened the watch, or of all finds that waited for the response.

    Args:
        tracer_provider: The provider of spans; by default the global one, even if it is set later.
        meter_provider: The provider of metrics; by default the global one, even if it is set later.
        propagator: Writes the context of the trace into the headers of each attempt; by default the global one, which
            writes ``traceparent``, ``tracestate`` and ``baggage``.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        propagator: TextMapPropagator | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider)
        with _making_metrics:
            self._metrics = _metrics_of(meter_provider)
        self._propagator = propagator
        self._spans: weakref.WeakKeyDictionary[OperationInfo, Span] = weakref.WeakKeyDictionary()

    @contextmanager
    def operation(self, info: OperationInfo) -> Iterator[None]:
        """Record an operation as a span, unless OpenTelemetry is told to suppress instrumentation."""
        if _is_suppressed():
            yield
            return
        with (
            _trace_of(info) as links,
            self._tracer.start_as_current_span(
                f"calls_in_progress.{info.name}",
                attributes=_operation_attributes(info),
                links=links,
                record_exception=False,  # an exception's message and traceback have no place in a trace
                set_status_on_exception=False,
            ) as span,
        ):
            self._spans[info] = span
            try:
                yield
            except BaseException as error:
                _set_error(span, type(error).__name__)
                raise
            finally:
                span.set_attribute(_ATTEMPTS, len(info.attempts))
                _link_callers(span, info.joined, links)

    @contextmanager
    def attempt(self, info: AttemptInfo) -> Iterator[None]:
        """Record an attempt as a span and a duration, and add the context of the trace to its headers."""
        if _is_suppressed():
            yield
            return
        attributes = _attempt_attributes(info)
        resent = {_RESEND_COUNT: info.number - 1} if info.number > 1 else {}
        with self._tracer.start_as_current_span(
            info.operation.method,
            kind=SpanKind.CLIENT,
            attributes={**attributes, _URL: info.url, **resent},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            self._inject(info.headers)
            began = clock.now()
            try:
                yield
            finally:
                result = _result_attributes(info)
                self._metrics.duration.record(clock.now() - began, {**attributes, **result})
                span.set_attributes(result)
                if _ERROR in result:
                    span.set_status(StatusCode.ERROR)

    def on_retry(self, info: OperationInfo, attempt: Attempt, delay: float) -> None:
        """Count a retry, and note it in the operation's span."""
        cause = attempt.error or str(attempt.status)
        self._metrics.retries.add(1, {_OPERATION: info.name, _ERROR: cause})
        self._add_event(info, "retry", {_ERROR: cause, _SECONDS: delay})

    def on_rate_limit_wait(self, info: OperationInfo, seconds: float) -> None:
        """Record a wait for the rate limit, and note it in the operation's span."""
        self._metrics.rate_limit_wait.record(seconds, {_OPERATION: info.name})
        self._add_event(info, "rate limit wait", {_SECONDS: seconds})

    def on_throttled(self, info: OperationInfo, retry_after: float | None) -> None:
        """Count a throttled request, and note it in the operation's span."""
        self._metrics.throttled.add(1, {_OPERATION: info.name})
        self._add_event(info, "throttled", {} if retry_after is None else {_SECONDS: retry_after})

    def on_token_refresh(self, info: OperationInfo) -> None:
        """Note a refreshed token in the operation's span."""
        self._add_event(info, "token refresh", {})

    def on_retry_budget_spent(self, info: OperationInfo) -> None:
        """Count an operation that ends because the retry budget is spent, and note it in the operation's span."""
        self._metrics.budget_spent.add(1, {_OPERATION: info.name})
        self._add_event(info, "retry budget spent", {})

    def on_client(self, client: ObservedClient) -> None:
        """Observe a client until it is gone."""
        self._metrics.clients.add(client.levels)

    def on_watch(self, watch: ObservedWatch) -> None:
        """Observe a watch, or a fleet's worker, until it is gone."""
        self._metrics.watches.add(watch.levels)

    def _inject(self, headers: dict[str, str]) -> None:
        (propagate if self._propagator is None else self._propagator).inject(headers)

    def _add_event(self, info: OperationInfo, name: str, attributes: dict[str, str | float]) -> None:
        if (span := self._spans.get(info)) is not None:
            span.add_event(name, attributes)


class _Metrics:
    """The metrics of one provider, for every `OpenTelemetry` of it: a provider takes a gauge's callback once."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = metrics.get_meter(_SCOPE, __version__, provider)
        self.clients: _Observed[ClientLevels] = _Observed()
        self.watches: _Observed[WatchLevels] = _Observed()
        self.duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
        )
        self.rate_limit_wait = meter.create_histogram(
            "calls_in_progress.rate_limit.wait",
            unit="s",
            description="Time that attempts waited for the client's rate limit.",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
        )
        self.retries = meter.create_counter("calls_in_progress.retries", "{retry}", "Attempts after a failed attempt.")
        self.throttled = meter.create_counter(
            "calls_in_progress.throttled", "{response}", "Responses that ask to slow down."
        )
        self.budget_spent = meter.create_counter(
            "calls_in_progress.retry_budget.spent", "{operation}", "Operations without a retry for lack of budget."
        )
        for each in CLIENT_GAUGES:
            meter.create_observable_gauge(each.name, [self.clients.gauge(each.choose)], each.unit, each.description)
        for gauge in WATCH_GAUGES:
            meter.create_observable_gauge(gauge.name, [self.watches.gauge(gauge.choose)], gauge.unit, gauge.description)


class _Observed(Generic[Levels]):
    """Methods that return levels, for gauges. No object is kept alive."""

    def __init__(self) -> None:
        self._methods: set[weakref.WeakMethod[Callable[[], Levels | None]]] = set()
        """Read and changed in one step each, because exporters and event loops have threads."""

    def add(self, method: Callable[[], Levels | None]) -> None:
        """Add the method of an object."""
        self._methods.add(weakref.WeakMethod(method, self._methods.discard))

    def gauge(self, choose: Callable[[list[Levels]], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """Return the callback of a gauge; ``choose`` makes one number of the levels of all objects."""

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            methods = filter(None, (each() for each in list(self._methods)))
            levels = [level for level in (method() for method in methods) if level is not None]
            return [Observation(choose(levels))] if levels else []

        return observe


_making_metrics = threading.Lock()


@cache
def _metrics_of(provider: MeterProvider | None) -> _Metrics:
    return _Metrics(provider)


@contextmanager
def _trace_of(info: OperationInfo) -> Iterator[list[Link]]:
    """Leave the current trace and its baggage if the work is shared, with a link back to the current span."""
    if not info.shared:
        yield []
        return
    current = trace.get_current_span().get_span_context()
    token = otel_context.attach(otel_context.Context())
    try:
        yield [Link(current)] if current.is_valid else []
    finally:
        otel_context.detach(token)


def _link_callers(span: Span, callers: Iterable[Context], links: list[Link]) -> None:
    """Link to the spans that were current for some callers, once each, and not again to ``links``."""
    linked = {link.context.span_id for link in links}
    for caller in callers:
        context = caller.run(trace.get_current_span).get_span_context()
        if context.span_id not in linked:
            linked.add(context.span_id)
            span.add_link(context)  # does nothing for a caller without a span


def _is_suppressed() -> bool:
    return bool(otel_context.get_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY))


def _operation_attributes(info: OperationInfo) -> _Attributes:
    timeout: _Attributes = {} if info.timeout is None else {_TIMEOUT: info.timeout}
    return {_OPERATION: info.name, _ORGANIZATION: str(info.organization), **timeout}


def _attempt_attributes(info: AttemptInfo) -> _Attributes:
    parts = urlsplit(info.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {_METHOD: info.operation.method, _SERVER_ADDRESS: parts.hostname or "", _SERVER_PORT: port}


def _result_attributes(info: AttemptInfo) -> _Attributes:
    if info.status is None:
        return {_ERROR: info.error or "CancelledError"}
    failed: _Attributes = {_ERROR: str(info.status)} if info.status >= 400 else {}
    return {_STATUS: info.status, **failed}


def _set_error(span: Span, kind: str) -> None:
    span.set_attribute(_ERROR, kind)
    span.set_status(StatusCode.ERROR)
