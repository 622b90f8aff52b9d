"""A process uses its share of every limit, and a change of the share hands out nothing."""

import asyncio
import math
from fractions import Fraction

import pytest
from timing import advance, passes, settle

from calls_in_progress_async.clock import now
from calls_in_progress_async.errors import InvalidRequestError
from calls_in_progress_async.limits.limiter import RateLimiter
from calls_in_progress_async.limits.settings import RateLimit

pytestmark = pytest.mark.usefixtures("on_virtual_clock")

KEY = ("host", "token")
OTHER = ("host", "other")


def take_all(limiter, limit_key=KEY, organization="a"):
    taken = 0
    while limiter.try_acquire(limit_key, organization):
        taken += 1
    return taken


def limits(limiter):
    return [(bucket.rate, bucket.burst) for bucket in limiter.snapshot().shared.values()]


@pytest.mark.parametrize("fraction", [0, -0.5, 1.001, math.nan, math.inf, True, None, "1", 10**400])
def test_a_share_is_above_zero_and_at_most_one(fraction):
    """Reject any other fraction by name, and leave the share as it was."""
    limiter = RateLimiter(RateLimit(rate=10))
    with pytest.raises(InvalidRequestError, match="fraction") as caught:
        limiter.view.set_share(fraction)
    assert caught.value.parameter == "fraction"
    assert limiter.try_acquire(KEY, "a")
    assert limits(limiter) == [(10, 1)]


@pytest.mark.parametrize("token", ["", "with space", 5, "é"])
def test_a_bad_token_is_rejected_and_not_shown(token):
    """A misspelt token would silently limit nothing."""
    with pytest.raises(InvalidRequestError) as caught:
        RateLimiter().view.set_share(0.5, token=token)
    assert caught.value.parameter == "token"


async def test_workers_together_send_the_configured_rate():
    """Four workers with a quarter each send 40 requests a second together, from the first second on."""
    workers = [RateLimiter(RateLimit(rate=40, burst=8)) for _ in range(4)]
    sent = []

    async def send(limiter, organization):
        while True:
            await limiter.acquire(KEY, organization)
            sent.append(now())

    for worker in workers:
        worker.view.set_share(1 / 4)
    began = now()
    tasks = [asyncio.create_task(send(worker, organization)) for worker in workers for organization in range(3)]
    await passes(10)
    for task in tasks:
        task.cancel()
    assert len(sent) == pytest.approx(8 + 400, abs=4)
    assert sum(at < began + 1 for at in sent) <= 8 + 40


async def test_a_change_of_share_hands_out_no_tokens():
    """Tokens are kept as far as the new burst has room; a larger burst fills at the new rate."""
    limiter = RateLimiter(RateLimit(rate=40, burst=20))
    assert limiter.try_acquire(KEY, "a")
    limiter.view.set_share(0.5)
    assert take_all(limiter) == 10
    limiter.view.set_share(1.0)
    assert take_all(limiter) == 0
    advance(0.25)
    limiter.view.set_share(0.25)
    assert take_all(limiter) == 5
    for _ in range(50):
        limiter.view.set_share(0.5)
        limiter.view.set_share(1.0)
    assert take_all(limiter) == 0


async def test_a_bucket_opened_later_begins_with_its_share():
    """Neither a new token nor a new organization opens at the full rate or with the full burst."""
    limiter = RateLimiter(RateLimit(rate=40, burst=20, per_organization_rate=20, per_organization_burst=12))
    limiter.view.set_share(0.25)
    assert [take_all(limiter, OTHER, organization) for organization in "ab"] == [3, 2]
    assert limits(limiter) == [(10, 5)]
    advance(0.2)
    assert take_all(limiter, OTHER, "a") == 1


async def test_the_share_reaches_organizations_known_before():
    """A bucket of an organization changes with the share, and back."""
    limiter = RateLimiter(RateLimit(rate=1e6, per_organization_rate=20, per_organization_burst=12))
    assert take_all(limiter) == 12
    limiter.view.set_share(0.25)
    advance(60)
    assert take_all(limiter) == 3
    limiter.view.set_share(1)
    advance(60)
    assert take_all(limiter) == 12


async def test_a_token_may_have_a_separate_share():
    """It wins over the share of all tokens, before and after the bucket is opened."""
    limiter = RateLimiter(RateLimit(rate=40, burst=20))
    limiter.view.set_share(0.5, token="token")
    assert limiter.try_acquire(KEY, "a")
    assert limiter.try_acquire(OTHER, "a")
    assert limits(limiter) == [(20, 10), (40, 20)]
    limiter.view.set_share(0.25)
    assert limits(limiter) == [(20, 10), (10, 5)]
    limiter.view.set_share(Fraction(1, 8), token="token")
    assert limits(limiter) == [(5, 2.5), (10, 5)]


async def test_shares_of_tokens_are_remembered_for_max_buckets_tokens():
    """Rotated tokens do not pile up: the share set longest ago goes first."""
    limiter = RateLimiter(RateLimit(rate=40, burst=20, max_buckets=2))
    for token in ("token", "other", "token", "third"):
        limiter.view.set_share(0.5, token=token)
    assert limiter.try_acquire(KEY, "a")
    assert limiter.try_acquire(OTHER, "a")
    assert limits(limiter) == [(20, 10), (40, 20)]


async def test_a_burst_is_never_less_than_one_request():
    """A tiny share is a slow rate, not a bucket without room for a request."""
    limiter = RateLimiter(RateLimit(rate=40, burst=4, per_organization_rate=40))
    limiter.view.set_share(1e-3)
    assert take_all(limiter) == 1
    limiter.view.set_share(5e-324)
    (bucket,) = limiter.snapshot().shared.values()
    assert bucket.rate > 0
    assert bucket.burst == 1
    slow = RateLimiter(RateLimit(rate=0.1))
    slow.view.set_share(5e-324)
    assert take_all(slow) == 1


async def test_a_share_moves_the_next_grant_of_waiting_requests():
    """A smaller share puts the next grant off, a larger one brings it forward."""
    limiter = RateLimiter(RateLimit(rate=10, burst=1))
    assert take_all(limiter) == 1
    waiting = asyncio.create_task(limiter.acquire(KEY, "a"))
    await settle()
    limiter.view.set_share(0.1)
    await passes(0.5)
    assert not waiting.done()
    limiter.view.set_share(1.0)
    assert await waiting == pytest.approx(0.55, abs=0.002)


async def test_without_a_limit_a_share_changes_nothing():
    """A share of no limit is no limit."""
    limiter = RateLimiter()
    limiter.view.set_share(0.5)
    assert all(limiter.try_acquire(KEY, "a") for _ in range(1000))
    limiter.view.set_share(0.25)
    assert limits(limiter) == [(None, None)]
    assert all(limiter.try_acquire(KEY, "a") for _ in range(1000))


@pytest.mark.parametrize("shares", [[0.5], [1.0, 0.5], [0.1, 0.5]])
async def test_an_adaptive_rate_is_learnt_for_all_and_used_in_part(shares):
    """The bucket has the share of the learnt rate and of the ceiling; the exported rate is the whole one."""
    limiter = RateLimiter(RateLimit.adaptive(initial=40, ceiling=60))
    for share in shares:
        limiter.view.set_share(share)
        assert limiter.try_acquire(KEY, "a")
        advance(1)
    assert limits(limiter) == [(20, 1)]
    began, sent = now(), 0
    while now() < began + 200:
        await limiter.acquire(KEY, "a")
        sent += 1
        limiter.on_response(KEY, "a", throttled=False, retry_after=None, sent_at=now())
    assert limits(limiter) == [(30, 1)]
    assert sent == pytest.approx(200 * 30, rel=0.05)
    assert [learnt["rate"] for learnt in limiter.export_state()["limits"].values()] == [60]
    limiter.view.set_share(0.25)
    assert limits(limiter) == [(15, 1)]
    limiter.on_response(KEY, "a", throttled=True, retry_after=1, sent_at=now())
    assert limits(limiter) == [(pytest.approx(0.25 * 54), 1)]
