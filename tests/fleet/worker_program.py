"""A worker process of the tests: settings in JSON on the command line, and what to break for a control."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.fleet import Fleet
from calls_in_progress_async.fleet.jetstream import JetStream
from calls_in_progress_async.fleet.membership import Membership


def disable_fences() -> None:
    """Write without compare-and-set and without a look at the worker's own beats."""
    publish = JetStream.publish

    async def publish_anyway(self: JetStream, subject: str, body: bytes, after: int) -> int:
        return await publish(self, subject, body, (await self.last(subject)).sequence)

    JetStream.publish = publish_anyway  # type: ignore[method-assign]
    Membership.is_fresh = lambda self, now: True  # type: ignore[method-assign]


async def main(settings: dict[str, Any]) -> None:
    if settings.pop("break_fences", False):
        disable_fences()
    url, token = settings.pop("url"), settings.pop("token")
    organizations = [Organization.parse(each) for each in settings.pop("organizations")]
    async with CallsInProgressClient(base_url=url, token=token) as client:
        await Fleet(client, organizations=organizations, **settings).run()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
