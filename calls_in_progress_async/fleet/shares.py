"""A worker's share of the rate: for each token, its share of the token's organizations."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from ..limits.rate_limits import RateLimits
from ..organization import Organization

_AT_ONCE = 64
"""Number of tokens to ask for at once: the source may be a remote store of secrets."""
TokenOf = Callable[[Organization], Awaitable[str]]
"""Returns the token of an organization."""


class RateShares:
    """Gives the client's rate limit the share of this worker.

    Args:
        rate_limits: The client's.
        token_of: Returns the token of an organization; None if all organizations have the same.
    """

    def __init__(self, rate_limits: RateLimits, token_of: TokenOf | None) -> None:
        self._rate_limits = rate_limits
        self._token_of = token_of
        self._tokens: dict[Organization, str] = {}
        self.share: float = 1.0
        """This worker's share of all organizations."""

    @property
    def rate(self) -> float | None:
        """Requests per second that this worker's shares allow, over all tokens in use; None without a limit."""
        rates = [bucket.rate for bucket in self._rate_limits.snapshot().shared.values() if bucket.rate is not None]
        return sum(rates) if rates else None

    async def learn(self, organizations: Collection[Organization]) -> None:
        """Ask for the tokens of all organizations of the fleet, whoever polls these.

        An organization without a token for now counts towards no token.
        """
        if self._token_of is None:
            return
        token_of, found, left = self._token_of, dict[Organization, str](), iter(organizations)

        async def ask() -> None:
            for organization in left:
                with suppress(Exception):  # of the caller's own source; the organization's polls report it
                    found[organization] = await token_of(organization)

        await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))
        self._tokens = found

    def update(self, held: Collection[Organization], total: int) -> None:
        """Set the shares. Called before the first poll of a new organization.

        Args:
            held: The organizations of this worker.
            total: Number of organizations of the fleet.
        """
        if not held:
            return
        self.share = min(1.0, len(held) / max(1, total))
        self._rate_limits.set_share(self.share)
        own = Counter(self._tokens[each] for each in held if each in self._tokens)
        every = Counter(self._tokens.values())
        for token, number in own.items():
            self._rate_limits.set_share(min(1.0, number / every[token]), token=token)
