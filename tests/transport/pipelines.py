"""A pipeline over a scripted transport, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from raw_server import ACME, TOKEN

from calls_in_progress_async import (
    Attempt,
    CallsInProgressError,
    CurrentCallsRequest,
    ResponseError,
    RetryPolicy,
    UpdateCallRequest,
    clock,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.instrumentation import Hooks
from calls_in_progress_async.limits.limiter import RateLimiter
from calls_in_progress_async.transport.pipeline import Pipeline, PipelineSettings
from calls_in_progress_async.transport.protocol import SendState
from calls_in_progress_async.transport.tokens import Tokens
from calls_in_progress_async.transport.wire import WireRequest, WireResponse

FIND = CurrentCallsRequest(organization=ACME).wire(WireFormat())


def write(**changes: Any) -> WireRequest:
    """Make the request of an update: of call T unless ``changes`` names another."""
    names = {} if "external_unique_id" in changes else {"transaction_id": "T"}
    changes = {**names, "custom_data": {"a": "b"}, **changes}
    return UpdateCallRequest(organization=ACME, **changes).wire(WireFormat())


@define
class Scripted:
    """The status or error of one attempt, and its length in seconds."""

    outcome: int | Exception = 200
    headers: dict[str, str] = field(factory=dict)
    takes: float = 0.0


@define
class ScriptedTransport:
    """Responds with the next entry of its script; the last one is repeated."""

    script: list[Scripted]
    sent: list[tuple[float, str]] = field(factory=list)
    requests: list[WireRequest] = field(factory=list)
    running: int = 0
    most: int = 0
    closed: bool = False

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        self.sent.append((asyncio.get_running_loop().time() - 1_000_000.0, token))
        self.requests.append(request)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        state.may_have_been_sent = request.body is not None
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(step.takes)
        finally:
            self.running -= 1
        if isinstance(step.outcome, Exception):
            raise step.outcome
        return WireResponse(step.outcome, step.headers, b"")

    @property
    def times(self) -> list[float]:
        return [round(time, 6) for time, _ in self.sent]

    async def close(self) -> None:
        self.closed = True


class Jitter(Random):
    """A source of numbers chosen by a test."""

    def __init__(self, choose: Callable[[], float]) -> None:
        super().__init__()
        self._choose = choose

    def random(self) -> float:
        return self._choose()


@define
class Rig:
    """A pipeline and its transport, on a virtual clock."""

    script: list[Scripted]
    token: Any = TOKEN
    randomness: Callable[[], float] = lambda: 1.0
    settings: dict[str, Any] = field(factory=dict)
    instrumentation: Any = ()
    attempts: tuple[Attempt, ...] = ()
    """The attempts of the last call."""
    transport: ScriptedTransport = field(init=False)
    limiter: RateLimiter = field(init=False)
    pipeline: Pipeline = field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = PipelineSettings(**{"retry": RetryPolicy(), **self.settings})
        clock.randomness = Jitter(self.randomness)
        self.transport = ScriptedTransport(self.script)
        self.limiter = RateLimiter(settings.rate_limit)
        hooks = Hooks(self.instrumentation) if self.instrumentation else None
        self.pipeline = Pipeline(
            self.transport, Tokens(self.token), self.limiter, settings, base_url="https://h", hooks=hooks
        )

    async def deliver(self, request: WireRequest, organization: Any, timeout: float | None) -> Any:
        """Return the response as it came, and its attempts."""
        try:
            response, self.attempts = await self.pipeline.execute(
                request, organization, timeout, lambda response, attempts: (response, attempts)
            )
        except CallsInProgressError as error:
            self.attempts = error.attempts
            raise
        return response, list(self.attempts)

    async def go(self, request: WireRequest = FIND, timeout: float | None = None) -> Any:
        """Execute one request; return the status, or the error."""
        try:
            response, _ = await self.deliver(request, ACME, timeout)
        except Exception as error:
            return error
        return response.status

    async def fail(self, request: WireRequest = FIND, timeout: float | None = None, organization: Any = ACME) -> Any:
        """Execute one request, and return the error; a response with a status of 400 or more is one."""

        def read(response: WireResponse, attempts: tuple[Attempt, ...]) -> None:
            if response.status >= 400:
                raise ResponseError(f"HTTP {response.status}", status=response.status)

        try:
            await self.pipeline.execute(request, organization, timeout, read)
        except CallsInProgressError as error:
            self.attempts = error.attempts
            return error
        raise AssertionError("it did not fail")

    @property
    def slept(self) -> list[float]:
        """The waits between the attempts of the last call, in seconds."""
        return [round(attempt.backoff, 6) for attempt in self.attempts[:-1]]


def rig(*script: Any, token: Any = TOKEN, randomness: Callable[[], float] = lambda: 1.0, **settings: Any) -> Rig:
    """Make a rig; a script entry is a `Scripted`, a status or an exception."""
    steps = [each if isinstance(each, Scripted) else Scripted(each) for each in script or (200,)]
    instrumentation = settings.pop("instrumentation", ())
    return Rig(steps, token=token, randomness=randomness, settings=settings, instrumentation=instrumentation)
