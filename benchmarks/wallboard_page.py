"""Measure the wallboard: frames of a page with 2,000 live calls, the cost of 200 browsers, and a long run.

    python benchmarks/wallboard_page.py [--quick] [--json FILE]

Needs chromium, and ``pip install playwright`` for its driver. The browser has no window and draws without a graphics
card, so its frames take longer than those of a real screen: the empty page beside is the floor.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from measuring import Table, command_line, finish, percentile

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from wallboard.browsers import MISSING, launch, open_page, until
from wallboard.feeds import ScriptedFeed, make_call, serving

from calls_in_progress_async import Call, Organization

CALLS = 2_000
BROWSERS = 200
ORGANIZATIONS = [Organization.advertiser(number) for number in range(1, 41)]
TOTAL = "total => document.querySelector('#total').textContent === total.toLocaleString('en')"
FADED = 6_000
"""Milliseconds after which an ended call has left the list."""
FRAMES = """
    seconds => new Promise((done) => {
      const times = [];
      const start = performance.now();
      let last = start;
      const frame = (now) => {
        times.push(now - last);
        last = now;
        if (now - start < seconds * 1000) requestAnimationFrame(frame);
        else done(times.slice(2));
      };
      requestAnimationFrame(frame);
    })
"""


class Traffic:
    """Live calls of which some start, change and end every second."""

    def __init__(self, live: int) -> None:
        self.feed = ScriptedFeed(*ORGANIZATIONS)
        self._numbers = itertools.count()
        self._live = [self._next() for _ in range(live)]
        for organization, call in self._live:
            self.feed.calls.setdefault(organization, []).append(call)

    def _next(self) -> tuple[Organization, Call]:
        number = next(self._numbers)
        return ORGANIZATIONS[number % len(ORGANIZATIONS)], make_call(number, age=number % 900)

    def step(self) -> None:
        """End the oldest call, change the newest, and start another."""
        organization, call = self._live.pop(0)
        self.feed.end(call, organization=organization)
        organization, call = self._live[-1]
        changed = Call.from_payload({**call.raw, "advertiser_campaign_name": "Changed"})
        self.feed.change(call, changed, organization)
        self._live[-1] = organization, changed
        self._live.append(self._next())
        self.feed.start(self._live[-1][1], organization=self._live[-1][0])

    async def run(self, steps_per_second: float) -> None:
        """Take steps until cancelled."""
        while True:
            self.step()
            await asyncio.sleep(1 / steps_per_second)


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    """Run a coroutine while the block runs."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure_frames(rounds: int, seconds: float) -> Table:
    """Measure the time between two frames, and the main thread's share of it."""
    table = Table(
        f"A frame of the page, for {seconds:g} s", "ms", "150 changes a second: 50 starts, 50 ends, 50 others."
    )
    async with launch() as browser:
        for name, live, steps in (
            ("no calls", 0, 0),
            (f"{CALLS:,} live calls, 150 changes a second", CALLS, 50),
        ) * rounds:
            traffic = Traffic(live)
            async with serving(traffic.feed) as url, open_page(browser, url, width=1920, height=1080) as page:
                await until(page, TOTAL, live)
                session = await page.context.new_cdp_session(page)
                await session.send("Performance.enable", {"timeDomain": "threadTicks"})
                async with running(traffic.run(steps) if steps else asyncio.sleep(0)):
                    busy = await busy_seconds(session)
                    times = await page.evaluate(FRAMES, seconds)
                    busy = await busy_seconds(session) - busy
            table.add(name, "median", percentile(times, 0.5))
            table.add(name, "95 %", percentile(times, 0.95))
            table.add(name, "longest", max(times))
            table.add(name, "CPU of the page", 1000 * busy / len(times))
    return table


async def busy_seconds(session: Any) -> float:
    """Return the processor time that the page's main thread has used."""
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return float(sum(each["value"] for each in metrics if each["name"] == "TaskDuration"))


async def measure_browsers(rounds: int, seconds: float) -> Table:
    """Measure the server's CPU and memory without browsers, and with streams read by another process."""
    about = f"{CALLS:,} live calls, 150 changes a second. The streams are read by another process."
    table = Table(f"The server of {BROWSERS} browsers", "as named", about)
    for number in (0, 1, BROWSERS) * rounds:
        row = f"{number} browser{'' if number == 1 else 's'}"
        traffic = Traffic(CALLS)
        async with serving(traffic.feed, batch_seconds=0.25, status_seconds=2.0) as url:
            gc.collect()
            before = memory()
            with reading(f"{url}events", number) as wait_until_read:
                await asyncio.to_thread(wait_until_read)
                async with running(traffic.run(50)):
                    await asyncio.sleep(1)
                    cpu, began = time.process_time(), time.monotonic()
                    await asyncio.sleep(seconds)
                    cpu, spent = time.process_time() - cpu, time.monotonic() - began
                table.add(row, "% of a core", 100 * cpu / spent)
                if number > 1:  # below that the noise is larger
                    table.add(row, "kB a browser", max(0, memory() - before) / number / 1024)
    return table


def memory() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class reading:  # noqa: N801 - a context manager
    """Read some streams in another process. Yields a function that waits until each has its snapshot."""

    def __init__(self, url: str, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._ready = context.Semaphore(0)
        self._number = number
        self._process = context.Process(target=_read_streams, args=(url, number, self._ready), daemon=True)

    def __enter__(self) -> Callable[[], None]:
        self._process.start()
        return self._wait

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def _wait(self) -> None:
        for _ in range(self._number):
            self._ready.acquire()


def _read_streams(url: str, number: int, ready: Any) -> None:
    async def read(session: aiohttp.ClientSession) -> None:
        async with session.get(url) as response:
            started = False
            async for chunk in response.content.iter_any():
                if not started and b"event: snapshot" in chunk:
                    started = True
                    ready.release()

    async def read_all() -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            await asyncio.gather(*(read(session) for _ in range(number)))

    asyncio.run(read_all())


async def measure_weeks(calls: int, samples: int) -> Table:
    """Let calls come and go in one page, and measure what stays behind."""
    about = f"memory after garbage collections. 500 calls at a time start, change and end: {3 * calls:,} events in all."
    table = Table("A page that stays open", "as named", about)
    async with launch() as browser:
        traffic = Traffic(0)
        async with (
            serving(traffic.feed, batch_seconds=0.05) as url,
            open_page(browser, "about:blank", width=1920, height=1080) as page,
        ):
            await page.clock.install()
            await page.goto(url)
            session = await page.context.new_cdp_session(page)
            await session.send("Performance.enable")
            for number in range(samples + 1):
                for batch in batches(0 if number == 0 else calls // samples, 500):
                    await come_and_go(page, traffic.feed, number, batch)
                if number == 0:  # every kind of row once, before the first sample
                    await come_and_go(page, traffic.feed, number, range(500))
                row = f"after {3 * calls // samples * number:,} events"
                for name, figure in (await left_behind(session)).items():
                    table.add(row, name, figure)
    return table


def batches(count: int, size: int) -> Iterator[range]:
    for first in range(0, count, size):
        yield range(first, min(count, first + size))


async def come_and_go(page: Any, feed: ScriptedFeed, round_number: int, numbers: Iterable[int]) -> None:
    """Start, change and end some calls, and wait until the page shows none."""
    calls = [make_call(round_number * 1_000_000 + number, age=number % 3000) for number in numbers]
    feed.start(*calls)
    await until(page, TOTAL, len(calls))
    for call in calls:
        feed.change(call, Call.from_payload({**call.raw, "advertiser_campaign_name": "Changed"}))
    feed.end(*calls)
    await until(page, TOTAL, 0)
    await page.clock.fast_forward(FADED)
    await until(page, "() => document.querySelectorAll('.body .row').length === 0")


async def left_behind(session: Any) -> dict[str, float]:
    """Return memory and counts of the page after garbage collections."""
    for _ in range(3):  # nodes of an animation that has just ended outlive one collection
        await asyncio.sleep(0.5)
        await session.send("HeapProfiler.collectGarbage")
    counters = await session.send("Memory.getDOMCounters")
    heap = await session.send("Runtime.getHeapUsage")
    gc.collect()
    return {
        "heap, MB": heap["usedSize"] / 2**20,
        "nodes": counters["nodes"],
        "listeners": counters["jsEventListeners"],
        "server: thousand memory blocks": sys.getallocatedblocks() / 1000,
    }


async def main() -> None:
    arguments = command_line(__doc__)
    if MISSING:
        print(f"skipped: {' and '.join(MISSING)} missing", file=sys.stderr)
        return
    quick = arguments.quick
    tables = [
        await measure_frames(rounds=1 if quick else 3, seconds=3 if quick else 10),
        await measure_browsers(rounds=1 if quick else 3, seconds=3 if quick else 10),
        await measure_weeks(calls=1_000 if quick else 8_000, samples=2 if quick else 4),
    ]
    finish(tables, arguments)


if __name__ == "__main__":
    asyncio.run(main())
