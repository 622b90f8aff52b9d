"""A pipeline over a scripted transport, in virtual time."""

from __future__ import annotations

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
from calls_in_progress_async.testing import ScriptedTransport
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


class CountingTransport(ScriptedTransport):
    """Repeats the last response of its script, and counts the attempts that run."""

    def __init__(self, *script: Any) -> None:
        super().__init__(*script, repeat_last=True)
        self.running = self.most = 0
        self._began = clock.now()

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await super().send(request, token, state)
        finally:
            self.running -= 1

    @property
    def times(self) -> list[float]:
        """The times of the requests in seconds since the transport was made."""
        return [round(each.time - self._began, 6) for each in self.requests]

    @property
    def sent(self) -> list[tuple[float, str]]:
        """The times and tokens of the requests."""
        return [(time, each.token) for time, each in zip(self.times, self.requests, strict=True)]


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

    script: list[Any]
    token: Any = TOKEN
    randomness: Callable[[], float] = lambda: 1.0
    settings: dict[str, Any] = field(factory=dict)
    instrumentation: Any = ()
    attempts: tuple[Attempt, ...] = ()
    """The attempts of the last call."""
    transport: CountingTransport = field(init=False)
    limiter: RateLimiter = field(init=False)
    pipeline: Pipeline = field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = PipelineSettings(**{"retry": RetryPolicy(), **self.settings})
        clock.randomness = Jitter(self.randomness)
        self.transport = CountingTransport(*self.script)
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
    """Make a rig; the script is that of a `ScriptedTransport`."""
    hooks = settings.pop("instrumentation", ())
    return Rig(list(script) or [200], token=token, randomness=randomness, settings=settings, instrumentation=hooks)
