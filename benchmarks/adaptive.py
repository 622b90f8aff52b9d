"""Does the adaptive rate find a limit that nobody documented? Against the sandbox, in real time.

The sandbox allows 37 requests a second, then 120, then 12. For each: how soon the rate was within 90 and 110 % of it,
and, in the second half of the time, what share of it was had and what share of the answers were 429.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import time
from pathlib import Path

from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, Organization, RateLimit
from calls_in_progress_async.sandbox import SandboxServer

STAGES = ((37.0, 60.0), (120.0, 90.0), (12.0, 45.0))
"""Requests a second that are allowed, and seconds."""


async def main(scale: float) -> list[dict[str, float]]:
    """Run the stages, each ``scale`` times as long."""
    async with SandboxServer(organizations=50, seed=1, calls_per_organization=1) as sandbox:
        limit = RateLimit.adaptive(initial=10, floor=0.5, ceiling=500)
        async with CallsInProgressClient(
            token=sandbox.token, base_url=sandbox.url, rate_limit=limit, deadline=None
        ) as client:
            answers: list[tuple[float, bool]] = []
            askers = [asyncio.create_task(ask(client, number, answers)) for number in range(2, 50)]
            rows = [await stage(sandbox, answers, allowed, seconds * scale) for allowed, seconds in STAGES]
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
    sandbox: SandboxServer, answers: list[tuple[float, bool]], allowed: float, seconds: float
) -> dict[str, float]:
    """Let the sandbox allow so many a second, for so long."""
    sandbox.rate_limit = allowed
    answers.clear()
    began = time.monotonic()
    await asyncio.sleep(seconds)
    windows = [0] * int(seconds)
    for at, refused in answers:
        if not refused and at - began < len(windows):
            windows[int(at - began)] += 1
    means = [sum(windows[i : i + 5]) / 5 / allowed for i in range(len(windows) - 5)]
    settled = next((i for i, mean in enumerate(means) if 0.9 <= mean <= 1.1), len(windows))
    later = [refused for at, refused in answers if at - began >= seconds / 2]
    span = seconds / 2
    return {
        "allowed_per_s": allowed,
        "settled_after_s": settled,
        "share_of_allowed": (len(later) - sum(later)) / span / allowed,
        "share_429": sum(later) / max(len(later), 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the time")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    table = asyncio.run(main(1 / 3 if options.quick else 1))
    for row in table:
        print({name: round(value, 4) for name, value in row.items()})
    if options.json:
        options.json.write_text(json.dumps({"python": platform.python_version(), "rows": table}, indent=2))
