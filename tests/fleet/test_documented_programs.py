"""The programs of the page about fleets."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from fleet.nats_server import NatsServer

from calls_in_progress_async.sandbox import SandboxServer

PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"


async def test_the_documented_programs_run(server: NatsServer) -> None:
    """The worker polls and ends with 0 at SIGTERM; the consumer prints its events, and the view the present."""
    text = re.sub(r"nats://10[^\"]*", server.url, PAGE.read_text(encoding="utf-8"))
    text = text.replace("replicas=3", "replicas=1").replace("10_001", "11")
    worker, consumer, view = re.findall(r"^```py\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    async with SandboxServer(organizations=10) as sandbox:
        variables = {"CALLS_IN_PROGRESS_BASE_URL": sandbox.url, "CALLS_IN_PROGRESS_TOKEN": sandbox.token}
        working = await start(worker, **variables)
        while not sandbox.stats.requests:
            await asyncio.sleep(0.05)
        consuming = await start(consumer)
        assert consuming.stdout is not None
        async with asyncio.timeout(20):
            while b"call_started" not in (line := await consuming.stdout.readline()):
                assert line  # an outage, on a busy machine
        consuming.kill()
        viewing = await start(view)
        assert viewing.stdout is not None
        assert b"calls in progress" in await asyncio.wait_for(viewing.stdout.readline(), 20)
        assert b"s old" in await asyncio.wait_for(viewing.stdout.readline(), 20)
        viewing.kill()
        await viewing.communicate()
        working.terminate()
        await consuming.communicate()
        assert await asyncio.wait_for(working.wait(), 20) == 0


async def start(source: str, **variables: str) -> asyncio.subprocess.Process:
    arguments = [sys.executable, "-W", "error", "-u", "-c", source]
    return await asyncio.create_subprocess_exec(
        *arguments, env={**os.environ, **variables}, stdout=asyncio.subprocess.PIPE
    )
