"""The wallboard's aiohttp application: the page, its files, and the stream of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import web

from ..client import CallsInProgressClient
from ..organization import Organization
from .assets import assets, version
from .feed import Feed, WatchFeed
from .publisher import Publisher
from .security import Gate, add_headers, host_check, sign_in_page
from .settings import BoardSettings

_PUBLISHER = web.AppKey("publisher", Publisher)
_STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold messages back
}


def application(
    client: CallsInProgressClient, organizations: Iterable[Organization], *, interval: float = 5.0, **settings: Any
) -> web.Application:
    """Make a wallboard of organizations polled by a client.

    Mount it behind your own authentication, under any prefix with a slash at its end::

        app.add_subapp("/calls/", application(client, organizations))

    Args:
        client: The client for polling, open for as long as the application runs.
        organizations: The organizations on the board.
        interval: Seconds between two polls of an organization.
        **settings: The fields of `BoardSettings`, such as ``fields=["utm_source"]``.

    Raises:
        InvalidRequestError: A setting is out of its range; ``parameter`` names the setting.
    """
    named = list(organizations)
    return board_application(lambda: WatchFeed(client, named, interval), **settings)


def board_application(open_feed: Callable[[], AbstractAsyncContextManager[Feed]], **settings: Any) -> web.Application:
    """Make a wallboard of any feed.

    Args:
        open_feed: Returns the feed; the application enters its context on startup and leaves it on cleanup.
        **settings: The fields of `BoardSettings`.

    Raises:
        InvalidRequestError: A setting is out of its range; ``parameter`` names the setting.
    """
    chosen = BoardSettings(**settings)
    gate = Gate(chosen.page_token)
    app = web.Application(middlewares=[host_check(chosen)])
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.append(_publishing(open_feed, chosen))
    app.on_shutdown.append(_end_streams)
    pages = _Pages(gate, chosen.max_browsers)
    app.router.add_get("/", pages.page)
    app.router.add_get("/events", pages.events)
    app.router.add_get("/ping", pages.ping)
    app.router.add_get("/static/{name}", _static)
    app.router.add_post("/sign-in", gate.sign_in)
    return app


def _publishing(
    open_feed: Callable[[], AbstractAsyncContextManager[Feed]], settings: BoardSettings
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def publish(app: web.Application) -> AsyncIterator[None]:
        async with open_feed() as feed:
            app[_PUBLISHER] = publisher = Publisher(feed, settings, version())
            publisher.start()
            try:
                yield
            finally:
                await publisher.close()

    return publish


async def _end_streams(app: web.Application) -> None:
    app[_PUBLISHER].broadcast.close()


class _Pages:
    """The handlers guarded by the page token."""

    def __init__(self, gate: Gate, max_browsers: int) -> None:
        self._gate = gate
        self._max_browsers = max_browsers

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Serve the board, or the sign-in page."""
        return _file(request, "wallboard.html") if self._gate.is_open_to(request) else sign_in_page()

    async def ping(self, request: web.Request) -> web.Response:
        """Respond with 204 to a browser still signed in; a page asks after losing its stream."""
        self._gate.check(request)
        return web.Response(status=204)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Serve the stream of events, from the first event new to the browser."""
        self._gate.check(request)
        broadcast = request.app[_PUBLISHER].broadcast
        if len(broadcast.subscriptions) >= self._max_browsers:
            raise web.HTTPServiceUnavailable(text="Too many browsers.", headers={"Retry-After": "10"})
        response = web.StreamResponse(headers=_STREAM_HEADERS)
        await response.prepare(request)
        last_event_id = request.headers.get("Last-Event-ID") or request.query.get("after", "")
        subscription = broadcast.subscribe(last_event_id, lambda: _abort(request))
        try:
            while messages := await subscription.take():
                await response.write(messages)
        except ConnectionError:
            pass  # the browser has gone, or was too slow
        finally:
            broadcast.drop(subscription)
        return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _static(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if name not in assets() or name.endswith(".html"):
        raise web.HTTPNotFound(text="There is no such file.")
    return _file(request, name)


def _file(request: web.Request, name: str) -> web.Response:
    asset = assets()[name]
    headers = {"Cache-Control": "no-cache", "ETag": f'"{asset.etag}"'}
    if any(tag.value == asset.etag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)
