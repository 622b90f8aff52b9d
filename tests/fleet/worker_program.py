"""A worker process of the tests: settings in JSON on standard input.

``organizations`` is a list, or the path of a file to read again every ``refresh`` seconds. ``break_fences`` is for the
control. ``watch`` runs a plain watch in place of a worker, to compare costs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.fleet import Fleet
from calls_in_progress_async.fleet import fleet as fleet_module
from calls_in_progress_async.fleet.jetstream import JetStream
from calls_in_progress_async.fleet.membership import Membership


def disable_fences() -> None:
    """Write without compare-and-set and without a look at the worker's own beats."""
    publish = JetStream.publish

    async def publish_anyway(self: JetStream, subject: str, body: bytes, after: int) -> int:
        return await publish(self, subject, body, (await self.last(subject)).sequence)

    JetStream.publish = publish_anyway  # type: ignore[method-assign]
    Membership.is_fresh = lambda self, now: True  # type: ignore[method-assign]


def organizations_of(source: list[str] | str) -> Any:
    """Return organizations, or a callable that reads these from a file."""
    if isinstance(source, list):
        return [Organization.parse(each) for each in source]
    return lambda: organizations_of(json.loads(Path(source).read_text()))


async def main(settings: dict[str, Any]) -> None:
    if settings.pop("break_fences", False):
        disable_fences()
    fleet_module._REFRESH = settings.pop("refresh", 60.0)
    url, token = settings.pop("url"), settings.pop("token")
    organizations = organizations_of(settings.pop("organizations"))
    async with CallsInProgressClient(base_url=url, token=token) as client:
        if settings.pop("watch", False):
            async with client.watch(organizations, interval=settings["interval"]) as watch:
                async for _ in watch:
                    pass
        await Fleet(client, organizations=organizations, **settings).run()


if __name__ == "__main__":
    given = json.load(sys.stdin)
    run = asyncio.run
    if given.pop("uvloop", False):
        from uvloop import run  # an extra
    run(main(given))
