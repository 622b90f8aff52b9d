"""Measure the price of instrumentation: a find without I/O, without hooks and with several.

    python benchmarks/hooks.py [--quick] [--json FILE]

The transport returns a stored response at once, so the figures are the client's own. The row "comparison taken out" is
a pipeline without the question for hooks.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import bodies
from contenders import ADVERTISER
from measuring import Table, command_line, finish, interleave
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from calls_in_progress_async import Attempt, CurrentCallsRequest, Instrumentation, WireResponse, clock
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.instrumentation import Hooks
from calls_in_progress_async.limits.limiter import RateLimiter
from calls_in_progress_async.opentelemetry import OpenTelemetry
from calls_in_progress_async.transport.operation import Operation
from calls_in_progress_async.transport.pipeline import Pipeline, PipelineSettings
from calls_in_progress_async.transport.tokens import Tokens

NONE, TAKEN_OUT = "no hooks", "no hooks, comparison taken out"
REQUEST = CurrentCallsRequest(organization=ADVERTISER)
WIRE_FORMAT = WireFormat()


class Stored:
    """A transport with one response."""

    def __init__(self) -> None:
        self.response = WireResponse(200, {}, bodies.body(1))

    async def send(self, *_: Any) -> WireResponse:
        return self.response

    async def close(self) -> None: ...


class TakenOut(Pipeline):
    """A pipeline without the question for hooks."""

    def execute(self, request: Any, organization: Any, timeout: float | None, read: Any) -> Any:
        now = clock.reader()
        began = now()
        operation = Operation(request, organization, now, began, None if timeout is None else began + timeout)
        return self._run(operation, read)


class Idle(Instrumentation):
    """A hook without an effect."""


def make_pipeline(kind: type[Pipeline], *hooks: Instrumentation) -> Pipeline:
    return kind(
        Stored(),
        Tokens("token"),
        RateLimiter(None),
        PipelineSettings(),
        base_url="https://invoca.net",
        hooks=Hooks(hooks) if hooks else None,
    )


async def find(pipeline: Pipeline, count: int) -> None:
    for _ in range(count):
        await pipeline.execute(REQUEST.wire(WIRE_FORMAT), ADVERTISER, 30.0, read)


def read(response: WireResponse, attempts: tuple[Attempt, ...]) -> Any:
    return REQUEST.read(response, WIRE_FORMAT, attempts)


def cpu_of(runner: asyncio.Runner, pipeline: Pipeline, count: int) -> float:
    """Return CPU microseconds per find."""
    began = time.process_time()
    runner.run(find(pipeline, count))
    return (time.process_time() - began) / count * 1e6


def measure(quick: bool) -> Table:
    with_sdk = OpenTelemetry(tracer_provider=TracerProvider(), meter_provider=MeterProvider())
    pipelines = {
        NONE: make_pipeline(Pipeline),
        TAKEN_OUT: make_pipeline(TakenOut),
        "a hook that does nothing": make_pipeline(Pipeline, Idle()),
        "OpenTelemetry without a provider": make_pipeline(Pipeline, OpenTelemetry()),
        "OpenTelemetry with the SDK": make_pipeline(Pipeline, with_sdk),
    }
    table = Table("A find without I/O, by its hooks", "us of CPU")
    with asyncio.Runner() as runner:
        count = 200 if quick else 1000
        contenders = {name: partial(cpu_of, runner, pipeline, count) for name, pipeline in pipelines.items()}
        interleave(5 if quick else 31, contenders, lambda name, figure: table.add(name, "", figure))
    table.judge("no hooks / comparison taken out", NONE, TAKEN_OUT, 1.02)
    return table


def main() -> None:
    arguments = command_line(__doc__)
    finish([measure(arguments.quick)], arguments)


if __name__ == "__main__":
    main()
