"""One request and its answer on the wire: what is noted of it, what goes wrong with it, how long it takes."""

import asyncio
import random
import re
from collections import deque
from contextlib import suppress

from aiohttp import web

from calls_in_progress_async.sandbox.api import Api, Request, Response, response_to_fault
from calls_in_progress_async.sandbox.arguments import ArgumentsInvalid, organization_key
from calls_in_progress_async.sandbox.faults import Fault, FaultInjector
from calls_in_progress_async.sandbox.history import RequestSeen, Stats, UpdateApplied
from calls_in_progress_async.sandbox.settings import SandboxSettings
from calls_in_progress_async.sandbox.simulation import Simulation

_REQUESTS_KEPT = 1_000
_UPDATES_KEPT = 100_000
_SECRET_IN_QUERY = re.compile(r"(?<=oauth_token=)[^&]*")


class Exchanges:
    """Serves requests and keeps the record of them.

    What a request gets is decided, and an update carried out, the moment it has arrived. Latency only delays the
    answer, so that a client which gives up waiting for an update's answer has been heard all the same.
    """

    def __init__(self, settings: SandboxSettings, world: Simulation) -> None:
        self.requests: deque[RequestSeen] = deque(maxlen=_REQUESTS_KEPT)
        self.updates: deque[UpdateApplied] = deque(maxlen=_UPDATES_KEPT)
        self.stats = Stats()
        self.dice = FaultInjector(settings.seed)
        self._settings = settings
        self._world = world
        self._api = Api(settings, world, self.updates)
        self._jitter = random.Random(f"{settings.seed}:latency")  # noqa: S311 - reproducible, not secret

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        self.stats.in_flight += 1
        self.stats.peak_in_flight = max(self.stats.peak_in_flight, self.stats.in_flight)
        try:
            question = self._note(request, await request.read() if request.body_exists else b"")
            fault = self._throw(question)
            answer = self._decide(question, fault)
            await self._wait(fault)
            return await _send(request, answer, fault)
        finally:
            self.stats.in_flight -= 1

    def _note(self, request: web.BaseRequest, body: bytes) -> Request:
        headers = {name.lower(): value for name, value in request.headers.items()}
        question = Request(
            method=request.method,
            target=request.raw_path,
            token=headers.get("authorization", ""),
            content_type=headers.get("content-type", ""),
            body=body,
        )
        if question.token:
            headers["authorization"] = "[hidden]"
        path = _SECRET_IN_QUERY.sub("[hidden]", request.raw_path)
        self.requests.append(
            RequestSeen(time=self._world.now(), method=request.method, path=path, headers=headers, body=body)
        )
        self.stats.requests += 1
        return question

    def _throw(self, question: Request) -> Fault | None:
        organization = None
        with suppress(ArgumentsInvalid):
            organization = organization_key(question.arguments, "any")
            self.stats.organizations[organization] += 1
        fault = self.dice.throw(organization, self._settings.faults)
        self.stats.faults += fault is not None
        return fault

    def _decide(self, question: Request, fault: Fault | None) -> Response | None:
        """Returns what to answer, if anything, and carries the request out if it gets that far."""
        if fault is not None and fault.kind in ("status", "garbage"):
            answer = response_to_fault(fault)
        elif fault is not None and fault.kind in ("disconnect", "hang"):
            return None
        else:
            answer = self._answer(question)
        self.stats.statuses[answer.status] += 1
        return answer

    def _answer(self, question: Request) -> Response:
        refusal = self._api.refusal(question.token)
        if refusal is None:
            self.stats.allowed += 1
            return self._api.answer(question)
        self.stats.refused += refusal.status == 429
        return refusal

    async def _wait(self, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "hang":
            # Until the client goes away or the sandbox closes: both cancel this.
            await asyncio.get_running_loop().create_future()
        settings = self._settings
        if settings.latency or settings.latency_jitter:
            await settings.sleep(settings.latency + settings.latency_jitter * self._jitter.random())


async def _send(request: web.BaseRequest, answer: Response | None, fault: Fault | None) -> web.StreamResponse:
    if answer is None or (fault is not None and fault.kind == "disconnect-after"):
        request.protocol.force_close()
        return web.Response()
    if fault is not None and fault.kind == "truncate":
        return await _send_half(request, answer)
    return web.Response(
        status=answer.status, body=answer.body, headers=answer.headers, content_type=answer.content_type
    )


async def _send_half(request: web.BaseRequest, answer: Response) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.content_type
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    request.protocol.force_close()
    return response
