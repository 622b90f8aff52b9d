"""``sandbox``: a local server that speaks the API, to try things against."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, get_args

import click

from ..sandbox import Fault, Revision, SandboxServer
from .output import count, write_json, write_line
from .runner import run
from .settings import as_json

_POSITIVE = click.FloatRange(min=0, min_open=True)
_AT_LEAST_ONE = click.IntRange(min=1)
_SPELLINGS = click.Choice(["any", "lower", "capitalized"])


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Any free one if left out.")
@click.option("--organizations", type=_AT_LEAST_ONE, default=10, show_default=True, metavar="N", help="How many.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed, the same calls.")
@click.option("--revision", type=click.Choice(get_args(Revision)), default="2024-02", show_default=True)
@click.option("--organization-type-spelling", type=_SPELLINGS, default="any", show_default=True)
@click.option("--rate-limit", type=_POSITIVE, metavar="N", help="Requests per second; 429 beyond.")
@click.option("--rate-burst", type=click.FloatRange(min=1), metavar="N", help="Requests that may come at once.")
@click.option("--latency", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Before each answer.")
@click.option("--calls-per-organization", type=click.FloatRange(min=0), default=5.0, show_default=True, metavar="N")
@click.option("--mean-call-seconds", type=_POSITIVE, default=180.0, show_default=True, metavar="SECONDS")
@click.option("--accept-only", is_flag=True, help="Answer updates with an empty 202.")
@click.option("--fault-rate", type=click.FloatRange(0, 1), default=0.0, metavar="P", help="Share of answers with 500.")
@as_json
def sandbox(fault_rate: float, as_json: bool, **settings: Any) -> int:
    """Run the sandbox, a local server with made-up organizations and calls, until Ctrl-C.

    Organization 1 is a network, the others are advertisers: network:1, advertiser:2, ...
    """
    faults = [Fault(probability=fault_rate)] if fault_rate else []
    return run(_serve(SandboxServer(faults=faults, epoch=datetime.now(UTC), **settings), as_json=as_json))


async def _serve(server: SandboxServer, *, as_json: bool) -> int:
    async with server:
        if as_json:
            write_json({"url": server.url, "token": server.token})
        else:
            _introduce(server)
        # An event that nobody sets: it ends by cancellation only.
        return int(await asyncio.Event().wait())


def _introduce(server: SandboxServer) -> None:
    number, kind = server.organizations[-1]
    write_line(f"url    {server.url}")
    write_line(f"token  {server.token}")
    write_line("")
    write_line(f"It has {count(len(server.organizations), 'organization')}. Try, in another terminal:")
    write_line("")
    write_line(f"  export CALLS_IN_PROGRESS_BASE_URL={server.url} CALLS_IN_PROGRESS_TOKEN={server.token}")
    write_line(f"  calls-in-progress list {kind}:{number}")
    write_line("")
    write_line("Ctrl-C stops it.")
