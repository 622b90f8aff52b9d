"""The token bucket beside aiolimiter, other limiters where they are installed, and the floor, in one run.

    python benchmarks/limiter.py [--quick] [--json FILE]

Rounds of all contenders are interleaved; the table shows medians and the spread (lowest to highest). Absolute figures
drift with the machine, so targets are ratios, each the median over the rounds. Nothing is asserted.
"""

# ruff: noqa: PLC0415 - a contender not installed is left out

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
import tracemalloc
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from calls_in_progress_async.limits.limiter import RateLimiter
from calls_in_progress_async.limits.settings import RateLimit
from calls_in_progress_async.limits.token_bucket import TokenBucket

Acquire = Callable[[], Awaitable[object]]
Make = Callable[[float, float], Acquire]
LIMIT_KEY = ("host", "token")


class Floor:
    """The least work for waiting in order: a deque of futures and one timer, with no checks and no cancellation."""

    __slots__ = ("at", "burst", "rate", "timer", "tokens", "waiters")

    def __init__(self, rate, burst):
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, time.monotonic()
        self.waiters, self.timer = None, None

    def refill(self):
        now = time.monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now

    async def acquire(self):
        now = time.monotonic()
        tokens = self.tokens + (now - self.at) * self.rate
        if tokens > self.burst:
            tokens = self.burst
        self.at, self.tokens = now, tokens
        if tokens >= 1 and not self.waiters:
            self.tokens = tokens - 1
            return
        if self.waiters is None:
            self.waiters = deque()
        future = asyncio.get_running_loop().create_future()
        self.waiters.append(future)
        if self.timer is None:
            self.arm()
        await future

    def arm(self):
        delay = max(0.001, (1 - self.tokens) / self.rate)
        self.timer = asyncio.get_running_loop().call_later(delay, self.fire)

    def fire(self):
        self.timer = None
        self.refill()
        while self.waiters and self.tokens >= 1:
            future = self.waiters.popleft()
            if not future.done():  # at the end of a round
                self.tokens -= 1
                future.set_result(None)
        if self.waiters:
            self.arm()


def ours(rate, burst):
    return TokenBucket(rate=rate, burst=burst).acquire


def ours_catching_up(rate, burst):
    return TokenBucket(rate=rate, burst=burst, catch_up=0.002).acquire


def floor(rate, burst):
    return Floor(rate, burst).acquire


def aiolimiter(rate, burst):
    from aiolimiter import AsyncLimiter

    return AsyncLimiter(burst, burst / rate).acquire


def pyrate_limiter(rate, burst):
    from pyrate_limiter import Limiter, Rate

    limiter = Limiter(Rate(int(burst), max(1, int(1000 * burst / rate))))
    return lambda: limiter.try_acquire_async("key")


def throttled_py(rate, burst):
    from throttled.asyncio import Throttled, rate_limiter

    throttled = Throttled(key="key", using="token_bucket", quota=rate_limiter.per_sec(int(rate), burst=int(burst)))
    return throttled.limit


def limits(rate, burst):
    from limits import RateLimitItemPerSecond
    from limits.aio.storage import MemoryStorage
    from limits.aio.strategies import FixedWindowRateLimiter

    limiter, item = FixedWindowRateLimiter(MemoryStorage()), RateLimitItemPerSecond(int(rate))
    return lambda: limiter.hit(item, "key")


async def uncontended(make: Make, quick: bool) -> float:
    """Return acquisitions per second from a bucket never empty."""
    acquire = make(1e7, 1e7)
    count = 5_000 if quick else 50_000
    start = time.perf_counter()
    for _ in range(count):
        await acquire()
    return count / (time.perf_counter() - start)


async def uncontended_beside_floor(make: Make, quick: bool) -> float:
    pairs = [(await uncontended(make, quick), await uncontended(floor, quick)) for _ in range(5)]
    return 100 * statistics.median(mine / least for mine, least in pairs)


async def cpu_a_grant(make: Make, rate: float, burst: float, count: int) -> float:
    """Return CPU microseconds per grant with ``count`` waiters queued beforehand."""
    acquire = make(rate, burst)
    tasks = [asyncio.ensure_future(acquire()) for _ in range(count)]
    await asyncio.sleep(0)
    start = time.process_time()
    await asyncio.gather(*tasks)
    return (time.process_time() - start) / count * 1e6


async def queued(make: Make, quick: bool) -> float:
    return await cpu_a_grant(make, 20_000 if quick else 5_000, 100, 10_000)


async def queued_fast(make: Make, quick: bool) -> float:
    return await cpu_a_grant(make, 20_000, 400, 10_000)


async def pacing(make: Make, quick: bool) -> float:
    return await cpu_a_grant(make, 5_000, 50, 2_500 if quick else 5_000)


async def waiter_memory(make: Make, quick: bool) -> float:
    """Return bytes per waiter, the task and its coroutine included."""
    acquire = make(0.001, 1)
    await acquire()
    count = 1_000 if quick else 5_000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tasks = [asyncio.ensure_future(acquire()) for _ in range(count)]
    await asyncio.sleep(0)
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return size / count


async def idle_memory(make: Make, quick: bool) -> float:
    """Return bytes of a bucket without waiters (less its bound method, 64 bytes, kept by every contender)."""
    count = 1_000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    buckets = [make(10.0, 10.0).__self__ for _ in range(count)]
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return size / len(buckets)


async def share_of_ideal(acquire: Acquire, rate: float, seconds: float, doomed: float = 0.0) -> float:
    """Return percent of ``rate * seconds`` granted and used in the steady state, with more waiters than can be served.

    The share ``doomed`` of the waiters is cancelled at random moments.
    """
    warm_up = 0.2
    stamps: list[float] = []

    async def one():
        await acquire()
        stamps.append(time.monotonic())

    chance = random.Random(7)
    count = int(rate * (warm_up + seconds) * 1.3 / (1 - doomed)) + 100
    tasks = [asyncio.ensure_future(one()) for _ in range(count)]
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    for task in tasks:
        if chance.random() < doomed:
            loop.call_later(chance.uniform(0, warm_up + seconds), task.cancel)
    await asyncio.sleep(warm_up)
    start = time.monotonic()
    await asyncio.sleep(seconds)
    end = time.monotonic()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return 100 * sum(start < stamp <= end for stamp in stamps) / (rate * (end - start))


async def accuracy(make: Make, quick: bool) -> float:
    return await share_of_ideal(make(1_000, 10), 1_000, 0.5 if quick else 1.5)


async def accuracy_burst_1(make: Make, quick: bool) -> float:
    return await share_of_ideal(make(1_000, 1), 1_000, 0.5 if quick else 1.5)


async def catching_up(make: Make, quick: bool) -> float:
    """Return percent of the floor's grants at the same time in the same loop, from a bucket deeper by the catch-up.

    No bucket within the bound has more: the deeper bucket loses grants only to timers later than the catch-up.
    """
    seconds = 0.5 if quick else 1.5
    mine, most = await asyncio.gather(
        share_of_ideal(make(1_000, 1), 1_000, seconds), share_of_ideal(Floor(1_000, 3).acquire, 1_000, seconds)
    )
    return 100 * mine / most


async def free_beside_exhausted(make: Any, quick: bool) -> float:
    """Return microseconds until an organization has a grant, with a thousand requests of another waiting."""
    limiter = RateLimiter(RateLimit(rate=1e6, per_organization_rate=10))
    tasks = [asyncio.ensure_future(limiter.acquire(LIMIT_KEY, "busy")) for _ in range(1_000)]
    await asyncio.sleep(0)
    start = time.perf_counter()
    await asyncio.ensure_future(limiter.acquire(LIMIT_KEY, "free"))
    took = time.perf_counter() - start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return took * 1e6


async def callbacks(make: Make, quick: bool) -> float:
    """Return timers fired for 100 grants at 1,000/s, one grant each. A faster bucket needs fewer."""
    loop, fired, count = asyncio.get_running_loop(), 0, 500 if quick else 2_000
    call_at = loop.call_at

    def counted_call_at(when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        def fire() -> None:
            nonlocal fired
            fired += 1
            callback()

        return call_at(when, fire)

    loop.call_at = counted_call_at  # type: ignore[method-assign,assignment]
    bucket = TokenBucket(rate=1_000, burst=1)
    await asyncio.gather(*(bucket.acquire() for _ in range(count)))
    return 100 * fired / count


async def goodput(make: Make, quick: bool) -> float:
    return await share_of_ideal(make(1_000, 10), 1_000, 0.5 if quick else 1.5, doomed=0.5)


OURS, OTHERS, NEVER_WAIT = [ours], [aiolimiter, floor], [pyrate_limiter, throttled_py, limits]
# (name, measure, contenders, how ours is judged, target, whether more is better)
ROWS = [
    ("uncontended acquire, 1/s", uncontended, [*OURS, *OTHERS, *NEVER_WAIT], "ratio", 3.0, True),
    ("CPU a grant, 10,000 queued, 5,000/s, us", queued, [*OURS, *OTHERS], "ratio", 0.45, False),
    ("CPU a grant, 10,000 queued, 20,000/s, us", queued_fast, [*OURS, *OTHERS], "ratio", 0.45, False),
    ("CPU a grant at 5,000/s, burst 50, us", pacing, [*OURS, *OTHERS], "uvloop", 12.0, False),
    ("memory a waiter, bytes", waiter_memory, [*OURS, *OTHERS], "ratio", 0.70, False),
    ("memory of an idle bucket, bytes", idle_memory, [*OURS, *OTHERS], "ratio", 0.40, False),
    ("accuracy at 1,000/s, burst 10, %", accuracy, [*OURS, *OTHERS], "value", 99.8, True),
    ("accuracy at 1,000/s, burst 1, strict, %", accuracy_burst_1, [*OURS, *OTHERS], "none", None, True),
    ("accuracy at 1,000/s, burst 1, catch-up, %", accuracy_burst_1, [ours_catching_up], "none", None, True),
    ("the same, of what such timers allow, %", catching_up, [ours_catching_up], "value", 99.5, True),
    ("callbacks for 100 grants at 1,000/s", callbacks, OURS, "value", 110.0, False),
    ("a free organization beside an exhausted one, us", free_beside_exhausted, OURS, "value", 1_000.0, False),
    ("uncontended acquire, % of the floor's", uncontended_beside_floor, OURS, "value", 80.0, True),
    ("goodput, half cancelled, %", goodput, [*OURS, aiolimiter], "value", 99.5, True),
]


def run_rows(loop_name, run, quick):
    rounds = 3 if quick else 5
    missing: dict[str, str] = {}
    for name, measure, contenders, judged, target, more in ROWS:
        results: dict[str, list[float]] = {}
        for _ in range(rounds):
            for make in contenders:
                if make.__name__ not in missing:
                    try:
                        results.setdefault(make.__name__, []).append(run(measure(make, quick)))
                    except ImportError as error:
                        missing[make.__name__] = str(error)
        results = {contender: figures for contender, figures in results.items() if figures}
        yield loop_name, name, results, *verdict(loop_name, contenders[0].__name__, results, judged, target, more)
    for contender, error in missing.items():
        print(f"not installed: {contender} ({error})")


def verdict(loop_name, ours_name, results, judged, target, more):
    mine = statistics.median(results[ours_name])
    if judged == "none" or (judged == "uvloop" and loop_name != "uvloop"):
        return mine, None, None
    if judged == "ratio":
        pairs = zip(results[ours_name], results["aiolimiter"], strict=True)
        mine = statistics.median(ours / others for ours, others in pairs)
    return mine, target, mine >= target if more else mine <= target


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    arguments = parser.parse_args()
    loops = {"asyncio": asyncio.run}
    try:
        import uvloop
    except ImportError:
        print("not installed: uvloop")
    else:
        loops["uvloop"] = uvloop.run
    written = []
    for loop_name, run in loops.items():
        for loop, name, results, mine, target, met in run_rows(loop_name, run, arguments.quick):
            print(f"\n{loop:8} {name}")
            for contender, figures in results.items():
                middle, low, high = statistics.median(figures), min(figures), max(figures)
                print(f"    {contender:18} {middle:14,.2f}   ({low:,.2f} to {high:,.2f})")
            if target is not None:
                print(f"    {'met' if met else 'NOT MET'}: {mine:.3g}, target {target}")
            written.append({"loop": loop, "row": name, "figures": results, "ours": mine, "target": target, "met": met})
    if arguments.json:
        arguments.json.write_text(json.dumps(written, indent=2))


if __name__ == "__main__":
    main()
