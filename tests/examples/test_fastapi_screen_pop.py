"""The screen pop serves many screens, and answers every running request before it stops."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from examples.programs import finish, read_until, running, until

from calls_in_progress_async import Organization
from calls_in_progress_async.sandbox import SandboxServer

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

ACME = Organization.advertiser(2)


@asynccontextmanager
async def serving(sandbox: SandboxServer) -> AsyncIterator[tuple[asyncio.subprocess.Process, aiohttp.ClientSession]]:
    """Serve the screen pop with uvicorn, and open a browser of it."""
    variables = {"CALLS_IN_PROGRESS_BASE_URL": sandbox.url, "CALLS_IN_PROGRESS_TOKEN": sandbox.token, "PORT": "0"}
    async with running("fastapi_screen_pop/screen_pop.py", **variables) as process:
        url = re.search(r"http://\S+", await read_until(process, "Uvicorn running"))
        assert url is not None
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(url[0], connector=connector) as browser:
            yield process, browser


async def status_of(request: Awaitable[aiohttp.ClientResponse]) -> int:
    async with await request as response:
        await response.read()
        return response.status


async def test_every_running_request_is_answered_before_the_server_stops() -> None:
    """SIGTERM arrives while 100 agents write: each is answered, nothing is lost, and the exit status is 0."""
    async with (
        SandboxServer(organizations=101, calls_per_organization=0) as sandbox,
        serving(sandbox) as (process, browser),
    ):
        paths = {
            organization: f"/calls/{organization}/{sandbox.start_call(organization)}"
            for organization in map(Organization.advertiser, range(2, 102))
        }
        looks = [status_of(browser.get(f"/calls/{organization}")) for organization in paths]
        assert set(await asyncio.gather(*looks)) == {200}
        sandbox.latency = 1.0  # longer than all of them take to arrive, so the signal finds them running
        agents = [
            asyncio.ensure_future(status_of(browser.put(path, json={"disposition": "SALE"}))) for path in paths.values()
        ]
        await until(lambda: len(sandbox.updates) == len(agents))
        assert not all(agent.done() for agent in agents)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.gather(*agents) == [204] * len(agents)
        status, output = await finish(process)
        assert status == 0, output
        assert "Application shutdown complete" in output
        assert "Traceback" not in output
        with pytest.raises(aiohttp.ClientConnectionError):
            await status_of(browser.get("/calls/advertiser:2"))
        for organization, path in paths.items():
            assert sandbox.written(organization, path.rpartition("/")[2]) == {"Call Disposition": "SALE"}


async def test_a_screen_pops_for_a_call_and_the_disposition_is_written() -> None:
    """A ringing phone waits for its call; the disposition reaches the server; errors become statuses."""
    async with (
        SandboxServer(organizations=2, calls_per_organization=0, seed=7) as sandbox,
        serving(sandbox) as (_, browser),
    ):
        numbers = {"caller": "805-555-1234", "destination": "855-555-5599"}
        ringing = asyncio.ensure_future(browser.post("/calls/advertiser:2/ringing", json=numbers))
        await until(lambda: sandbox.stats.requests > 0)
        fields = {"calling_phone_number": "+18055551234", "destination_phone_number": "855-555-5599"}
        call = sandbox.start_call(ACME, city="Boston", **fields)
        async with await ringing as response:
            shown = await response.json()
        assert (shown["id"], shown["caller"], shown["city"]) == (call, "+18055551234", "Boston")
        statuses = {}
        for name in (call, "GONE-1"):
            async with browser.put(f"/calls/advertiser:2/{name}", json={"disposition": "SALE"}) as response:
                statuses[name] = response.status
        assert statuses == {call: 204, "GONE-1": 404}
        assert sandbox.written(ACME, call) == {"Call Disposition": "SALE"}
        async with browser.get("/calls/acme") as response:
            assert (response.status, await response.json()) == (
                422,
                {"error": "InvalidRequestError", "may_have_been_applied": False},
            )
        sandbox.fail_next(9)
        async with browser.get("/calls/advertiser:2") as response:
            assert (response.status, (await response.json())["error"]) == (502, "ServerError")


async def test_a_ringing_phone_without_a_call_differs_from_an_api_without_a_response() -> None:
    """Nothing listed is a 404; no response in time is a 504."""
    globex = Organization.advertiser(3)
    async with (
        SandboxServer(organizations=3, calls_per_organization=0, seed=7) as sandbox,
        serving(sandbox) as (_, browser),
    ):
        sandbox.fail_next(9, "hang", organization=globex)
        numbers = {"caller": "805-555-1234", "destination": "855-555-5599"}
        looks = [browser.post(f"/calls/{each}/ringing", json=numbers) for each in (ACME, globex)]
        shown = [(response.status, (await response.json())["error"]) for response in await asyncio.gather(*looks)]
    assert shown == [(404, "NoSuchCall"), (504, "DeadlineExceededError")]
