"""Measure how the adaptive rate finds an undocumented limit, keeps to it, and follows it.

    python benchmarks/adaptive.py [--quick] [--json FILE]

First run the client's limiter against simulated servers, in a loop with a clock turned by hand: many limits, bursts
and seeds in seconds. A server is a token bucket of one request, of one or of four seconds' worth. Then run in real
time, and over HTTP, against the sandbox: it allows 37 requests per second, then 120, then 12.

The steady state begins 60 s after a limit was set. A raised limit is found at a rate of 90 %, a cut one at 110 %; the
figure is the worst of all seeds and of all moments of the move.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import platform
import random
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, Organization, RateLimit
from calls_in_progress_async.limits.limiter import RateLimiter
from calls_in_progress_async.sandbox import SandboxServer

LIMITS = (5.0, 12.0, 37.0, 120.0)
BURSTS = (0.0, 1.0, 4.0)
"""Seconds' worth, and at least one request."""
MOVES = (
    (37.0, 120.0),
    (12.0, 37.0),
    (12.0, 120.0),
    (37.0, 370.0),
    (5.0, 12.0),
    (5.0, 120.0),
    (120.0, 37.0),
    (120.0, 12.0),
    (37.0, 12.0),
    (37.0, 5.0),
)
STEADY = 60.0
CEILING = 500.0
STAGES = ((37.0, 90.0), (120.0, 90.0), (12.0, 110.0))
"""Requests per second allowed by the sandbox, and seconds of each stage."""


class Response(NamedTuple):
    at: float
    refused: bool
    rate: float
    """Requests per second allowed by the limiter after the response."""


class HandTurnedLoop(asyncio.SelectorEventLoop):
    """A loop with a clock turned by hand."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Simulation:
    """A client with always something to ask, with the limiter of the package, and a server."""

    limit_key = ("host", "token")

    def __init__(self, allowed: Callable[[float], float], seconds_of_burst: float, seed: int) -> None:
        self.allowed, self.seconds_of_burst, self.chance = allowed, seconds_of_burst, random.Random(seed)
        self.loop = HandTurnedLoop()
        self.refilled = 0.0
        self.tokens = self.burst()
        self.limiter = RateLimiter(RateLimit.adaptive(initial=10, ceiling=CEILING))
        self.on_the_way: list[tuple[float, float, float | None]] = []
        self.responses: list[Response] = []
        self.cuts = 0

    @property
    def now(self) -> float:
        return self.loop.now

    def burst(self) -> float:
        return max(1.0, self.seconds_of_burst * self.allowed(self.now))

    def ask(self) -> None:
        """Have the server decide, and its response come 10 to 40 ms later."""
        allowed = self.allowed(self.now)
        self.tokens = min(self.burst(), self.tokens + (self.now - self.refilled) * allowed)
        self.refilled = self.now
        refused = self.tokens < 1 - 1e-9
        self.tokens -= not refused
        retry_after = float(-(-(1 - self.tokens) // allowed)) if refused else None
        heapq.heappush(self.on_the_way, (self.now + self.chance.uniform(0.01, 0.04), self.now, retry_after))

    def receive(self) -> None:
        self.loop.now, sent_at, retry_after = heapq.heappop(self.on_the_way)
        refused, before = retry_after is not None, self.rate()
        self.limiter.on_response(self.limit_key, "a", throttled=refused, retry_after=retry_after, sent_at=sent_at)
        self.cuts += self.rate() < before
        self.responses.append(Response(self.now, refused, self.rate()))

    def rate(self) -> float:
        return next(iter(self.limiter.export_state()["limits"].values()))["rate"]

    def run(self, seconds: float) -> list[Response]:
        with closing(self.loop):
            return self.loop.run_until_complete(self.send_for(seconds))

    async def send_for(self, seconds: float) -> list[Response]:
        while self.now < seconds:
            if self.limiter.try_acquire(self.limit_key, "a"):
                self.ask()
                continue
            (bucket,) = self.limiter.snapshot().shared.values()
            turn = self.now + max(bucket.paused_for, (1 - bucket.tokens) / bucket.rate, 1e-6)
            if self.on_the_way and self.on_the_way[0][0] <= turn:
                self.receive()
            else:
                self.loop.now = turn
        return self.responses


def steady(responses: list[Response], begin: float, end: float, allowed: float) -> tuple[float, float]:
    """Return the share of the allowed rate delivered, and the share of 429s."""
    refused = [each.refused for each in responses if begin <= each.at < end]
    return (len(refused) - sum(refused)) / (end - begin) / allowed, sum(refused) / max(len(refused), 1)


def settled(allowed: float, seconds_of_burst: float, seeds: int) -> dict[str, float]:
    """Measure against a limit without moves."""
    seconds = STEADY + (200.0 if allowed > 100 else 600.0)
    shares, refusals, cuts, most = [], [], 0, 0.0
    for seed in range(seeds):
        simulation = Simulation(lambda _: allowed, seconds_of_burst, seed)
        responses = simulation.run(seconds)
        share, refused = steady(responses, STEADY, seconds, allowed)
        shares.append(share)
        refusals.append(refused)
        cuts += simulation.cuts
        most = max(most, *(each.rate for each in responses))
    return {
        "allowed": allowed,
        "burst_s": seconds_of_burst,
        "share_worst": min(shares),
        "refused_worst": max(refusals),
        "cuts_a_minute": cuts / seeds / seconds * 60,
        "highest_rate": most,
        "met": min(shares) >= 0.9 and max(refusals) < 0.01 and most <= CEILING,
    }


def moved(before: float, after: float, seconds_of_burst: float, seeds: int) -> dict[str, float]:
    """Measure against a moving limit, at several moments of the climb."""
    waits, refusals, shares = [], [], []
    for seed in range(seeds):
        at = 80.0 + 30 * seed / seeds
        seconds = at + STEADY + (100.0 if after > 100 else 400.0)
        responses = Simulation(lambda now, at=at: before if now < at else after, seconds_of_burst, seed).run(seconds)
        waits.append(
            next((each.at for each in responses if each.at > at and there(each.rate, before, after)), seconds) - at
        )
        share, refused = steady(responses, at + STEADY, seconds, after)
        shares.append(share)
        refusals.append(refused)
    met = max(waits) < (60 if before < after else 10) and min(shares) >= 0.9 and max(refusals) < 0.01
    return {
        "before": before,
        "after": after,
        "burst_s": seconds_of_burst,
        "found_after_s": max(waits),
        "share_worst": min(shares),
        "refused_worst": max(refusals),
        "met": met,
    }


def there(rate: float, before: float, after: float) -> bool:
    return rate >= 0.9 * after if before < after else rate <= 1.1 * after


async def against_sandbox(scale: float) -> list[dict[str, float]]:
    """Run the stages in real time, each ``scale`` times as long."""
    async with SandboxServer(organizations=50, seed=1, calls_per_organization=1) as sandbox:
        limit = RateLimit.adaptive(initial=10, floor=0.5, ceiling=CEILING)
        async with CallsInProgressClient(
            token=sandbox.token, base_url=sandbox.url, rate_limit=limit, timeout=None
        ) as client:
            responses: list[tuple[float, bool]] = []
            askers = [asyncio.create_task(ask(client, number, responses)) for number in range(2, 50)]
            rows = [await stage(sandbox, client, responses, allowed, seconds * scale) for allowed, seconds in STAGES]
            for asker in askers:
                asker.cancel()
            await asyncio.gather(*askers, return_exceptions=True)
    return rows


async def ask(client: CallsInProgressClient, number: int, responses: list[tuple[float, bool]]) -> None:
    """Find as often as the client allows."""
    while True:
        try:
            attempts = (await client.find(Organization.advertiser(number))).attempts
        except CallsInProgressError as error:
            attempts = error.attempts
        responses += [(time.monotonic(), attempt.status == 429) for attempt in attempts]


async def stage(
    sandbox: SandboxServer,
    client: CallsInProgressClient,
    responses: list[tuple[float, bool]],
    allowed: float,
    seconds: float,
) -> dict[str, float]:
    """Set the sandbox's limit for some seconds. The steady state is the later half.

    After a cut it is the last four fifths: the limit is found within seconds, and a share of 429s needs many of them.
    """
    before = sandbox.rate_limit or 0.0
    sandbox.rate_limit = allowed
    responses.clear()
    began, found = time.monotonic(), seconds
    while (now := time.monotonic() - began) < seconds:
        rates = [bucket.rate for bucket in client.rate_limits.snapshot().shared.values()]
        if rates and found == seconds and there(rates[0], before, allowed):
            found = now
        await asyncio.sleep(0.1)
    begin = seconds * (1 / 2 if before < allowed else 1 / 5)
    later = [refused for at, refused in responses if at - began >= begin]
    return {
        "allowed": allowed,
        "found_after_s": found,
        "share": (len(later) - sum(later)) / (now - begin) / allowed,
        "refused": sum(later) / max(len(later), 1),
    }


def show(title: str, rows: list[dict[str, float]]) -> None:
    print(f"\n{title}")
    for row in rows:
        print("  ", {name: round(value, 4) for name, value in row.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few seeds, a third of the real time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    options = parser.parse_args()
    seeds = 2 if options.quick else 5
    table = {
        "limits that stay": [settled(limit, burst, seeds) for limit in LIMITS for burst in BURSTS],
        "limits that move": [moved(*move, burst, seeds) for move in MOVES for burst in BURSTS],
    }
    for title, rows in table.items():
        show(title, rows)
    table["sandbox, real time"] = asyncio.run(against_sandbox(1 / 3 if options.quick else 1))
    show("sandbox, real time", table["sandbox, real time"])
    if options.json:
        options.json.write_text(json.dumps({"python": platform.python_version(), **table}, indent=2))


if __name__ == "__main__":
    main()
