"""A consumer process of the tests: appends the id of every event to a file, then acknowledges the event."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from calls_in_progress_async.fleet import FleetEvents


async def main(settings: dict[str, Any]) -> None:
    pause = settings.pop("pause")
    with Path(settings.pop("file")).open("a", buffering=1) as file:
        async with FleetEvents(settings.pop("servers"), **settings) as events:
            async for event in events:
                file.write(json.dumps([event.id, event.redelivered]) + "\n")
                await asyncio.sleep(pause)
                await event.ack()


if __name__ == "__main__":
    asyncio.run(main(json.load(sys.stdin)))
