"""A back end with aiohttp.web: the application's own session asks the CRM and the API.

Run ``python back_end.py`` with ``CALLS_IN_PROGRESS_TOKEN`` and ``CRM_URL`` set. The client sends through the session,
so the connector, proxy and TLS settings of the application apply. The session opens before the client and closes after
it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from calls_in_progress_async import (
    Call,
    CallNotFoundError,
    CallsInProgressClient,
    CallsInProgressError,
    InvalidRequestError,
    Organization,
)

SESSION = web.AppKey("session", aiohttp.ClientSession)
CLIENT = web.AppKey("client", CallsInProgressClient)
CRM_URL = web.AppKey("crm_url", str)


async def open_session(app: web.Application) -> AsyncIterator[None]:
    """Open the session of all outgoing requests."""
    connector = aiohttp.TCPConnector(limit=50)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=2.0)) as session:
        app[SESSION] = session
        yield


async def open_client(app: web.Application) -> AsyncIterator[None]:
    """Open the client over the application's session."""
    async with CallsInProgressClient.from_env(session=app[SESSION], timeout=3.0) as client:
        app[CLIENT] = client
        yield


async def find_customer(app: web.Application, call: Call) -> str | None:
    """Return the name of the caller from the CRM; None if the CRM does not know the number, or fails."""
    asked = {"phone": call.calling_phone_number}  # not in the query string, which servers log
    try:
        async with app[SESSION].post(app[CRM_URL], json=asked) as response:
            name: str | None = (await response.json()).get("name") if response.ok else None
            return name
    except (aiohttp.ClientError, TimeoutError):
        return None  # a screen without the name is better than no screen


async def live_calls(request: web.Request) -> web.Response:
    """List the live calls of an organization, with the customer of each."""
    organization = Organization.parse(request.match_info["organization"])
    calls = await request.app[CLIENT].find(organization, max_age=0.5)
    customers = await asyncio.gather(*(find_customer(request.app, call) for call in calls))
    rows: list[dict[str, Any]] = [
        {"id": call.transaction_id, "city": call.city, "customer": customer}
        for call, customer in zip(calls, customers, strict=True)
    ]
    return web.json_response(rows)


async def dispose(request: web.Request) -> web.Response:
    """Write the agent's disposition onto a live call."""
    await request.app[CLIENT].update(
        Organization.parse(request.match_info["organization"]),
        transaction_id=request.match_info["transaction_id"],
        custom_data={"Call Disposition": (await request.json())["disposition"]},
    )
    return web.Response(status=204)


@web.middleware
async def report_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn an error into a status. Its message is for operators, so the browser gets the class alone."""
    try:
        return await handler(request)
    except InvalidRequestError as error:
        return web.json_response({"error": type(error).__name__}, status=422)
    except CallNotFoundError as error:
        return web.json_response({"error": type(error).__name__}, status=404)
    except CallsInProgressError as error:
        body = {"error": type(error).__name__, "may_have_been_applied": error.may_have_been_applied}
        return web.json_response(body, status=502)


def make_application(crm_url: str) -> web.Application:
    """Make the application. aiohttp closes its contexts in reverse order: first the client, then the session."""
    app = web.Application(middlewares=[report_errors])
    app[CRM_URL] = crm_url
    app.cleanup_ctx.extend([open_session, open_client])
    app.router.add_get("/calls/{organization}", live_calls)
    app.router.add_put("/calls/{organization}/{transaction_id}", dispose)
    return app


if __name__ == "__main__":
    web.run_app(make_application(os.environ["CRM_URL"]), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
