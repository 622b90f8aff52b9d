"""A contact-centre back end: the phone rings, and the agent's screen asks who is calling.

One client for the whole application, opened and closed with it; the answer is shared by all screens that ask within
half a second.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, Organization

CLIENT = web.AppKey("client", CallsInProgressClient)


async def client_of_application(app: web.Application) -> AsyncIterator[None]:
    """Open the client when the application starts, close it when it stops."""
    async with CallsInProgressClient.from_env(timeout=2.0) as client:
        app[CLIENT] = client
        yield


async def live_calls(request: web.Request) -> web.Response:
    """Answer with the calls that are live for an organization, or with 503 and the reason."""
    organization = Organization.parse(request.match_info["organization"])
    try:
        found = await request.app[CLIENT].find(organization, max_age=0.5)
    except CallsInProgressError as error:
        return web.json_response({"error": str(error)}, status=503)
    return web.json_response(
        [{"id": call.transaction_id, "from": call.calling_phone_number, "city": call.city} for call in found]
    )


def make_application() -> web.Application:
    """Put the application together; serve it with ``web.run_app(make_application())``."""
    app = web.Application()
    app.cleanup_ctx.append(client_of_application)
    app.router.add_get("/calls/{organization}", live_calls)
    return app


async def main() -> None:
    """Ask once, as a screen would."""
    async with TestClient(TestServer(make_application())) as screen, screen.get("/calls/advertiser:2") as answer:
        print(answer.status, len(await answer.json()), "calls")


if __name__ == "__main__":
    import asyncio

    asyncio.run(main())
