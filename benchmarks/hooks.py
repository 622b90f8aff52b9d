"""Measure the price of instrumentation: a find without I/O, without hooks and with several.

    python benchmarks/hooks.py [--quick] [--json FILE]

The transport returns a stored response at once, so the figures are the client's own. The row "comparison taken out" is
a pipeline without the questions for hooks: one for the operation, and one for its attempt.
"""

from __future__ import annotations
import __future__

import asyncio
import inspect
import textwrap
import time
from functools import partial
from typing import Any

import bodies
from contenders import ADVERTISER
from measuring import Table, command_line, finish, interleave
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from calls_in_progress_async import Attempt, CurrentCallsRequest, Instrumentation, WireResponse
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.instrumentation import Hooks
from calls_in_progress_async.limits.limiter import RateLimiter
from calls_in_progress_async.opentelemetry import OpenTelemetry
from calls_in_progress_async.transport.attempts import Attempts
from calls_in_progress_async.transport.pipeline import Pipeline, PipelineSettings
from calls_in_progress_async.transport.tokens import Tokens

NONE, TAKEN_OUT = "no hooks", "no hooks, comparison taken out"
REQUEST = CurrentCallsRequest(organization=ADVERTISER)
WIRE_FORMAT = WireFormat()
_FUTURE = __future__.annotations.compiler_flag


class Stored:
    """A transport with one response."""

    def __init__(self) -> None:
        self.response = WireResponse(200, {}, bodies.body(1))

    async def send(self, *_: Any) -> WireResponse:
        return self.response

    async def close(self) -> None: ...


class TakenOut(Pipeline):
    """A pipeline without the question for hooks, neither for the operation nor for its attempts."""


class AttemptsTakenOut(Attempts):
    """Attempts without the question for hooks."""


def answer(kind: type[Any], method: str, question: str, constant: bool) -> None:
    """Override a method by one with a constant instead of a comparison. The compiler leaves a constant ``if`` out."""
    function = getattr(kind, method)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(question) == 1, question
    changed: dict[str, Any] = {}
    exec(compile(source.replace(question, f"if {constant}:"), __file__, "exec", _FUTURE), function.__globals__, changed)
    setattr(kind, method, changed[method])


answer(TakenOut, "execute", "if self._reports.hooks is None:", True)
answer(AttemptsTakenOut, "_exchange", "if operation.info is not None:", False)


class Idle(Instrumentation):
    """A hook without an effect."""


def make_pipeline(kind: type[Pipeline], *hooks: Instrumentation) -> Pipeline:
    pipeline = kind(
        Stored(),
        Tokens("token"),
        RateLimiter(None),
        PipelineSettings(),
        base_url="https://invoca.net",
        hooks=Hooks(hooks) if hooks else None,
    )
    if kind is TakenOut:
        pipeline._attempts.__class__ = AttemptsTakenOut
    return pipeline


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
