"""The page in a real browser."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from wallboard.browsers import launch, needs_browser, open_page, until, violations
from wallboard.feeds import ACME, BOLT, SETTINGS, ScriptedFeed, make_call, serving

from calls_in_progress_async import Organization, clock
from calls_in_progress_async.wallboard import application, board_application, serve
from calls_in_progress_async.wallboard.broadcast import Broadcast

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="module")]

CALLERS = "() => [...document.querySelectorAll('.body .caller .value')].map(each => each.textContent)"
ROWS = "count => document.querySelectorAll('.body .row').length === count"
LIVE = "() => document.documentElement.dataset.link === 'live'"
TOKEN = "a page token of some length"
FADED = 6_000
"""Milliseconds after which an ended call has left the list."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    """Start the browser that all tests share; each has a profile of its own in it."""
    async with launch() as launched:
        yield launched


async def text(page: Any, selector: str) -> str:
    return (await page.locator(selector).inner_text()).strip()


def seconds(timer: str) -> int:
    minutes, rest = timer.split(":")
    return int(minutes) * 60 + int(rest)


async def test_calls_appear_change_and_go(browser: Any) -> None:
    """A new call stands out, a change marks its cell, an ended call fades and goes; the rest keep their elements."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(600)]}
    async with serving(feed) as url, open_page(browser, "about:blank") as page:
        await page.clock.install()
        await page.goto(url)
        await until(page, ROWS, 1)
        await page.evaluate("document.querySelector('.body .row').kept = true")
        call = make_call(3)
        feed.start(call, make_call(700))
        await until(page, ROWS, 3)
        # Newest first; a call that had begun long ago has not just started.
        rows = "[...document.querySelectorAll('.body .row')].sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)"
        assert await page.evaluate(f"{rows}.map(each => each.dataset.happened)") == ["started", "", ""]
        assert await text(page, "#total") == "3"
        feed.change(call, later := make_call(3, advertiser_campaign_name="Winter"))
        changed = ".row[data-happened=changed] .changed"
        await page.wait_for_selector(changed)
        assert await page.locator(changed).all_inner_texts() == ["Winter"]
        feed.end(later)
        await page.wait_for_selector(".row.ended")
        assert await text(page, "#total") == "2"
        await page.clock.fast_forward(FADED)
        await until(page, ROWS, 2)
        assert await page.evaluate("[...document.querySelectorAll('.body .row')].some(each => each.kept)")
        assert await page.title() == "2 · Live calls"


async def test_timers_follow_the_servers_clock(browser: Any) -> None:
    """A browser with a wrong clock shows the right time and running timers."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(65)]}
    async with serving(feed) as url, open_page(browser, "about:blank", timezone_id="UTC") as page:
        await page.add_init_script("const real = Date.now; Date.now = () => real() + 86_400_000;")
        await page.goto(url)
        await until(page, ROWS, 1)
        first = seconds(await text(page, ".body .timer"))
        assert 65 <= first <= 80
        await until(
            page, "first => !document.querySelector('.body .timer').textContent.endsWith(first)", f"{first % 60:02}"
        )
        shown = await text(page, "#time")
        hours, minutes, rest = map(int, shown.split(":"))
        off = abs((hours * 3600 + minutes * 60 + rest) - clock.unix_time() % 86_400)
        assert min(off, 86_400 - off) < 5


async def test_no_calls_no_connection_and_failures_do_not_look_alike(browser: Any) -> None:
    """Each has its own words, and only a lost connection takes the colour away."""
    feed = ScriptedFeed()
    server = serving(feed)
    url = await server.__aenter__()
    async with open_page(browser, url) as page:
        await until(page, LIVE)
        assert re.match(
            r"No calls right now\s+Watching 2 organizations, all checked within", await text(page, "#notice")
        )
        assert await page.locator("#alarm").is_hidden()
        feed.fail(ACME)
        await page.wait_for_selector("#alarm:visible")
        assert "advertiser:25" in await text(page, "#alarm")
        assert "HTTP 503: the service is down" in await text(page, "#alarm")
        feed.fail(BOLT)
        await until(page, "() => document.querySelector('#notice').textContent.startsWith('Calls are not known')")
        assert await page.locator(".card.failing").count() == 2
        feed.recover(ACME)
        feed.recover(BOLT)
        await page.wait_for_selector("#alarm", state="hidden")
        await server.__aexit__(None, None, None)
        await until(page, "() => document.querySelector('#notice').textContent.startsWith('No connection')")
        assert await page.evaluate("getComputedStyle(document.querySelector('#grid')).filter") == "grayscale(1)"


async def test_organizations_without_news_raise_the_alarm(browser: Any) -> None:
    """Late organizations are as loud as failing ones, and their calls turn grey; a late board is no quiet day."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(100)], BOLT: [make_call(200)]}
    async with serving(feed) as url, open_page(browser, url) as page:
        await until(page, ROWS, 2)
        feed.ages = {BOLT: 21.0}
        await page.wait_for_selector("#alarm:visible")
        assert (await text(page, "#alarm")).split("\n") == [
            "1 organization is late",
            "advertiser:26",
            "no response for more than 20 s",
            "1 call below may be out of date",
        ]
        assert await page.locator(".row.stale .organization").all_inner_texts() == ["advertiser:26"]
        feed.fail(BOLT)
        await until(page, "() => document.querySelector('#alarm strong').textContent === '1 organization is failing'")
        feed.ages = {ACME: 5000.0}
        await until(
            page, "() => document.querySelector('#alarm strong').textContent.endsWith('1 organization is late')"
        )
        feed.end(make_call(100), organization=ACME)
        feed.end(make_call(200), organization=BOLT)
        await until(page, "() => document.querySelector('#notice').textContent.startsWith('Calls are not known')")
        feed.ages = {}
        watching = "No calls right nowWatching 2 organizations, 1 of them failing or late"
        await until(page, f"() => document.querySelector('#notice').textContent === '{watching}'")


async def test_a_feed_that_ended_is_not_a_quiet_day(browser: Any) -> None:
    """The page says so, and its timers stand still."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(100)]}
    async with serving(feed) as url, open_page(browser, url) as page:
        await until(page, ROWS, 1)
        feed.put(None)
        await until(page, "() => document.querySelector('#notice').textContent.startsWith('No feed')")
        assert await text(page, "#link-text") == "No feed"
        await until(page, "() => getComputedStyle(document.querySelector('#grid')).filter === 'grayscale(1)'")


async def test_a_killed_server_that_comes_back_is_found_again(browser: Any) -> None:
    """The calls of the new run replace the old ones; timers stood still in between."""
    before, after = ScriptedFeed(), ScriptedFeed()
    before.calls = {ACME: [make_call(40), make_call(50)]}
    after.calls = {ACME: [make_call(40), make_call(7)]}
    server = serving(before)
    url = await server.__aenter__()
    async with open_page(browser, url) as page:
        await until(page, ROWS, 2)
        await server.__aexit__(None, None, None)
        await until(page, "() => document.documentElement.dataset.link === 'lost'")
        assert await page.evaluate(CALLERS) == ["…0040", "…0050"]
        async with serving(after, int(url.split(":")[2].rstrip("/"))):
            await until(page, LIVE)
            await until(page, f"() => ({CALLERS})().sort().join() === '…0007,…0040'")
            after.start(make_call(9))
            await until(page, ROWS, 3)


async def test_a_frozen_server_is_no_connection(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection may stay open without a word: the page misses the heartbeat, says so, and connects again."""
    async with serving(ScriptedFeed()) as url, open_page(browser, "about:blank") as page:
        await page.clock.install()
        await page.goto(url)
        await until(page, LIVE)
        await page.evaluate(WATCH_LINK)
        monkeypatch.setattr(Broadcast, "announce", lambda *_: None)
        await page.clock.fast_forward(9_000)
        await until(page, "() => window.links.join() === 'lost,live'")


async def test_a_broken_stream_catches_up_without_a_gap(browser: Any) -> None:
    """A disconnected browser asks for the messages after its last one, and gets no snapshot."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(40)]}
    app = board_application(lambda: feed, **SETTINGS)
    async with serve(app, "127.0.0.1", 0) as url, open_page(browser, url) as page:
        await until(page, ROWS, 1)
        broadcast = next(value.broadcast for value in app.values() if hasattr(value, "broadcast"))
        broadcast.make_snapshot = lambda: pytest.fail("a snapshot is not needed")
        await page.evaluate(WATCH_LINK)
        async with page.expect_request(lambda request: "events?after=" in request.url):
            broadcast.close()
            feed.start(make_call(1))
        await until(page, ROWS, 2)
        assert await page.evaluate("window.links") == []  # nobody saw a lost connection


WATCH_LINK = """
    () => {
      window.links = [];
      const observer = new MutationObserver(() => window.links.push(document.documentElement.dataset.link));
      observer.observe(document.documentElement, {attributeFilter: ["data-link"]});
    }
"""

HOSTILE = [
    "<img src=x onerror=\"document.title='hacked'\">",
    "<script>document.title='hacked'</script>",
    "javascript:alert(1)",
    "\u202egnp.exe",
    "\u2067abc",
    "קמפיין 2024",
    "a\nevent: snapshot\ndata: {}",
    "{{7*7}} ${7*7}",
    "x" * 5000,
    "Z͑ͫ̓ͪ̂ͫ̽a͐ͥlgo",
    "__proto__",
]


async def test_hostile_values_stay_text(browser: Any) -> None:
    """Markup is shown as written, overrides are spelled out, and nothing runs or spills over its cell."""
    feed = ScriptedFeed()
    feed.calls = {
        ACME: [
            make_call(number, advertiser_campaign_name=value, utm_source=value, city=value)
            for number, value in enumerate(HOSTILE, 1)
        ]
    }
    async with (
        serving(feed, title=HOSTILE[0], fields=["utm_source", HOSTILE[1]]) as url,
        open_page(browser, url) as page,
    ):
        await until(page, ROWS, len(HOSTILE))
        shown = await page.locator(".body .campaign .value").all_text_contents()
        assert shown[:3] == HOSTILE[:3]
        assert shown[3:7] == ["\\u202egnp.exe", "\\u2067abc", HOSTILE[5], "a\\nevent: snapshot\\ndata: {}"]
        assert await page.evaluate("document.querySelectorAll('#body img, #body script, header img').length") == 0
        assert await page.title() == f"{len(HOSTILE)} · {HOSTILE[0]}"
        fits = "each => each.offsetHeight < 80 && each.scrollWidth <= each.clientWidth"
        assert await page.evaluate(f"[...document.querySelectorAll('.body .row')].every({fits})")
        await page.keyboard.press("g")
        await page.keyboard.press("g")
        await page.wait_for_selector(".row.heading")


async def test_everything_can_be_done_by_keyboard(browser: Any) -> None:
    """Filter, selection, order, groups, density, theme and help."""
    feed = ScriptedFeed()
    feed.calls = {
        ACME: [make_call(number) for number in range(1, 41)],
        BOLT: [make_call(number) for number in (50, 60)],
    }
    async with serving(feed) as url, open_page(browser, url) as page:
        await until(page, LIVE)
        await page.wait_for_selector(".body .row")
        press = page.keyboard.press
        await press("/")
        await page.keyboard.type("campaign ADVERTISER:26 …00")
        await until(page, f"() => ({CALLERS})().length === 2")
        assert await text(page, "#total-note") == "2 shown"
        await page.keyboard.type("nothing")
        await until(page, "() => document.querySelector('#notice').textContent.startsWith('No call matches')")
        await press("Escape")
        await until(page, f"() => ({CALLERS})().length > 6")
        for key in ("ArrowDown", "ArrowDown", "End"):
            await press(key)
        selected = "() => document.querySelector('[aria-selected=true] .caller .value')?.textContent"
        assert await page.evaluate(selected) == "…0060"
        assert await page.evaluate("document.querySelector('#grid').getAttribute('aria-activedescendant')")
        for key, expected in (("ArrowUp", "…0050"), ("Home", "…0001"), ("ArrowDown", "…0002"), ("PageDown", None)):
            await press(key)
            found = await page.evaluate(selected)
            assert found == expected or (expected is None and found > "…0005")
        await press("s")
        assert await text(page, "#sort") == "Sort: longest"
        await press("g")
        await page.wait_for_selector(".row.heading")
        height = "() => document.querySelector('.body .row:not(.heading)').offsetHeight"
        tall = await page.evaluate(height)
        await press("d")
        await until(page, f"tall => ({height})() < tall", tall)
        await press("t")
        await press("t")
        assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
        await press("?")
        await page.wait_for_selector("dialog[open]")
        await press("Escape")
        await page.wait_for_selector("dialog", state="hidden")
        await page.reload()
        await page.wait_for_selector(".row.heading")  # the choices last
        assert await text(page, "#theme") == "Theme: dark"


async def test_an_organization_and_a_column_can_be_chosen(browser: Any) -> None:
    """A click chooses, a second one takes the choice back; the address may set the view of a kiosk."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(1), make_call(2)], BOLT: [make_call(3)]}
    async with serving(feed) as url, open_page(browser, f"{url}?density=desk&theme=light&order=bogus") as page:
        await until(page, ROWS, 3)
        assert await page.evaluate("({...document.documentElement.dataset}).density") == "desk"
        assert await text(page, "#sort") == "Sort: newest"
        await page.click(".card:has-text('advertiser:26')")
        await until(page, ROWS, 1)
        await page.click(".card:has-text('advertiser:26')")
        await until(page, ROWS, 3)
        await page.click(".head .timer button")
        assert await page.get_attribute(".head .timer", "aria-sort") == "ascending"
        await page.click(".head .campaign button")
        assert await page.get_attribute(".head .campaign", "aria-sort") == "ascending"
        await page.click(".body .row >> nth=0")
        assert await page.locator("[aria-selected=true]").count() == 1
        await page.fill("#filter", "matches nothing")
        await until(page, "() => !document.querySelector('#grid').hasAttribute('aria-activedescendant')")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (320, 568), (844, 390), (3840, 2160)])
async def test_no_size_of_screen_scrolls_sideways(browser: Any, width: int, height: int) -> None:
    """Screens from a small phone to a wall fit, with a failure and long values."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(number, advertiser_campaign_name="long " * 30) for number in range(1, 30)]}
    async with serving(feed) as url, open_page(browser, url, width=width, height=height) as page:
        feed.fail(BOLT)
        await page.wait_for_selector("#alarm:visible")
        await page.wait_for_selector(".body .row")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await page.evaluate("(grid => grid.scrollWidth <= grid.clientWidth)(document.querySelector('#grid'))")
        assert await page.evaluate("document.querySelector('.body .row').getBoundingClientRect().top < innerHeight")


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("light", 1440), ("dark", 1440)])
async def test_axe_finds_nothing(browser: Any, scheme: str, width: int) -> None:
    """axe-core accepts calls, a failure and no calls, in both themes, on a phone and on a desk."""
    feed = ScriptedFeed()
    call = make_call(1)
    async with (
        serving(feed) as url,
        open_page(browser, url, width=width, color_scheme=scheme, reduced_motion="reduce") as page,
    ):
        await until(page, LIVE)
        assert await violations(page) == []
        feed.start(call, make_call(2, city="Austin"))
        feed.fail(BOLT)
        await until(page, ROWS, 2)
        await page.wait_for_selector("#alarm:visible")
        await page.keyboard.press("ArrowDown")
        assert await violations(page) == []
        await page.keyboard.press("g")
        await page.wait_for_selector(".row.heading")
        assert await violations(page) == []
        await page.keyboard.press("?")
        assert await violations(page) == []


async def test_axe_finds_nothing_when_the_server_is_gone_or_asks_for_the_token(browser: Any) -> None:
    """Outdated parts are pale on purpose and left out; the words about them are checked."""
    server = serving(ScriptedFeed(), page_token=TOKEN)
    url = await server.__aenter__()
    async with open_page(browser, url) as page:
        assert await violations(page) == []
        await page.fill("#token", TOKEN)
        await page.click("button")
        await until(page, LIVE)
        await server.__aexit__(None, None, None)
        await until(page, "() => document.querySelector('#notice').textContent.startsWith('No connection')")
        assert await violations(page, "#grid", "#organizations", ".total", "#chart", "#time", "#rate") == []


async def test_a_kiosk_signs_in_by_its_address(browser: Any) -> None:
    """The token stands after the #, which no server sees, and leaves the address at once."""
    async with (
        serving(ScriptedFeed(), page_token=TOKEN) as url,
        open_page(browser, f"{url}#token={TOKEN.replace(' ', '%20')}") as page,
    ):
        await until(page, "() => document.documentElement.dataset.link === 'live'")
        assert page.url == url


async def test_reduced_motion_moves_nothing(browser: Any) -> None:
    """A new call is marked, and stands where it belongs at once."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(100)]}
    async with serving(feed) as url, open_page(browser, url, reduced_motion="reduce") as page:
        await until(page, ROWS, 1)
        feed.start(make_call(1))
        await until(page, ROWS, 2)
        assert await page.evaluate("getComputedStyle(document.querySelector('.body .row')).transitionDuration") == "0s"
        feed.fail(ACME)
        await page.wait_for_selector("#alarm:visible")
        assert await page.evaluate("getComputedStyle(document.querySelector('#alarm')).animationName") == "none"


async def test_print_has_every_call(browser: Any) -> None:
    """One after the other, without the controls."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(number) for number in range(1, 201)]}
    async with serving(feed) as url, open_page(browser, url) as page:
        await page.wait_for_selector(".body .row")
        assert await page.locator(".body .row").count() < 60
        await page.emulate_media(media="print")
        await page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert await page.locator(".body .row").count() == 200
        assert await page.evaluate("getComputedStyle(document.querySelector('.body .row')).position") == "static"
        assert await page.locator(".tools").is_hidden()
        await page.emulate_media(media="screen")
        await page.evaluate("dispatchEvent(new Event('afterprint'))")
        await until(page, "() => document.querySelectorAll('.body .row').length < 60")


async def test_a_reader_who_has_scrolled_keeps_the_same_calls_in_view(browser: Any) -> None:
    """New calls come in above without moving the rows under the eyes."""
    feed = ScriptedFeed()
    feed.calls = {ACME: [make_call(number) for number in range(1, 101)]}
    async with serving(feed) as url, open_page(browser, url) as page:
        await page.wait_for_selector(".body .row")
        await page.evaluate("document.querySelector('#grid').scrollTop = 2000")
        middle = "() => document.elementFromPoint(600, 600).closest('.row').id"
        await until(page, "() => document.querySelector('#grid').scrollTop === 2000")
        await page.wait_for_selector(".body .row[aria-rowindex='50']")
        seen = await page.evaluate(middle)
        feed.start(make_call(1000, age=1), make_call(1001, age=1))
        await until(page, "() => document.querySelector('#total').textContent === '102'")
        await until(page, "() => document.querySelector('#grid').scrollTop > 2000")
        assert await page.evaluate(middle) == seen


async def test_a_screen_at_rest_is_spared(browser: Any) -> None:
    """Controls fade after a minute, the page wanders, and a key brings the controls back."""
    async with serving(ScriptedFeed()) as url, open_page(browser, "about:blank") as page:
        await page.clock.install()
        await page.goto(url)
        await until(page, LIVE)
        await page.clock.run_for(61_000)
        assert await page.evaluate("'idle' in document.documentElement.dataset")
        assert await page.evaluate("getComputedStyle(document.querySelector('#board')).transform") in WHERE_IT_WAS
        await page.clock.run_for(30_000)
        assert await page.evaluate("getComputedStyle(document.querySelector('#board')).transform") not in WHERE_IT_WAS
        await page.keyboard.press("d")
        assert not await page.evaluate("'idle' in document.documentElement.dataset")


WHERE_IT_WAS = ("none", "matrix(1, 0, 0, 1, 0, 0)")


async def test_two_thousand_calls_touch_few_elements(browser: Any) -> None:
    """A change among 2,000 calls writes the text that differs: no row in view is rebuilt, and no other row exists."""
    organizations = [Organization.advertiser(number) for number in range(1, 41)]
    feed = ScriptedFeed(*organizations)
    calls = [make_call(number) for number in range(2000)]
    for number, call in enumerate(calls):
        feed.calls.setdefault(organizations[number % 40], []).append(call)
    async with serving(feed) as url, open_page(browser, url) as page:
        await until(page, "() => document.querySelector('#total').textContent === '2,000'")
        await until(page, "() => document.querySelectorAll('.body .row').length > 10")
        await page.evaluate(WATCH_ROWS)
        for number in (0, 1, 2, *range(1000, 1050)):  # most are out of view
            changed = make_call(number, advertiser_campaign_name="Changed")
            feed.change(calls[number], changed, organizations[number % 40])
        changed_rows = "[...document.querySelectorAll('.body .campaign')].filter(each => each.innerText === 'Changed')"
        await until(page, f"() => {changed_rows}.length === 3")
        assert await page.evaluate("window.made") == 0
        assert await page.locator(".body .row").count() < 60


WATCH_ROWS = """
    () => {
      window.made = 0;
      const count = (changes) => changes.forEach((change) => { window.made += change.addedNodes.length; });
      new MutationObserver(count).observe(document.querySelector("#body"), {childList: true});
    }
"""


async def test_weeks_of_calls_leave_nothing_behind(browser: Any) -> None:
    """After thousands of calls have come and gone, the page has as many nodes and listeners as before."""
    feed = ScriptedFeed()
    async with serving(feed, batch_seconds=0.02) as url, open_page(browser, "about:blank") as page:
        await page.clock.install()
        await page.goto(url)
        await until(page, LIVE)
        session = await page.context.new_cdp_session(page)

        async def counters() -> dict[str, int]:
            await session.send("HeapProfiler.collectGarbage")
            return await session.send("Memory.getDOMCounters")

        async def churn(first: int, count: int) -> None:
            calls = [make_call(number, age=number % 3000) for number in range(first, first + count)]
            feed.start(*calls)
            shown = "count => document.querySelector('#total').textContent === count.toLocaleString('en')"
            await until(page, shown, count)
            feed.end(*calls)
            await until(page, shown, 0)
            await page.clock.fast_forward(FADED)
            await until(page, ROWS, 0)

        await churn(0, 500)
        before = await counters()
        for first in range(1000, 5000, 1000):
            await churn(first, 1000)
        for _ in range(20):  # nodes of an animation that has just ended outlive one collection
            after = await counters()
            if after["nodes"] <= before["nodes"] + 50:
                break
        assert after["nodes"] <= before["nodes"] + 50
        assert after["jsEventListeners"] <= before["jsEventListeners"] + 5


async def test_an_upgraded_server_has_the_page_load_anew(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is open for weeks must not go on with old files."""
    server = serving(ScriptedFeed())
    url = await server.__aenter__()
    async with open_page(browser, url) as page:
        await until(page, LIVE)
        await page.evaluate("document.documentElement.dataset.old = ''")
        await server.__aexit__(None, None, None)
        monkeypatch.setattr(sys.modules[application.__module__], "version", lambda: "newer")
        async with serving(ScriptedFeed(), int(url.split(":")[2].rstrip("/"))):
            await until(page, "() => !('old' in document.documentElement.dataset)")
            await until(page, LIVE)
