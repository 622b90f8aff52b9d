"""The back end with aiohttp.web shares one session between the CRM and the API."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from examples.programs import finish, read_until, running

from calls_in_progress_async import Organization
from calls_in_progress_async.sandbox import SandboxServer

ACME = Organization.advertiser(2)


@pytest.fixture
async def crm() -> AsyncIterator[str]:
    """Serve a CRM that knows one number, and fails for another."""

    async def customer(request: web.Request) -> web.Response:
        phone = (await request.json())["phone"]
        if phone == "+18055550000":
            return web.Response(status=500)
        names = {"+18055551234": "Ann Lee"}
        return web.json_response({"name": names.get(phone)})

    app = web.Application()
    app.router.add_post("/customers", customer)
    async with TestServer(app) as server:
        yield str(server.make_url("/customers"))


async def test_calls_come_with_their_customers_and_sigterm_ends_it_quietly(crm: str) -> None:
    """Each call has the customer that the CRM knows; a failing CRM costs the name only; SIGTERM exits with 0."""
    async with SandboxServer(organizations=2, calls_per_organization=0) as sandbox:
        numbers = {"+18055551234": "Ann Lee", "+18055559999": None, "+18055550000": None}
        calls = {sandbox.start_call(ACME, calling_phone_number=number): name for number, name in numbers.items()}
        variables = {"CALLS_IN_PROGRESS_BASE_URL": sandbox.url, "CALLS_IN_PROGRESS_TOKEN": sandbox.token}
        async with running("aiohttp_back_end/back_end.py", CRM_URL=crm, PORT="0", **variables) as process:
            url = re.search(r"http://\S+:\d+", await read_until(process, "Running on"))
            assert url is not None
            async with aiohttp.ClientSession(url[0]) as browser:
                async with browser.get("/calls/advertiser:2") as response:
                    assert {each["id"]: each["customer"] for each in await response.json()} == calls
                first = next(iter(calls))
                assert await put(browser, first) == (204, None)
                assert sandbox.written(ACME, first) == {"Call Disposition": "SALE"}
                assert await put(browser, "GONE-1") == (404, {"error": "CallNotFoundError"})
                sandbox.fail_next(9)
                failed = {"error": "ServerError", "may_have_been_applied": True}
                assert await put(browser, first) == (502, failed)
                async with browser.get("/calls/acme") as response:
                    assert response.status == 422
            process.send_signal(signal.SIGTERM)
            assert await finish(process) == (0, "(Press CTRL+C to quit)\n")


async def put(browser: aiohttp.ClientSession, call: str) -> tuple[int, object]:
    async with browser.put(f"/calls/advertiser:2/{call}", json={"disposition": "SALE"}) as response:
        body = await response.read()
        return response.status, json.loads(body) if body else None
