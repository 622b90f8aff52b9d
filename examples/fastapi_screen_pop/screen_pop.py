"""A screen pop with FastAPI: the phone rings, and the agent's screen shows the caller.

Run ``python screen_pop.py`` with ``CALLS_IN_PROGRESS_TOKEN`` set, or serve ``screen_pop:app`` with uvicorn. On SIGTERM
the server takes no new connection, answers the running requests, closes the client and exits with 0.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import Body, Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from calls_in_progress_async import (
    Call,
    CallNotFoundError,
    CallsInProgressClient,
    CallsInProgressError,
    ClientClosedError,
    InvalidRequestError,
    Organization,
    RateLimit,
    RateLimitedError,
    RateLimitWaitError,
    RequestTimeoutError,
    SupersededError,
)

RATE_LIMIT = RateLimit(rate=200, burst=100, max_wait=0.5)
"""A screen prefers an error at once to a late response."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    """Open one client for the whole application, and close it after the last request."""
    async with CallsInProgressClient.from_env(timeout=3.0, rate_limit=RATE_LIMIT) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


def get_client(request: Request) -> CallsInProgressClient:
    """Return the application's client."""
    client: CallsInProgressClient = request.app.state.client
    return client


Client = Annotated[CallsInProgressClient, Depends(get_client)]
Field = Annotated[str, Body(embed=True)]
"""A field of the request's body. Phone numbers come there, because servers log paths and query strings."""


def screen(call: Call) -> dict[str, Any]:
    """Return the fields for an agent's screen."""
    return {
        "id": call.transaction_id,
        "caller": call.calling_phone_number,
        "city": call.city,
        "campaign": call.advertiser_campaign_name,
        "source": call.custom_value("utm_source"),
    }


@app.get("/calls/{organization}")
async def live_calls(organization: str, client: Client) -> list[dict[str, Any]]:
    """List the live calls. All screens of an organization share a response for half a second."""
    return [screen(call) for call in await client.find(Organization.parse(organization), max_age=0.5)]


@app.post("/calls/{organization}/ringing")
async def ringing(organization: str, caller: Field, destination: Field, client: Client) -> dict[str, Any]:
    """Wait for the call of a ringing phone: the API lists a call only after its transfer."""
    call = await client.wait_for_call(
        Organization.parse(organization), calling_phone_number=caller, destination_phone_number=destination, timeout=5.0
    )
    return screen(call)


@app.put("/calls/{organization}/{transaction_id}", status_code=204)
async def dispose(organization: str, transaction_id: str, disposition: Field, client: Client) -> None:
    """Write the agent's disposition onto a live call."""
    await client.update(
        Organization.parse(organization),
        transaction_id=transaction_id,
        custom_data={"Call Disposition": disposition},
    )


STATUSES: dict[type[CallsInProgressError], int] = {
    InvalidRequestError: 422,
    CallNotFoundError: 404,
    SupersededError: 409,
    RateLimitedError: 503,
    RateLimitWaitError: 503,
    ClientClosedError: 503,
    RequestTimeoutError: 504,
}


@app.exception_handler(CallsInProgressError)
async def report(request: Request, error: CallsInProgressError) -> JSONResponse:
    """Turn an error into a status. Its message is for operators, so the browser gets the class alone."""
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 502)
    body = {"error": type(error).__name__, "may_have_been_applied": error.may_have_been_applied}
    return JSONResponse(body, status)


@app.exception_handler(TimeoutError)
async def report_no_call(request: Request, error: TimeoutError) -> JSONResponse:
    """Tell the screen that `ringing` waited for nothing. The client's own timeouts have the handler above."""
    return JSONResponse({"error": "NoSuchCall"}, 404)


if __name__ == "__main__":
    # After its shutdown uvicorn raises the signal again; without this handler the exit status would be 143.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=10)
