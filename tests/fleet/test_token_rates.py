"""A worker's requests for two tokens, in virtual time. The log is in memory, and the other worker is beats alone."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from fleet.memory_log import MemoryLog

from calls_in_progress_async import CallsInProgressClient, Organization, clock
from calls_in_progress_async.fleet import Fleet
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.fleet.membership import assign
from calls_in_progress_async.limits.settings import RateLimit
from calls_in_progress_async.testing import ScriptedTransport, run

ORGANIZATIONS = [Organization.advertiser(number) for number in range(1, 61)]
SHARDS, RATE, SECONDS = 16, 20.0, 60.0


async def token_of(organization: Organization) -> str:
    return "small" if organization.id <= 9 else "big"


async def beat_for_other(log: MemoryLog) -> None:
    """Beat as another worker that lives, and polls the rest."""
    while True:
        if log.on_beat is not None:
            await log.on_beat({"by": "other", "sent": clock.time_with_sleep(), "stale": 0.0})
        await asyncio.sleep(0.1)


def share_of(token: str) -> float:
    """Compute the worker's share of a token's organizations from the owners of the shards."""
    settings, owners = LogSettings(servers="nats://unused", name="t", shards=SHARDS), assign({"me", "other"}, SHARDS)
    of_token = [each for each in ORGANIZATIONS if (each.id <= 9) == (token == "small")]
    return sum(owners[settings.shard_of(each)] == "me" for each in of_token) / len(of_token)


def test_a_worker_uses_its_share_of_each_tokens_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first request on: a bucket never opens with the burst or the rate of the whole fleet."""
    transport, logs = ScriptedTransport(200, repeat_last=True), []

    def make_log(settings: Any) -> MemoryLog:
        logs.append(MemoryLog(settings))
        return logs[-1]

    monkeypatch.setattr("calls_in_progress_async.fleet.fleet.Log", make_log)

    async def main() -> None:
        limit = RateLimit(rate=RATE, burst=10)
        async with CallsInProgressClient(token=token_of, transport=transport, rate_limit=limit) as client:
            fleet = Fleet(
                client,
                servers="nats://unused",
                name="t",
                organizations=ORGANIZATIONS,
                interval=0.2,
                shards=SHARDS,
                worker="me",
            )
            running = asyncio.create_task(fleet.run())
            while not logs:
                await asyncio.sleep(0)
            beating = asyncio.create_task(beat_for_other(logs[0]))
            while not transport.requests:
                await asyncio.sleep(0.1)
            await asyncio.sleep(SECONDS)
            beating.cancel()
            fleet.stop()
            await running

    run(main)
    assert share_of("big") > 2 * share_of("small")
    times_by_token = defaultdict(list)
    for each in transport.requests:
        times_by_token[each.token].append(each.time)
    assert times_by_token.keys() == {"small", "big"}
    for token, times in times_by_token.items():
        share = share_of(token)
        for number, at in enumerate(times, 1):
            assert number <= max(1.0, 10 * share) + RATE * share * (at - times[0]) + 1e-3
        assert len(times) >= 0.95 * RATE * share * SECONDS
