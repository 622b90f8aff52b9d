"""OpenTelemetry reads like a story: a span for each operation, a span for each attempt, and few metrics."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry import baggage, context, metrics, trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from raw_server import ACME, NO_CALLS, RawServer
from telemetry.recording import Recording
from timing import passes
from transport.pipelines import FIND, rig, write
from watch.scripted_calls import GLOBEX, ScriptedCalls, call

from calls_in_progress_async import (
    CallsInProgressClient,
    ConnectionLostError,
    CurrentCallsRequest,
    RateLimit,
    RetryPolicy,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.instrumentation import WatchLevels
from calls_in_progress_async.opentelemetry import OpenTelemetry
from calls_in_progress_async.testing import ScriptedTransport, status, virtual_clock

SERVER = {"server.address": "h", "server.port": 443}
FIND_URL = "https://h/api/2022-08-01/calls_in_progress/current_calls.json?id=25&organization_type=advertiser"


def record(*script: Any, request: Any = FIND, timeout: float | None = None, **settings: Any) -> Recording:
    """Run one request in virtual time, and return its spans and metrics."""

    async def main() -> Recording:
        recording = Recording()
        await rig(*script, instrumentation=[recording.hooks], **settings).go(request, timeout)
        return recording

    return virtual_clock.run(main)


def events(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, dict(event.attributes or {})) for event in span.events]


# Spans.


def test_a_find_is_an_internal_span_with_one_client_span() -> None:
    """Names, kinds, statuses and attributes follow the convention for HTTP clients."""
    recording = record(200, timeout=5.0)
    operation, attempt = recording.spans
    assert recording.story() == ["calls_in_progress.find", "  GET"]
    assert (operation.kind, attempt.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT)
    assert {operation.status.status_code, attempt.status.status_code} == {StatusCode.UNSET}
    assert operation.attributes == {
        "calls_in_progress.operation": "find",
        "calls_in_progress.organization": "advertiser:25",
        "calls_in_progress.timeout": 5.0,
        "calls_in_progress.attempts": 1,
    }
    assert attempt.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.full": FIND_URL,
        **SERVER,
    }
    assert (attempt.instrumentation_scope.name, attempt.links) == ("calls_in_progress_async", ())


def test_an_update_is_a_put() -> None:
    """Without a deadline the operation has no timeout."""
    recording = record(202, request=write())
    assert recording.story() == ["calls_in_progress.update", "  PUT"]
    assert "calls_in_progress.timeout" not in recording.spans[0].attributes


@pytest.mark.parametrize(("status", "error"), [(399, None), (400, "400"), (404, "404"), (500, "500")])
def test_a_status_from_400_on_is_an_error_of_the_attempt(status: int, error: str | None) -> None:
    """The convention for clients takes 4xx for errors too."""
    attempt = record(status, retry=RetryPolicy(max_attempts=1)).spans[1]
    assert attempt.attributes.get("error.type") == error
    assert (attempt.status.status_code is StatusCode.ERROR) is (error is not None)


def test_retries_are_further_client_spans_and_events_of_the_operation() -> None:
    """Each attempt has its own status or error, and the number of attempts before it."""
    recording = record(503, ConnectionLostError("x"), 200)
    assert recording.story() == ["calls_in_progress.find", "  GET", "  GET", "  GET"]
    operation, *attempts = recording.spans
    shown = ("http.response.status_code", "error.type", "http.request.resend_count")
    assert [tuple(map(each.attributes.get, shown)) for each in attempts] == [
        (503, "503", None),
        (None, "ConnectionLostError", 1),
        (200, None, 2),
    ]
    assert [each.status.status_code.name for each in attempts] == ["ERROR", "ERROR", "UNSET"]
    assert operation.status.status_code is StatusCode.UNSET
    assert events(operation) == [
        ("retry", {"error.type": "503", "calls_in_progress.seconds": 0.25}),
        ("retry", {"error.type": "ConnectionLostError", "calls_in_progress.seconds": 0.5}),
    ]


def test_the_operation_tells_of_throttling_waits_and_a_refreshed_token() -> None:
    """Each is an event, with its seconds."""
    tokens = ["old", "new"]
    recording = record(
        *(401, status(429, retry_after="3"), 429, 200),
        token=lambda _: tokens.pop(0) if len(tokens) > 1 else tokens[0],
        rate_limit=RateLimit(rate=0.1, burst=1),
        retry=RetryPolicy(max_attempts=4),
    )
    told = events(recording.spans[0])
    assert [name for name, _ in told if name != "rate limit wait"] == [
        *("token refresh", "throttled", "retry", "throttled", "retry"),
    ]
    assert [facts for name, facts in told if name == "throttled"] == [{"calls_in_progress.seconds": 3.0}, {}]
    assert all(facts["calls_in_progress.seconds"] > 1 for name, facts in told if name == "rate limit wait")
    assert "rate limit wait" in dict(told)


def test_the_operation_tells_that_the_budget_is_spent() -> None:
    """A failed attempt without a retry has its reason in the span."""
    recording = record(500, retry=RetryPolicy(budget=1, organization_budget=1, budget_refill=0.0))
    assert [name for name, _ in events(recording.spans[0])] == ["retry", "retry budget spent"]
    assert {key: each.value for key, each in recording.points("calls_in_progress.retry_budget.spent").items()} == {
        ("find",): 1
    }


@pytest.mark.parametrize(
    ("response", "settings", "timeout", "attempt_error", "error"),
    [
        (status(200, seconds=9.0), {"attempt_timeout": 1.0}, None, "RequestTimeoutError", "RequestTimeoutError"),
        (status(200, seconds=9.0), {}, 1.0, "DeadlineExceededError", "DeadlineExceededError"),
        (LookupError("a caller"), {}, None, "ConnectionLostError", "ConnectionLostError"),
    ],
)
def test_a_failed_operation_names_its_error(
    response: Any, settings: Any, timeout: Any, attempt_error: str, error: str
) -> None:
    """The status is ERROR, and neither a message nor a traceback is recorded."""
    recording = record(response, timeout=timeout, retry=RetryPolicy(max_attempts=1), **settings)
    operation, attempt = recording.spans
    assert (operation.attributes["error.type"], attempt.attributes["error.type"]) == (error, attempt_error)
    for span in (operation, attempt):
        assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())


def test_a_cancelled_operation_ends_its_spans() -> None:
    """Both spans name the cancellation."""

    async def main() -> Recording:
        recording = Recording()
        task = asyncio.create_task(rig(status(200, seconds=9.0), instrumentation=[recording.hooks]).go())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return recording

    recording = virtual_clock.run(main)
    assert [span.attributes["error.type"] for span in recording.spans] == ["CancelledError", "CancelledError"]


def test_the_spans_are_children_of_the_callers_and_the_context_is_the_callers_again() -> None:
    """A find inside a span is a part of its trace, and leaves the current context alone."""

    async def main() -> Recording:
        recording = Recording()
        with recording.tracers.get_tracer("test").start_as_current_span("screen pop") as own:
            await rig(500, 200, instrumentation=[recording.hooks]).go()
            assert trace.get_current_span() is own
        return recording

    recording = virtual_clock.run(main)
    assert recording.story() == ["screen pop", "  calls_in_progress.find", "    GET", "    GET"]


def test_each_attempt_sends_its_own_context() -> None:
    """The server gets the trace and the CLIENT span of the attempt, and the caller's baggage."""

    async def main() -> tuple[Recording, list[dict[str, str]]]:
        recording = Recording()
        it = rig(500, 200, instrumentation=[recording.hooks])
        token = context.attach(baggage.set_baggage("tenant", "7"))
        await it.go()
        context.detach(token)
        return recording, [dict(request.headers) for request in it.transport.requests]

    recording, headers = virtual_clock.run(main)
    assert [each["traceparent"][:52] for each in headers] == [
        f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}" for span in recording.spans[1:]
    ]
    assert [each["baggage"] for each in headers] == ["tenant=7", "tenant=7"]


def test_a_propagator_of_ones_own_writes_the_headers() -> None:
    """With W3C's trace context alone, no baggage leaves the process."""

    async def main() -> dict[str, str]:
        hooks = Recording().more_hooks(propagator=TraceContextTextMapPropagator())
        it = rig(200, instrumentation=[hooks])
        token = context.attach(baggage.set_baggage("tenant", "7"))
        await it.go()
        context.detach(token)
        return dict(it.transport.requests[0].headers)

    assert list(virtual_clock.run(main)) == ["traceparent"]


def test_suppressed_instrumentation_records_nothing() -> None:
    """OpenTelemetry's own exporters suppress instrumentation while they send."""

    async def main() -> tuple[Recording, dict[str, str]]:
        recording = Recording()
        it = rig(500, 200, instrumentation=[recording.hooks])
        with suppress_instrumentation():
            assert await it.go() == 200
        return recording, dict(it.transport.requests[0].headers)

    recording, headers = virtual_clock.run(main)
    assert (recording.spans, headers) == ([], {})


# Shared work.


async def test_a_poll_is_the_root_of_a_trace_with_a_link() -> None:
    """The span of the code that opened the watch may be long over, so no poll is its child."""
    recording = Recording()
    async with RawServer([NO_CALLS]) as server, server.client(instrumentation=[recording.hooks]) as client:
        token = context.attach(baggage.set_baggage("tenant", "7"))
        with recording.tracers.get_tracer("test").start_as_current_span("start up") as opener:
            watch = client.watch([ACME], interval=0.05)
            await watch.__aenter__()
        context.detach(token)
        while len(server.seen) < 3:
            await asyncio.sleep(0.01)
        await watch.close()
        assert server.seen[0].header("traceparent") is not None
        assert server.seen[0].header("baggage") is None
    polls = [span for span in recording.spans if span.name == "calls_in_progress.poll"]
    assert len(polls) >= 2
    assert {span.parent for span in polls} == {None}
    assert len({span.context.trace_id for span in polls} | {opener.get_span_context().trace_id}) == len(polls) + 1
    assert all([link.context for link in span.links] == [opener.get_span_context()] for span in polls)


async def test_a_find_that_several_callers_share_is_a_root_with_a_link_to_each() -> None:
    """One caller's trace must not hold a request that outlives the caller, and each caller's leads to the request.

    A response that was there already has no span any more to link from.
    """
    recording = Recording()
    tracer = recording.tracers.get_tracer("test")

    async def look(name: str) -> None:
        with tracer.start_as_current_span(name):
            await client.find(ACME, max_age=10)

    async with RawServer([NO_CALLS]) as server, server.client(instrumentation=[recording.hooks]) as client:
        with tracer.start_as_current_span("twice"):
            twice = [client.find(ACME, max_age=10) for _ in range(2)]
            await asyncio.gather(look("first"), look("second"), *twice)
        await look("late")
        outside = [client.find(GLOBEX, max_age=10) for _ in range(2)]
        await asyncio.gather(*outside)
    find, without_callers = [span for span in recording.spans if span.name == "calls_in_progress.find"]
    spans = {span.name: span.context for span in recording.spans}
    assert find.parent is None
    assert find.links[0].context == spans["first"]
    assert sorted(link.context for link in find.links) == sorted(spans[name] for name in ("first", "second", "twice"))
    assert (without_callers.parent, without_callers.links) == (None, ())


def test_shared_work_without_a_span_around_it_has_no_link() -> None:
    """An invalid span is no target of a link."""
    request = CurrentCallsRequest(organization=ACME).wire(WireFormat())
    request.shared = True
    recording = record(200, request=request)
    assert recording.story() == ["calls_in_progress.find", "  GET"]
    assert recording.spans[0].links == ()


# Metrics.


def test_the_duration_of_requests_has_the_buckets_and_attributes_of_the_convention() -> None:
    """Seconds of each attempt, by method, server, status and error."""
    recording = record(status(500, seconds=0.2), status(200, seconds=0.03), attempt_timeout=None)
    metric = recording.metrics()["http.client.request.duration"]
    assert (metric.unit, len(metric.data.data_points)) == ("s", 2)
    failed, succeeded = sorted(metric.data.data_points, key=lambda point: -point.sum)
    assert list(failed.explicit_bounds) == [
        *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    ]
    assert (failed.sum, succeeded.sum) == (pytest.approx(0.2), pytest.approx(0.03))
    common = {"http.request.method": "GET", **SERVER}
    assert failed.attributes == {**common, "http.response.status_code": 500, "error.type": "500"}
    assert succeeded.attributes == {**common, "http.response.status_code": 200}


def test_waits_retries_and_throttling_are_counted_by_operation() -> None:
    """Attributes have few values: no metric names an organization."""
    recording = record(500, 429, 200, rate_limit=RateLimit(rate=0.1, burst=1))
    wait = recording.points("calls_in_progress.rate_limit.wait")
    assert {key: (each.count, each.sum > 10) for key, each in wait.items()} == {("find",): (2, True)}
    assert {key: each.value for key, each in recording.points("calls_in_progress.retries").items()} == {
        ("find", "500"): 1,
        ("find", "429"): 1,
    }
    assert {key: each.value for key, each in recording.points("calls_in_progress.throttled").items()} == {("find",): 1}
    assert "advertiser" not in json.dumps([str(metric) for metric in recording.metrics().values()])


def budget(recording: Recording) -> float | None:
    """Return the value of the gauge of the retry budget."""
    point = recording.points("calls_in_progress.retry_budget.remaining").get(())
    return None if point is None else point.value


async def test_a_gauge_shows_the_rest_of_the_retry_budget() -> None:
    """The client with the fewest retries left counts, and a closed client no longer."""
    recording, settings = Recording(), {"budget": 10, "budget_refill": 0.25, "initial": 0}
    assert budget(recording) is None
    transport = ScriptedTransport(503, 503, 200)
    async with CallsInProgressClient(token="t", transport=ScriptedTransport(), instrumentation=[recording.hooks]):
        assert budget(recording) == 100
        async with CallsInProgressClient(
            token="t", transport=transport, instrumentation=[recording.hooks], retry=RetryPolicy(**settings)
        ) as client:
            assert budget(recording) == 10
            await client.find(ACME)
            assert await asyncio.to_thread(budget, recording) == 8.25
        assert budget(recording) == 100
    assert budget(recording) is None


GAUGES = ("calls", "organizations", "failing", "staleness")


def gauges(recording: Recording) -> tuple[float | None, ...]:
    """Return the values of the gauges of all watches, from another thread: exporters have one."""
    points = [recording.points(f"calls_in_progress.watch.{name}") for name in GAUGES]
    return tuple(point[()].value if point else None for point in points)


def test_the_gauges_show_the_watches() -> None:
    """Live calls, organizations, failing ones, and the age of the oldest response: over all watches being polled."""

    async def main() -> None:
        recording, server = Recording(), ScriptedCalls()
        server.calls = {ACME: [call("A"), call("B")], GLOBEX: [call("C")]}
        first, second = server.watch(ACME, GLOBEX), server.watch(ACME)
        recording.hooks.on_watch(first)
        recording.more_hooks().on_watch(second)
        assert gauges(recording) == (None,) * 4
        async with first:
            await passes(6)
            async with second:
                await passes(1)
                calls, organizations, failing, staleness = await asyncio.to_thread(gauges, recording)
                assert (calls, organizations, failing) == (5, 3, 0)
                assert 1 < (staleness or 0) < 7, "the age of the first watch's response, not of the second's"
            assert gauges(recording)[:3] == (3, 2, 0)
            server.errors[GLOBEX] = 500
            await passes(60)
            calls, organizations, failing, staleness = gauges(recording)
            assert (calls, organizations, failing) == (3, 2, 1)
            assert 55 < (staleness or 0) < 70
        assert gauges(recording) == (None,) * 4

    virtual_clock.run(main)


def test_the_gauges_forget_a_watch_that_is_gone() -> None:
    """Hooks keep no watch alive."""

    async def main() -> None:
        recording, server = Recording(), ScriptedCalls()
        abandoned = server.watch(ACME)
        recording.hooks.on_watch(abandoned)
        del abandoned
        gc.collect()
        recording.hooks.on_watch(watch := server.watch(ACME))
        async with watch:
            await passes(1)
            assert gauges(recording)[1] == 1

    virtual_clock.run(main)


async def test_the_client_tells_of_its_watches() -> None:
    """A watch ended by closing its client is no longer observed."""
    recording = Recording()
    async with (
        RawServer([NO_CALLS]) as server,
        server.client(instrumentation=[recording.hooks]) as client,
        client.watch([ACME, GLOBEX]),
    ):
        assert gauges(recording)[1] == 2
        await client.close()
        assert gauges(recording)[1] is None


def test_the_gauges_count_the_watches_of_all_threads() -> None:
    """Threads may begin watches at once, each in a loop of its own."""
    recording = Recording()

    class Observed:
        def levels(self) -> WatchLevels:
            return WatchLevels(organizations=1, failing=0, calls=0, max_staleness=0.0)

    watches = [Observed() for _ in range(2000)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(recording.hooks.on_watch, watches))
    finally:
        sys.setswitchinterval(interval)
    assert gauges(recording)[1] == len(watches)


def test_hooks_made_by_two_threads_at_once_share_their_metrics() -> None:
    """A provider takes the callback of a gauge once."""
    recordings = Recording()
    meters, threads = [], []

    class Meters(metrics.NoOpMeterProvider):
        def get_meter(self, *arguments: Any) -> metrics.Meter:
            meters.append(recordings.meters.get_meter(*arguments))
            if not threads:
                threads.append(Thread(target=OpenTelemetry, kwargs={"meter_provider": self}))
                threads[0].start()
                threads[0].join(0.2)  # it waits for this one
            return meters[-1]

    OpenTelemetry(meter_provider=Meters())
    threads[0].join()
    assert len(meters) == 1


# Set-up.

LATE = """
import asyncio
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.opentelemetry import OpenTelemetry

async def main():
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    async with CallsInProgressClient.from_env(instrumentation=[OpenTelemetry()]) as client:
        await client.find(Organization.network(1))
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        metrics.set_meter_provider(MeterProvider([reader]))
        await client.find(Organization.network(1))
        async with client.watch([Organization.network(1)]):
            pass
    print(*(span.name for span in exporter.get_finished_spans()))
    (resource,) = reader.get_metrics_data().resource_metrics
    print(*(metric.name for scope in resource.scope_metrics for metric in scope.metrics))

asyncio.run(main())
"""


async def test_switched_on_late_it_works_from_then_on() -> None:
    """A global provider set after the client was made, and after its first find, gets everything from then on."""
    async with RawServer([NO_CALLS]) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", LATE),
            env={**os.environ, "CALLS_IN_PROGRESS_BASE_URL": server.url, "CALLS_IN_PROGRESS_TOKEN": "t"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 50)
    assert output.decode().split("\n")[:2] == ["GET calls_in_progress.find", "http.client.request.duration"]


def test_without_the_extra_the_import_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message holds the command to install it."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "calls_in_progress_async.opentelemetry")
    with pytest.raises(ImportError, match=r'needs its extra: pip install "calls-in-progress-async\[otel\]"'):
        importlib.import_module("calls_in_progress_async.opentelemetry")


async def test_without_a_provider_nothing_is_recorded_and_requests_go_out() -> None:
    """The API alone makes spans that cost little and go nowhere."""
    async with RawServer([NO_CALLS]) as server, server.client(instrumentation=[OpenTelemetry()]) as client:
        await client.find(ACME)
        assert server.seen[0].header("traceparent") is None


def test_the_documented_story_is_printed() -> None:
    """The first program of docs/telemetry.md prints the lines below it, in any SDK's console exporter."""
    page = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")
    program, story = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)[0] for kind in ("python", "text"))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == (story, "")
