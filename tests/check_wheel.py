"""Check an environment with the built wheel: ``nox -s wheel`` runs this in an empty one, bare and with each extra.

python tests/check_wheel.py [EXTRA]
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
import json
import sys

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.sandbox import SandboxServer

LIBRARIES = {"cli": "click", "otel": "opentelemetry", "fleet": "nats", "speed": "uvloop", "testing": "pytest"}
"""The library of each extra."""
MODULES = {
    "cli": "calls_in_progress_async.cli.program",
    "otel": "calls_in_progress_async.opentelemetry",
    "fleet": "calls_in_progress_async.fleet",
    "speed": "uvloop",
    "testing": "pytest_calls_in_progress",
}
"""A module that imports the libraries of each extra."""


async def find_calls() -> int:
    """Run the README's first program."""
    async with (
        SandboxServer(organizations=10, seed=7) as sandbox,
        CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client,
    ):
        organizations = [Organization.network(1), *map(Organization.advertiser, range(2, 11))]
        return sum([len(await client.find(each)) for each in organizations])


def check_metadata() -> None:
    """Check the entry points and the bill of materials."""
    distribution = importlib.metadata.distribution("calls-in-progress-async")
    assert len(distribution.entry_points) == 2, distribution.entry_points
    bill = json.loads(distribution.read_text("sboms/calls-in-progress-async.cdx.json") or "")
    assert bill["metadata"]["component"]["version"] == distribution.version, bill
    required = {each for each in distribution.requires or () if "extra ==" not in each}
    assert {each["name"] + each["properties"][0]["value"] for each in bill["components"]} == required, bill


def main(extra: str | None = None) -> None:
    """Check that the package works, with exactly the libraries of the extra."""
    present = {name for name, library in LIBRARIES.items() if importlib.util.find_spec(library)}
    assert present == ({extra} if extra else set()), (
        f"expected the libraries of [{extra}] alone, got those of {present}"
    )
    if extra:
        importlib.import_module(MODULES[extra])
    check_metadata()
    found = asyncio.run(find_calls())
    assert found, "no calls"
    print(f"the wheel with the extra {extra} found {found} calls")


main(*sys.argv[1:])
