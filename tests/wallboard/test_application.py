"""The board over HTTP: the page, its files, the stream, the token, and mounting under a prefix."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from wallboard.feeds import ACME, BOLT, SETTINGS, ScriptedFeed, make_call, serving
from wallboard.streams import open_stream

from calls_in_progress_async import CallsInProgressClient, ClientClosedError, InvalidRequestError, Organization, clock
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.wallboard import application, board_application, serve
from calls_in_progress_async.wallboard.application import _abort
from calls_in_progress_async.wallboard.assets import assets
from calls_in_progress_async.wallboard.broadcast import Broadcast
from calls_in_progress_async.wallboard.publisher import Publisher

TOKEN = "a page token of some length"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as opened:
        yield opened


async def test_the_page_has_a_strict_policy_and_no_inline_code(session: aiohttp.ClientSession) -> None:
    """No script or style of the page needs an exception, and no address leaves its folder."""
    async with serving(ScriptedFeed()) as url, session.get(url) as got:
        page = await got.text()
        policy = got.headers["Content-Security-Policy"]
        assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    for name in ("wallboard.html", "sign-in.html"):
        page = assets()[name].body.decode()
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page)
        assert all(not link.startswith(("/", "http")) for link in re.findall(r'(?:src|href|action)="([^"]+)"', page))


def test_no_script_makes_html_of_text_or_asks_another_host() -> None:
    """Every value reaches the page by textContent."""
    for name, asset in assets().items():
        code = asset.body.decode()
        assert not re.search(r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\b|new Function", code), name
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg|wall\.example)", code), name


async def test_files_are_served_with_their_type_and_kept_by_browsers(session: aiohttp.ClientSession) -> None:
    """A browser revalidates a cached file by its ETag."""
    async with serving(ScriptedFeed()) as url:
        async with session.get(f"{url}static/main.js") as got:
            assert got.content_type == "text/javascript"
            etag = got.headers["ETag"]
        async with session.get(f"{url}static/main.js", headers={"If-None-Match": etag}) as got:
            assert (got.status, await got.read()) == (304, b"")
        async with session.get(f"{url}static/main.js", headers={"If-None-Match": '"other"'}) as got:
            assert got.status == 200
        for name in ("wallboard.html", "missing.js", "..%2Fboard.py"):
            async with session.get(f"{url}static/{name}") as got:
                assert got.status == 404


async def test_the_stream_begins_with_everything_and_goes_on_with_changes() -> None:
    """The status comes first, then the snapshot, then updates in the order of the feed."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(1)]}
    async with serving(feed, title="Wall") as url, open_stream(url) as stream:
        assert stream.response.headers["Content-Type"] == "text/event-stream"
        status, snapshot = await stream.until("status"), await stream.until("snapshot")
        assert abs(status.data["at"] - clock.unix_time()) < 5
        assert status.data["ages"] == [1, 1]
        assert (snapshot.data["title"], snapshot.data["fields"]) == ("Wall", ["utm_source"])
        assert snapshot.data["organizations"] == ["advertiser:25", "advertiser:26"]
        assert [call["caller"] for call in snapshot.data["calls"]] == ["…0001"]
        feed.start(make_call(2), organization=BOLT)
        assert [call["caller"] for call in (await stream.until("update")).data["calls"]] == ["…0002"]
        feed.end(make_call(2), organization=BOLT)
        feed.fail()
        update = (await stream.until("update")).data
        assert len(update["ended"]) == 1
        assert update["health"]["advertiser:25"]["error"] == "ServerError"
    assert feed.left


async def test_the_whole_number_never_reaches_the_browser() -> None:
    """Neither the snapshot nor an update holds the masked digits."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(1)]}
    async with serving(feed) as url, open_stream(url) as stream:
        snapshot = await stream.until("snapshot")
        feed.start(make_call(2))
        update = await stream.until("update")
    assert "805555" not in f"{snapshot}{update}"


@pytest.mark.parametrize("by", ["header", "query"])
async def test_a_reconnecting_browser_misses_nothing(by: str, session: aiohttp.ClientSession) -> None:
    """Browsers send Last-Event-ID; after a failure the page sends a query instead."""
    feed = ScriptedFeed()
    async with serving(feed, sample_seconds=9999) as url:
        async with open_stream(url) as stream:
            snapshot = await stream.until("snapshot")
            feed.start(make_call(1))
            seen = await stream.until("update")
        async with open_stream(url) as other:
            await other.until("snapshot")
            for number in (2, 3):
                feed.start(make_call(number))
                await other.until("update")
        assert snapshot.id != seen.id
        headers, query = ({"Last-Event-ID": seen.id}, "") if by == "header" else ({}, f"?after={seen.id}")
        async with (
            open_stream(url + ("events" + query)[6:], **headers)
            if by == "header"
            else session.get(f"{url}events{query}") as got
        ):
            content = (got.response if by == "header" else got).content
            callers: list[str] = []
            while len(callers) < 2:
                line = (await content.readline()).decode()
                assert "event: snapshot" not in line
                callers += re.findall(r'"caller":"\\u2026(\d+)"', line)
        assert callers == ["0002", "0003"]


async def test_a_changed_list_of_organizations_is_a_new_snapshot() -> None:
    """A status lists ages by position, so the browser must know the positions."""
    feed = ScriptedFeed()
    async with serving(feed) as url, open_stream(url) as stream:
        await stream.until("snapshot")
        feed.organizations = [BOLT, ACME, Organization.network(1)]
        assert (await stream.until("snapshot")).data["organizations"] == ["advertiser:26", "advertiser:25", "network:1"]
        assert len((await stream.until("status")).data["ages"]) == 3


async def test_the_chart_and_the_rate_are_published() -> None:
    """Points are published as they come, and each status has the requests per second since the last one."""
    feed = ScriptedFeed()
    now = clock.unix_time()
    async with serving(feed, sample_seconds=0.01, history=[(now - 60, 4)]) as url, open_stream(url) as stream:
        assert (await stream.until("snapshot")).data["points"][0][1] == 4
        assert (await stream.until("point")).data[1] == 0
        await stream.until("status")
        feed.requests += 100
        while not (status := await stream.until("status")).data["requests"]:
            pass
        assert status.data["rate"] == 10.0


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (None, "The feed of calls has ended."),
        (ClientClosedError("The client was closed."), "The feed failed: The client was closed."),
        (ValueError("secret"), "The feed failed: ValueError"),
    ],
)
async def test_the_end_of_the_feed_is_published(
    end: Exception | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Pending changes are published before the reason; a later snapshot has the reason too."""
    feed = ScriptedFeed()
    with caplog.at_level(logging.ERROR):
        async with serving(feed, batch_seconds=60) as url:
            async with open_stream(url) as stream:
                await stream.until("snapshot")
                feed.start(make_call(1))
                feed.put(end)
                assert len((await stream.until("update")).data["calls"]) == 1
                assert (await stream.until("stopped")).data == {"reason": reason}
            async with open_stream(url) as stream:
                assert (await stream.until("snapshot")).data["stopped"] == reason
    assert ("the feed of the wallboard failed" in caplog.text) == (end is not None)


async def test_streams_end_with_the_server() -> None:
    """Open streams end at once on shutdown, without a grace period."""
    async with asyncio.timeout(5):
        server = serving(ScriptedFeed(), batch_seconds=60)
        url = await server.__aenter__()
        async with open_stream(url) as stream:
            await stream.until("snapshot")
            await server.__aexit__(None, None, None)
            while await stream.message() is not None:
                pass


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when a browser is dropped, for any reason."""
    event, drop = asyncio.Event(), Broadcast.drop
    monkeypatch.setattr(Broadcast, "drop", lambda self, subscription: (drop(self, subscription), event.set()))
    return event


async def test_a_browser_that_does_not_read_is_disconnected(dropped: asyncio.Event) -> None:
    """The server neither waits for a stuck browser nor keeps its messages."""
    app = board_application(ScriptedFeed, **SETTINGS, queue_bytes=100_000)
    async with serve(app, "127.0.0.1", 0) as url, asyncio.timeout(20):
        (broadcast,) = (value.broadcast for value in app.values() if isinstance(value, Publisher))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].rstrip("/")), limit=1000)
        writer.write(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readline()
        while not dropped.is_set():
            broadcast.publish("update", {"calls": [], "ended": ["x" * 50_000], "health": {}})
            await asyncio.sleep(0)
        assert not broadcast.subscriptions
        writer.close()


async def test_a_browser_that_leaves_is_forgotten(dropped: asyncio.Event) -> None:
    """The first failed write drops its subscription."""
    async with serving(ScriptedFeed()) as url, asyncio.timeout(20):
        async with open_stream(url) as stream:
            await stream.until("snapshot")
            assert not dropped.is_set()
        await dropped.wait()


async def test_nothing_runs_on_after_the_server() -> None:
    """All tasks of the server end with it."""
    before = asyncio.all_tasks()
    async with serving(ScriptedFeed()) as url, open_stream(url) as stream:
        await stream.until("snapshot")
        assert asyncio.all_tasks() > before
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


async def test_two_hundred_browsers_hear_the_same() -> None:
    """200 streams all get each of five updates."""
    feed = ScriptedFeed()
    async with (
        serving(feed, status_seconds=60.0) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        streams = [await session.get(f"{url}events") for _ in range(200)]
        for number in range(5):
            feed.start(make_call(number))
        for got in streams:
            found: set[str] = set()
            while len(found) < 5:
                found |= set(re.findall(rb'\\u2026(\d{4})"', await got.content.readline()))
        for got in streams:
            got.close()


async def test_browsers_beyond_the_limit_get_a_503(session: aiohttp.ClientSession) -> None:
    """The response is a 503 with Retry-After; the page then reconnects later."""
    async with serving(ScriptedFeed(), max_browsers=1) as url, open_stream(url) as stream:
        await stream.until("snapshot")
        async with session.get(f"{url}events") as got:
            assert (got.status, got.headers["Retry-After"]) == (503, "10")


async def test_aborting_a_request_without_a_connection_does_nothing() -> None:
    """A request without a transport belongs to a browser already gone."""

    class Gone:
        transport = None

    _abort(Gone())  # type: ignore[arg-type]


async def test_the_page_token_guards_all_but_the_files(session: aiohttp.ClientSession) -> None:
    """The sign-in page needs its style and script."""
    async with serving(ScriptedFeed(), page_token=TOKEN) as url:
        for path, status in {"": 401, "events": 401, "ping": 401, "static/sign-in.js": 200}.items():
            async with session.get(url + path) as got:
                assert got.status == status
        async with session.get(url) as got:
            assert "Page token" in await got.text()
        for authorization in ("Bearer wrong", f"Basic {TOKEN}", "Bearer ünicode", ""):
            async with session.get(f"{url}ping", headers={"Authorization": authorization}) as got:
                assert got.status == 401
        async with session.get(f"{url}ping", headers={"Authorization": f"bearer {TOKEN}"}) as got:
            assert got.status == 204


async def test_signing_in_gives_a_cookie_that_is_not_the_token(session: aiohttp.ClientSession) -> None:
    """The cookie is SameSite and HttpOnly, and stays valid over a restart of the server."""
    for known in (False, True):
        async with serving(ScriptedFeed(), page_token=f"{TOKEN} ") as url:
            if not known:
                async with session.post(f"{url}sign-in", data={"token": "wrong"}) as got:
                    assert (got.status, dict(got.cookies)) == (401, {})
                async with session.post(f"{url}sign-in", data={"token": f" {TOKEN}\n"}, allow_redirects=False) as got:
                    assert (got.status, got.headers["Location"]) == (303, "./")
                    (cookie,) = got.cookies.values()
                    assert TOKEN not in str(cookie)
                    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/", True, "Strict")
            async with session.get(url) as got:
                assert (got.status, "Page token" in await got.text()) == (200, False)


async def test_an_open_page_has_nobody_to_sign_in(session: aiohttp.ClientSession) -> None:
    """Without a page token every sign-in fails, an empty token included."""
    async with serving(ScriptedFeed()) as url:
        async with session.post(f"{url}sign-in", data={"token": ""}) as got:
            assert got.status == 401
        async with session.get(f"{url}ping") as got:
            assert got.status == 204


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:99", 200), ("LOCALHOST", 200), ("[::1]:8790", 200), ("evil.example", 421), ("127.0.0.1.evil", 421)],
)
async def test_a_host_name_outside_allowed_hosts_is_rejected(
    host: str, status: int, session: aiohttp.ClientSession
) -> None:
    """A foreign page cannot read a board on loopback under a name of its own."""
    async with (
        serving(ScriptedFeed(), allowed_hosts=["localhost", "127.0.0.1", "::1"]) as url,
        session.get(url, headers={"Host": host}) as got,
    ):
        assert got.status == status


async def test_the_board_works_under_a_prefix_behind_another_authentication(session: aiohttp.ClientSession) -> None:
    """The outer application's middleware authenticates; the board needs only its prefix."""

    @web.middleware
    async def authenticate(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("X-User") != "ann":
            raise web.HTTPForbidden
        return await handler(request)

    async with (
        SandboxServer(organizations=2, calls_per_organization=3) as sandbox,
        CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client,
    ):
        outer = web.Application(middlewares=[authenticate])
        outer.add_subapp(
            "/calls/", application(client, sandbox.organizations, interval=0.05, **SETTINGS, page_token=TOKEN)
        )
        async with serve(outer, "127.0.0.1", 0) as url:
            async with session.get(f"{url}calls/") as got:
                assert got.status == 403
            session.headers["X-User"] = "ann"
            async with session.post(f"{url}calls/sign-in", data={"token": TOKEN}) as got:
                assert (got.status, str(got.url), got.history[0].cookies.popitem()[1]["path"]) == (
                    200,
                    f"{url}calls/",
                    "/calls/",
                )
            async with session.get(f"{url}calls/events") as got:
                seen = b""
                while b'"caller"' not in seen:
                    seen = await got.content.readline()


def test_a_wrong_setting_raises_before_anything_is_served() -> None:
    """board_application raises InvalidRequestError with the setting's name."""
    with pytest.raises(InvalidRequestError, match="title"):
        board_application(ScriptedFeed, title="")


def test_users_of_the_client_do_not_pay_for_the_wallboard() -> None:
    """Neither the package nor aiohttp's server is imported with the client."""
    script = "import sys, calls_in_progress_async; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "aiohttp" in loaded
    assert not {"calls_in_progress_async.wallboard", "aiohttp.web"} & set(loaded)


async def test_an_address_in_use_is_an_error_of_the_server() -> None:
    """The failed server leaves its feed."""
    feed = ScriptedFeed()
    async with serving(ScriptedFeed()) as url:
        with pytest.raises(OSError, match="address already in use"):
            async with serving(feed, int(url.split(":")[2].rstrip("/"))):
                pass
    assert feed.left


async def test_an_ipv6_address_is_written_in_brackets() -> None:
    """The printed line can be pasted into a browser."""
    async with serve(board_application(ScriptedFeed, **SETTINGS), "::1", 0) as url:
        assert url.startswith("http://[::1]:")
