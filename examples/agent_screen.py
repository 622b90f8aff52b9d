"""A contact-centre back end: the phone rings, and the agent's screen asks for the caller.

The application opens one client at its start and closes it at its end. Screens share a response for half a second.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, Organization

CLIENT = web.AppKey("client", CallsInProgressClient)


async def open_client(app: web.Application) -> AsyncIterator[None]:
    """Open the client when the application starts and close it when the application stops."""
    async with CallsInProgressClient.from_env(timeout=2.0) as client:
        app[CLIENT] = client
        yield


async def live_calls(request: web.Request) -> web.Response:
    """Return the live calls of an organization, or 503 and the reason."""
    organization = Organization.parse(request.match_info["organization"])
    try:
        calls = await request.app[CLIENT].find(organization, max_age=0.5)
    except CallsInProgressError as error:
        return web.json_response({"error": str(error)}, status=503)
    return web.json_response(
        [{"id": call.transaction_id, "from": call.calling_phone_number, "city": call.city} for call in calls]
    )


def make_application() -> web.Application:
    """Make the application; serve it with ``web.run_app(make_application())``."""
    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.router.add_get("/calls/{organization}", live_calls)
    return app


async def main() -> None:
    """Ask once, like a screen."""
    async with TestClient(TestServer(make_application())) as screen, screen.get("/calls/advertiser:2") as response:
        print(response.status, len(await response.json()), "calls")


if __name__ == "__main__":
    import asyncio

    asyncio.run(main())
