"""A sandbox on a clock that tests turn by hand, and a plain aiohttp session to ask it with."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import attrs
import pytest

from calls_in_progress_async.sandbox import SandboxServer

ORGANIZATION = (2, "advertiser")


@attrs.define
class Clock:
    """Seconds that pass when a test says so."""

    seconds: float = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@attrs.frozen
class Reply:
    """A whole response."""

    status: int
    headers: Any
    body: bytes
    json: Any


@attrs.define
class Asker:
    """A sandbox and a session that talks to it."""

    sandbox: SandboxServer
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, params: dict[str, str], **options: Any) -> Reply:
        headers = {"Authorization": self.sandbox.token, **options.pop("headers", {})}
        url = f"{self.sandbox.url}/api/2022-08-01/{path}"
        async with self.session.request(method, url, params=params, headers=headers, **options) as response:
            body = await response.read()
            content = await response.json() if response.content_type == "application/json" and body else None
            return Reply(response.status, response.headers, body, content)

    async def find(self, organization: tuple[int, str] = ORGANIZATION, headers: Any = None, **filters: str) -> Reply:
        number, kind = organization
        params = {"id": str(number), "organization_type": kind, **filters}
        return await self.ask("GET", "calls_in_progress/current_calls.json", params, headers=headers or {})

    async def update(self, changes: Any, method: str = "PUT", **ids: str) -> Reply:
        params = {"id": "2", "organization_type": "advertiser", **ids}
        return await self.ask(method, "calls_in_progress.json", params, json={"call_in_progress": changes})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def asking(clock: Clock) -> Callable[..., AbstractAsyncContextManager[Asker]]:
    """Opens a sandbox with these settings: three organizations, and no calls but scripted ones unless told."""

    @asynccontextmanager
    async def open_asker(**settings: Any) -> AsyncIterator[Asker]:
        settings = {"organizations": 3, "calls_per_organization": 0, "clock": clock, **settings}
        async with SandboxServer(**settings) as sandbox, aiohttp.ClientSession() as session:
            yield Asker(sandbox, session)

    return open_asker
