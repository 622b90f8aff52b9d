"""An agency: poll many organizations, each network with its own token, and print the source of each call."""

from __future__ import annotations

import asyncio
import os

from calls_in_progress_async import CallsInProgressClient, Organization, RateLimit


async def fetch_token(organization: Organization) -> str:
    """Fetch the token of an organization, in production from a secret store. Called once, and again after a 401."""
    return os.environ["CALLS_IN_PROGRESS_TOKEN"]


async def main() -> None:
    """Print the source of every live call."""
    organizations = (Organization.advertiser(number) for number in range(2, 11))
    limit = RateLimit.adaptive(initial=20, floor=1, ceiling=200)
    async with CallsInProgressClient.from_env(token=fetch_token, rate_limit=limit) as client:
        async for result in client.find_many(organizations, max_in_flight=16):
            if result.error is not None:
                print(result.organization, "failed:", result.error)
            else:
                for call in result.calls:
                    print(result.organization, call.transaction_id, call.custom_value("utm_source") or "unknown")


asyncio.run(main())
