"""A delivery over a transport that follows a script, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from attrs import define, field
from transport.servers import ACME, TOKEN

from calls_in_progress_async import CurrentCallsRequest, RetryPolicy, UpdateCallRequest
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.transport import pipeline as pipelines
from calls_in_progress_async.transport.protocol import SendState
from calls_in_progress_async.transport.tokens import Tokens
from calls_in_progress_async.transport.wire import WireRequest, WireResponse

FIND = CurrentCallsRequest(organization=ACME).wire(WireFormat())


def write(**changes: Any) -> WireRequest:
    """An update, of call T unless it says otherwise."""
    names = {} if "external_unique_id" in changes else {"transaction_id": "T"}
    changes = {**names, "custom_data": {"a": "b"}, **changes}
    return UpdateCallRequest(organization=ACME, **changes).wire(WireFormat())


@define
class Answer:
    """What one attempt comes to, and after how many seconds."""

    what: int | Exception = 200
    headers: dict[str, str] = field(factory=dict)
    takes: float = 0.0


@define
class ScriptedTransport:
    """Answers with the next of its script, the last again and again."""

    script: list[Answer]
    sent: list[tuple[float, str]] = field(factory=list)
    requests: list[WireRequest] = field(factory=list)
    running: int = 0
    most: int = 0
    closed: bool = False

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        self.sent.append((asyncio.get_running_loop().time() - 1_000_000.0, token))
        self.requests.append(request)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        state.may_have_been_sent = request.body is not None
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(answer.takes)
        finally:
            self.running -= 1
        if isinstance(answer.what, Exception):
            raise answer.what
        return WireResponse(answer.what, answer.headers, b"")

    @property
    def times(self) -> list[float]:
        return [round(time, 6) for time, _ in self.sent]

    async def close(self) -> None:
        self.closed = True

    def abandon(self) -> None:
        """There is nothing to abandon."""


@define
class Rig:
    """A delivery, its transport and the waits it made. Make it in a running loop."""

    script: list[Answer]
    token: Any = TOKEN
    randomness: Callable[[], float] = lambda: 1.0
    settings: dict[str, Any] = field(factory=dict)
    slept: list[float] = field(factory=list)
    transport: ScriptedTransport = field(init=False)
    pipeline: pipelines.Pipeline = field(init=False)

    def __attrs_post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        settings = pipelines.PipelineSettings(**{"retry": RetryPolicy(), **self.settings})
        self.transport = ScriptedTransport(self.script)
        self.pipeline = pipelines.Pipeline(
            self.transport,
            Tokens(self.token),
            pipelines.RateLimiter(settings.rate_limit),
            settings,
            host="h",
            clock=loop.time,
            sleep=self._sleep,
            randomness=self.randomness,
        )

    async def _sleep(self, seconds: float, result: bool) -> bool:
        self.slept.append(round(seconds, 6))
        return await asyncio.sleep(seconds, result)

    async def deliver(self, request: WireRequest, organization: Any, timeout: float | None) -> Any:
        """Return the response as it came, and its attempts as ``.attempts``."""
        return await self.pipeline.execute(
            request, organization, timeout, lambda response, attempts: (response, SimpleNamespace(attempts=[*attempts]))
        )

    async def go(self, request: WireRequest = FIND, timeout: float | None = None) -> Any:
        """Deliver one request; the status, or the error."""
        try:
            response, _ = await self.deliver(request, ACME, timeout)
        except Exception as error:
            return error
        return response.status


def rig(*script: Any, token: Any = TOKEN, randomness: Callable[[], float] = lambda: 1.0, **settings: Any) -> Rig:
    """A rig; a script entry is an `Answer`, a status or an exception."""
    answers = [each if isinstance(each, Answer) else Answer(each) for each in script or (200,)]
    return Rig(answers, token=token, randomness=randomness, settings=settings)
