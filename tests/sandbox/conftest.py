"""A sandbox on a loop whose clock tests turn by hand, and a plain aiohttp session to send requests with."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import attrs
import pytest

from calls_in_progress_async import Organization
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.testing import VirtualClock

ORGANIZATION = Organization(2, "advertiser")


@attrs.frozen
class Reply:
    """A whole response."""

    status: int
    headers: Any
    body: bytes
    json: Any


@attrs.define
class Asker:
    """A sandbox and a session to send requests to it."""

    sandbox: SandboxServer
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, params: dict[str, str], **options: Any) -> Reply:
        headers = {"Authorization": self.sandbox.token, **options.pop("headers", {})}
        url = f"{self.sandbox.url}/api/2022-08-01/{path}"
        async with self.session.request(method, url, params=params, headers=headers, **options) as response:
            body = await response.read()
            content = await response.json() if response.content_type == "application/json" and body else None
            return Reply(response.status, response.headers, body, content)

    async def find(
        self, organization: Organization = ORGANIZATION, headers: Any = None, kind: str | None = None, **filters: str
    ) -> Reply:
        params = {"id": str(organization.id), "organization_type": kind or organization.type, **filters}
        return await self.ask("GET", "calls_in_progress/current_calls.json", params, headers=headers or {})

    async def update(self, changes: Any, method: str = "PUT", **ids: str) -> Reply:
        params = {"id": "2", "organization_type": "advertiser", **ids}
        return await self.ask(method, "calls_in_progress.json", params, json={"call_in_progress": changes})


@pytest.fixture
def clock(calls_in_progress_clock: VirtualClock) -> VirtualClock:
    """Turn the running loop's clock by hand."""
    return calls_in_progress_clock


@pytest.fixture
def asking(clock: VirtualClock) -> Callable[..., AbstractAsyncContextManager[Asker]]:
    """Open a sandbox with these settings: three organizations and scripted calls only, by default."""

    @asynccontextmanager
    async def open_asker(**settings: Any) -> AsyncIterator[Asker]:
        settings = {"organizations": 3, "calls_per_organization": 0, **settings}
        async with SandboxServer(**settings) as sandbox, aiohttp.ClientSession() as session:
            yield Asker(sandbox, session)

    return open_asker
