"""A sandbox as the API of a fleet, with a record of every poll. All times are Unix times."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from fleet.audit import Truth

from calls_in_progress_async.sandbox import SandboxServer

_RECORD = 0.05
"""Seconds between two readings of the sandbox's last 1,000 requests."""


class RecordedSandbox:
    """Runs a sandbox, and keeps the time of every poll by organization."""

    def __init__(self, **settings: Any) -> None:
        self._sandbox = SandboxServer(**settings)
        self._polls: dict[str, list[float]] = defaultdict(list)
        self._epoch = 0.0

    async def __aenter__(self) -> Self:
        await self._sandbox.start()
        self.url, self.token = self._sandbox.url, self._sandbox.token
        self.names = [str(each) for each in self._sandbox.organizations]
        for organization in self._sandbox.organizations:
            self._sandbox.live(organization)  # creates the organization now, because creation takes time
        self._epoch = time.time() - self._sandbox.now
        self._recording = asyncio.create_task(self._record_regularly())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recording.cancel()
        await self._sandbox.close()

    async def _record_regularly(self) -> None:
        while True:
            self._record()
            await asyncio.sleep(_RECORD)

    def _record(self) -> None:
        requests = self._sandbox.requests
        while requests:
            request = requests.popleft()
            query = parse_qs(urlsplit(request.path).query)
            name = f"{query['organization_type'][0]}:{query['id'][0]}"
            self._polls[name].append(request.time + self._epoch)

    def last_polls(self) -> dict[str, float]:
        """Return the time of the last poll of each organization polled so far."""
        self._record()
        return {name: times[-1] for name, times in self._polls.items()}

    def truths(self) -> dict[str, Truth]:
        """Return the history and the polls of each organization polled so far."""
        self._record()
        return {
            str(each): Truth(
                [event._replace(time=event.time + self._epoch) for event in self._sandbox.history(each)],
                self._polls[str(each)],
            )
            for each in self._sandbox.organizations
            if str(each) in self._polls
        }
