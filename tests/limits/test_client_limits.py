"""The limits through a whole client, with a server in the same loop."""

import asyncio
from contextlib import suppress

import pytest
from timing import passes

from calls_in_progress_async import (
    CallsInProgressClient,
    CallsInProgressError,
    Organization,
    RateLimit,
    RateLimitWaitError,
    RetryPolicy,
)
from calls_in_progress_async.clock import now
from calls_in_progress_async.testing import ScriptedTransport, calls, status

pytestmark = pytest.mark.usefixtures("on_virtual_clock")


def server(*rejected):
    """Respond after 30 ms, and reject some organizations with a Retry-After of 5 s."""
    accept, reject = calls(seconds=0.03), status(429, retry_after=5, seconds=0.03)
    return ScriptedTransport(lambda sent: reject if sent.organization.id in rejected else accept, repeat_last=True)


@pytest.mark.parametrize("limit", [RateLimit(rate=50), RateLimit.adaptive(initial=50, ceiling=50)])
@pytest.mark.parametrize("rejected", [1, 13, 20])
async def test_an_organization_always_rejected_does_not_starve_the_others_of_its_token(limit, rejected):
    """The other 19 get 47 responses per second after one or two pauses; the rejected one is asked every 5 s."""
    transport = server(rejected)

    async def keep_asking(client, number):
        while True:
            with suppress(CallsInProgressError):
                await client.find(Organization.advertiser(number))

    async with CallsInProgressClient(token="secret", transport=transport, rate_limit=limit) as client:
        began = now()
        tasks = [asyncio.create_task(keep_asking(client, number)) for number in range(1, 21) for _ in range(4)]
        await passes(60)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    accepted, asked = [], []
    for each in transport.requests:
        (asked if each.organization.id == rejected else accepted).append(each.time - began)
    for begin in range(15, 60, 15):
        assert sum(begin <= at < begin + 15 for at in accepted) >= 47 * 15
    assert 45 / 5 - 2 <= sum(at > 15 for at in asked) <= 3 * 45 / 5


async def test_a_find_is_rejected_in_time_if_a_429_comes_while_it_waits():
    """With max_wait=0.5 a find waits for the rate at most half a second, even if a pause of 5 s comes meanwhile."""
    limit = RateLimit(rate=5, burst=1, max_wait=0.5)
    async with CallsInProgressClient(token="secret", transport=server(1), rate_limit=limit) as client:
        began = now()
        rejected = asyncio.create_task(client.find(Organization.advertiser(1)))
        await passes(0.01)
        with pytest.raises(RateLimitWaitError):
            await client.find(Organization.advertiser(2))
        assert now() - began < 0.5 + 0.01
        with suppress(CallsInProgressError):
            await rejected


async def test_retry_after_is_capped_once_by_the_retry_policy():
    """A Retry-After of 5 s with a cap of 2 s pauses the token for 2 s."""
    retry = RetryPolicy(max_retry_after=2.0)
    async with CallsInProgressClient(token="secret", transport=server(1), retry=retry) as client:
        with pytest.raises(CallsInProgressError):
            await client.find(Organization.advertiser(1))
        (bucket,) = client.rate_limits.snapshot().shared.values()
        assert bucket.paused_for == 2.0
        began = now()
        await client.find(Organization.advertiser(2))
        assert now() - began == pytest.approx(2.03, abs=0.01)
