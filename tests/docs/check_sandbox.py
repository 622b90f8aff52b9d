"""Hold the sandbox to the OpenAPI description with schemathesis, in every revision; ``nox -s openapi`` runs it."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import get_args

from calls_in_progress_async import Organization
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.sandbox.revisions import Revision

HERE = Path(__file__).parent
DESCRIPTION = HERE.parents[1] / "docs" / "openapi.yaml"
ACME = Organization.advertiser(25)
REACHED = {200, 401, 403, 404, 405}
"""Every status of a sandbox without faults and rate limit."""


async def check(revision: Revision) -> None:
    """Send valid and invalid requests, and exit if a response breaks the description."""
    async with SandboxServer(organizations=[ACME], seed=3, revision=revision) as sandbox:
        sandbox.start_call(ACME, transaction_id="A-1")
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            *("--config-file", HERE / "schemathesis.toml", "run", DESCRIPTION, "--checks", "all"),
            *("--url", sandbox.url, "--header", f"Authorization: {sandbox.token}"),
        )
        if status := await process.wait():
            sys.exit(f"revision {revision}: schemathesis exited with {status}, see its report above")
    if missed := REACHED - set(sandbox.stats.statuses):
        sys.exit(f"revision {revision}: expected responses with {sorted(missed)} too, got {sandbox.stats.statuses}")
    if not sandbox.updates:
        sys.exit(f"revision {revision}: expected updates that succeed, got none: see tests/docs/schemathesis.toml")
    print(f"revision {revision}: {sandbox.stats.requests} requests, {len(sandbox.updates)} updates")


logging.getLogger("aiohttp.server").disabled = True  # it logs the malformed requests
for each in get_args(Revision):
    asyncio.run(check(each))
