"""One request and its response on the wire: records, faults and latency."""

from __future__ import annotations

import asyncio
import random
import re
from collections import deque
from contextlib import suppress
from typing import Any

from aiohttp import web

from .api import Api, Request, Response, response_to_fault
from .arguments import ArgumentsInvalid, named_organization
from .faults import Fault, FaultInjector
from .history import AppliedUpdate, RecordedRequest, SandboxStats
from .settings import SandboxSettings
from .simulation import Simulation

_REQUESTS_KEPT = 1_000
_UPDATES_KEPT = 100_000
_TOKEN_IN_QUERY = re.compile(r"(?<=oauth_token=)[^&]*")


class RequestHandler:
    """Handles requests and records them.

    A request takes effect on its arrival. Latency delays only the response, so that an update counts even if its client
    stops waiting for the response.
    """

    def __init__(self, settings: SandboxSettings, simulation: Simulation) -> None:
        self.requests: deque[RecordedRequest] = deque(maxlen=_REQUESTS_KEPT)
        self.updates: deque[AppliedUpdate] = deque(maxlen=_UPDATES_KEPT)
        self.stats: SandboxStats = SandboxStats()
        self.fault_injector: FaultInjector = FaultInjector(settings.seed)
        self._settings = settings
        self._simulation = simulation
        self._api = Api(settings, simulation, self.updates)
        self._jitter = random.Random(f"{settings.seed}:latency")  # noqa: S311 - reproducible, not secret
        self._tasks: set[asyncio.Task[Any]] = set()

    async def handle(self, web_request: web.BaseRequest) -> web.StreamResponse:
        """Respond to one request."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._tasks.add(task)
        self.stats.in_flight += 1
        self.stats.peak_in_flight = max(self.stats.peak_in_flight, self.stats.in_flight)
        try:
            request = self._record(web_request, await web_request.read() if web_request.body_exists else b"")
            fault = self._draw_fault(request)
            response = self._decide(request, fault)
            await self._delay(fault)
            return await _send(web_request, response, fault)
        finally:
            self.stats.in_flight -= 1
            self._tasks.discard(task)

    def cancel(self) -> None:
        """Cancel every request in flight."""
        for task in self._tasks:
            task.cancel()

    def _record(self, web_request: web.BaseRequest, body: bytes) -> Request:
        headers = {name.lower(): value for name, value in web_request.headers.items()}
        request = Request(
            method=web_request.method,
            target=web_request.raw_path,
            token=headers.get("authorization", ""),
            content_type=headers.get("content-type", ""),
            body=body,
        )
        if request.token:
            headers["authorization"] = "[hidden]"
        path = _TOKEN_IN_QUERY.sub("[hidden]", web_request.raw_path)
        self.requests.append(
            RecordedRequest(
                time=self._simulation.now(), method=web_request.method, path=path, headers=headers, body=body
            )
        )
        self.stats.requests += 1
        return request

    def _draw_fault(self, request: Request) -> Fault | None:
        organization = None
        with suppress(ArgumentsInvalid):
            organization = named_organization(request.arguments, "any")
            self.stats.organizations[organization] += 1
        fault = self.fault_injector.draw(organization, self._settings.faults)
        self.stats.faults += fault is not None
        return fault

    def _decide(self, request: Request, fault: Fault | None) -> Response | None:
        """Return the response, if any, and carry the request out unless the fault prevents it."""
        if fault is not None and fault.kind in ("status", "garbage"):
            response = response_to_fault(fault)
        elif fault is not None and fault.kind in ("disconnect", "hang"):
            return None
        else:
            response = self._respond(request)
        self.stats.statuses[response.status] += 1
        return response

    def _respond(self, request: Request) -> Response:
        rejection = self._api.rejection(request.token)
        if rejection is None:
            self.stats.allowed += 1
            return self._api.respond(request)
        self.stats.throttled += rejection.status == 429
        return rejection

    async def _delay(self, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "hang":
            # Until the client disconnects or the sandbox closes: both cancel this.
            await asyncio.get_running_loop().create_future()
        settings = self._settings
        if settings.latency or settings.latency_jitter:
            await asyncio.sleep(settings.latency + settings.latency_jitter * self._jitter.random())


async def _send(web_request: web.BaseRequest, response: Response | None, fault: Fault | None) -> web.StreamResponse:
    if response is None or (fault is not None and fault.kind == "disconnect-after"):
        web_request.protocol.force_close()
        return web.Response()
    if fault is not None and fault.kind == "truncate":
        return await _send_half(web_request, response)
    return web.Response(
        status=response.status, body=response.body, headers=response.headers, content_type=response.content_type
    )


async def _send_half(web_request: web.BaseRequest, response: Response) -> web.StreamResponse:
    sent = web.StreamResponse(status=response.status, headers=response.headers)
    sent.content_type = response.content_type
    sent.content_length = len(response.body)
    await sent.prepare(web_request)
    await sent.write(response.body[: len(response.body) // 2])
    web_request.protocol.force_close()
    return sent
