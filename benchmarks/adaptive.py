"""Does the adaptive rate find a limit that nobody documented, keep to it, and follow when it moves?

    python benchmarks/adaptive.py [--quick] [--json FILE]

First the client's limiter against simulated servers, by a clock of its own: many limits, bursts and seeds in seconds.
A server is a token bucket of one request, of one or of four seconds' worth. Then in real time, and over HTTP, against
the sandbox, which allows 37 requests a second, then 120, then 12.

Steady is from 60 s after a limit was set. It is found when the rate is 90 % of a raised limit, or is no more than
110 % of a cut one; the figure is the worst of all seeds and of all moments of the move.
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
"""Of the sandbox: requests a second that are allowed, and seconds."""


class Answer(NamedTuple):
    at: float
    refused: bool
    rate: float
    """Requests a second that the limiter allows itself after it."""


class Simulation:
    """A client that always has something to ask, with the limiter of the package, and a server."""

    scope = ("host", "token")

    def __init__(self, allowed: Callable[[float], float], seconds_of_burst: float, seed: int) -> None:
        self.allowed, self.seconds_of_burst, self.chance = allowed, seconds_of_burst, random.Random(seed)
        self.now = self.refilled = 0.0
        self.tokens = self.burst()
        settings = RateLimit.adaptive(initial=10, ceiling=CEILING)
        self.limiter = RateLimiter(settings, clock=lambda: self.now)
        self.on_the_way: list[tuple[float, float, float | None]] = []
        self.answers: list[Answer] = []
        self.cuts = 0

    def burst(self) -> float:
        return max(1.0, self.seconds_of_burst * self.allowed(self.now))

    def ask(self) -> None:
        """Have the server decide, and its answer come 10 to 40 ms later."""
        allowed = self.allowed(self.now)
        self.tokens = min(self.burst(), self.tokens + (self.now - self.refilled) * allowed)
        self.refilled = self.now
        refused = self.tokens < 1 - 1e-9
        self.tokens -= not refused
        retry_after = float(-(-(1 - self.tokens) // allowed)) if refused else None
        heapq.heappush(self.on_the_way, (self.now + self.chance.uniform(0.01, 0.04), self.now, retry_after))

    def answer(self) -> None:
        self.now, sent_at, retry_after = heapq.heappop(self.on_the_way)
        refused, before = retry_after is not None, self.rate()
        self.limiter.on_response(self.scope, "a", throttled=refused, retry_after=retry_after, sent_at=sent_at)
        self.cuts += self.rate() < before
        self.answers.append(Answer(self.now, refused, self.rate()))

    def rate(self) -> float:
        return next(iter(self.limiter.export_state()["scopes"].values()))["rate"]

    def run(self, seconds: float) -> list[Answer]:
        while self.now < seconds:
            if self.limiter.try_acquire(self.scope, "a"):
                self.ask()
                continue
            (bucket,) = self.limiter.snapshot().shared.values()
            turn = self.now + max(bucket.paused_for, (1 - bucket.tokens) / bucket.rate, 1e-6)
            if self.on_the_way and self.on_the_way[0][0] <= turn:
                self.answer()
            else:
                self.now = turn
        return self.answers


def steady(answers: list[Answer], begin: float, end: float, allowed: float) -> tuple[float, float]:
    """The share of the allowed rate that was had, and the share of 429s."""
    refused = [answer.refused for answer in answers if begin <= answer.at < end]
    return (len(refused) - sum(refused)) / (end - begin) / allowed, sum(refused) / max(len(refused), 1)


def settled(allowed: float, seconds_of_burst: float, seeds: int) -> dict[str, float]:
    """A limit that stays as it is."""
    seconds = STEADY + (200.0 if allowed > 100 else 600.0)
    shares, refusals, cuts, most = [], [], 0, 0.0
    for seed in range(seeds):
        simulation = Simulation(lambda _: allowed, seconds_of_burst, seed)
        answers = simulation.run(seconds)
        share, refused = steady(answers, STEADY, seconds, allowed)
        shares.append(share)
        refusals.append(refused)
        cuts += simulation.cuts
        most = max(most, *(answer.rate for answer in answers))
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
    """A limit that moves, at several moments of the climb."""
    waits, refusals, shares = [], [], []
    for seed in range(seeds):
        at = 80.0 + 30 * seed / seeds
        seconds = at + STEADY + (100.0 if after > 100 else 400.0)
        answers = Simulation(lambda now, at=at: before if now < at else after, seconds_of_burst, seed).run(seconds)
        waits.append(
            next((each.at for each in answers if each.at > at and there(each.rate, before, after)), seconds) - at
        )
        share, refused = steady(answers, at + STEADY, seconds, after)
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
            answers: list[tuple[float, bool]] = []
            askers = [asyncio.create_task(ask(client, number, answers)) for number in range(2, 50)]
            rows = [await stage(sandbox, client, answers, allowed, seconds * scale) for allowed, seconds in STAGES]
            for asker in askers:
                asker.cancel()
            await asyncio.gather(*askers, return_exceptions=True)
    return rows


async def ask(client: CallsInProgressClient, number: int, answers: list[tuple[float, bool]]) -> None:
    """Find as often as the client lets one."""
    while True:
        try:
            attempts = (await client.find(Organization.advertiser(number))).attempts
        except CallsInProgressError as error:
            attempts = error.attempts
        answers += [(time.monotonic(), attempt.status == 429) for attempt in attempts]


async def stage(
    sandbox: SandboxServer,
    client: CallsInProgressClient,
    answers: list[tuple[float, bool]],
    allowed: float,
    seconds: float,
) -> dict[str, float]:
    """Let the sandbox allow so many a second, for so long. Steady is the later half.

    After a cut, the last four fifths: it is found within seconds, and a share of 429s needs many answers.
    """
    before = sandbox.rate_limit or 0.0
    sandbox.rate_limit = allowed
    answers.clear()
    began, found = time.monotonic(), seconds
    while (now := time.monotonic() - began) < seconds:
        rates = [bucket.rate for bucket in client._limiter.snapshot().shared.values()]
        if rates and found == seconds and there(rates[0], before, allowed):
            found = now
        await asyncio.sleep(0.1)
    begin = seconds * (1 / 2 if before < allowed else 1 / 5)
    later = [refused for at, refused in answers if at - began >= begin]
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
