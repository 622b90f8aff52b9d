"""The limits through a whole client, with a server in the same loop."""

import asyncio
from contextlib import suppress

import pytest
from timer_loop import now, on_timer_loop, passes

from calls_in_progress_async import (
    CallsInProgressClient,
    CallsInProgressError,
    Organization,
    RateLimit,
    RateLimitWaitError,
    RetryPolicy,
    WireResponse,
)

NO_CALLS = b'{"current_calls": []}'


class Server:
    """Responds after 30 ms, and rejects some organizations with a Retry-After of 5 s."""

    def __init__(self, *rejected):
        self.rejected = {f"id={number}&" for number in rejected}
        self.successes = []
        self.rejections = []

    async def send(self, request, token, state):
        sent = now()
        await asyncio.sleep(0.03)
        if any(each in f"{request.target}&" for each in self.rejected):
            self.rejections.append(sent)
            return WireResponse(429, {"Retry-After": "5"}, b"")
        self.successes.append(sent)
        return WireResponse(200, {}, NO_CALLS)

    async def close(self):
        pass


@pytest.mark.parametrize("limit", [RateLimit(rate=50), RateLimit.adaptive(initial=50, ceiling=50)])
@pytest.mark.parametrize("rejected", [1, 13, 20])
@on_timer_loop
async def test_an_organization_always_rejected_does_not_starve_the_others_of_its_token(limit, rejected):
    """The other 19 get 47 responses per second after one or two pauses; the rejected one is asked every 5 s."""
    server = Server(rejected)

    async def keep_asking(client, number):
        while True:
            with suppress(CallsInProgressError):
                await client.find(Organization.advertiser(number))

    async with CallsInProgressClient(token="secret", transport=server, rate_limit=limit) as client:
        began = now()
        tasks = [asyncio.create_task(keep_asking(client, number)) for number in range(1, 21) for _ in range(4)]
        await passes(60)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for begin in range(15, 60, 15):
        assert sum(began + begin <= at < began + begin + 15 for at in server.successes) >= 47 * 15
    assert 45 / 5 - 2 <= sum(at > began + 15 for at in server.rejections) <= 3 * 45 / 5


@on_timer_loop
async def test_a_find_is_rejected_in_time_if_a_429_comes_while_it_waits():
    """With max_wait=0.5 a find waits for the rate at most half a second, even if a pause of 5 s comes meanwhile."""
    server = Server(1)
    limit = RateLimit(rate=5, burst=1, max_wait=0.5)
    async with CallsInProgressClient(token="secret", transport=server, rate_limit=limit) as client:
        began = now()
        rejected = asyncio.create_task(client.find(Organization.advertiser(1)))
        await passes(0.01)
        with pytest.raises(RateLimitWaitError):
            await client.find(Organization.advertiser(2))
        assert now() - began < 0.5 + 0.01
        with suppress(CallsInProgressError):
            await rejected


@on_timer_loop
async def test_retry_after_is_capped_once_by_the_retry_policy():
    """A Retry-After of 5 s with a cap of 2 s pauses the token for 2 s."""
    server = Server(1)
    retry = RetryPolicy(max_retry_after=2.0)
    async with CallsInProgressClient(token="secret", transport=server, retry=retry) as client:
        with pytest.raises(CallsInProgressError):
            await client.find(Organization.advertiser(1))
        (bucket,) = client.rate_limits.snapshot().shared.values()
        assert bucket.paused_for == 2.0
        began = now()
        await client.find(Organization.advertiser(2))
        assert now() - began == pytest.approx(2.03, abs=0.01)
