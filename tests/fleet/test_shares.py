"""A worker's share of the rate of each token."""

from __future__ import annotations

from typing import Any

from calls_in_progress_async import Organization
from calls_in_progress_async.fleet.shares import RateShares

ORGANIZATIONS = [Organization.advertiser(number) for number in range(1, 5)]


class Recorder:
    """Keeps the last share of each token; None stands for all other tokens."""

    def __init__(self) -> None:
        self.shares: dict[str | None, float] = {}

    def set_share(self, fraction: float, *, token: str | None = None) -> None:
        self.shares[token] = fraction


async def token_of(organization: Organization) -> str:
    if organization == ORGANIZATIONS[3]:
        raise KeyError(organization)
    return "one" if organization == ORGANIZATIONS[0] else "two"


async def test_an_organization_without_a_token_counts_towards_no_token() -> None:
    """The others with a token share its rate as if the organization did not exist."""
    recorder: Any = Recorder()
    shares = RateShares(recorder, token_of)
    await shares.learn(ORGANIZATIONS)
    shares.update([ORGANIZATIONS[1], ORGANIZATIONS[3]], len(ORGANIZATIONS))
    assert recorder.shares == {None: 0.5, "two": 0.5}
    assert shares.share == 0.5


async def test_with_one_token_only_the_common_share_is_set() -> None:
    """No organization is asked for its token, and a worker without organizations sets nothing."""
    recorder: Any = Recorder()
    shares = RateShares(recorder, None)
    await shares.learn(ORGANIZATIONS)
    shares.update([], 4)
    assert recorder.shares == {}
    shares.update(ORGANIZATIONS[:1], 4)
    assert recorder.shares == {None: 0.25}
