"""``sandbox``: a local server that speaks the API, to try programs against."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import click

from ..sandbox import Fault, Revision, SandboxServer
from .options import FiniteRange, as_json
from .output import count, write_json, write_line
from .runner import run

_POSITIVE = FiniteRange(min=0, min_open=True)
_AT_LEAST_ONE = click.IntRange(min=1)
_SPELLINGS = click.Choice(["any", "lower", "capitalized"])


@click.command(short_help="Run a local server with made-up calls.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Any free port if left out.")
@click.option(
    "--organizations", type=_AT_LEAST_ONE, default=10, show_default=True, metavar="N", help="Number of organizations."
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed makes the same calls.")
@click.option(
    "--revision",
    type=click.Choice(get_args(Revision)),
    default="2024-02",
    show_default=True,
    help="The revision of the API to speak.",
)
@click.option(
    "--organization-type-spelling",
    type=_SPELLINGS,
    default="any",
    show_default=True,
    help="The only spelling to accept: `advertiser` or `Advertiser`.",
)
@click.option("--rate-limit", type=_POSITIVE, metavar="N", help="Requests per second; more get a 429.")
@click.option("--rate-burst", type=FiniteRange(min=1), metavar="N", help="Requests to accept at once after a rest.")
@click.option("--latency", type=FiniteRange(min=0), default=0.0, metavar="SECONDS", help="Time before each response.")
@click.option(
    "--calls-per-organization",
    type=FiniteRange(min=0),
    default=5.0,
    show_default=True,
    metavar="N",
    help="Calls in progress of an organization, on average.",
)
@click.option(
    "--mean-call-seconds",
    type=_POSITIVE,
    default=180.0,
    show_default=True,
    metavar="SECONDS",
    help="Length of a call, on average.",
)
@click.option("--accept-only", is_flag=True, help="Respond to updates with an empty 202.")
@click.option("--fault-rate", type=FiniteRange(0, 1), default=0.0, metavar="P", help="Share of responses with a 500.")
@as_json
def sandbox(fault_rate: float, as_json: bool, **settings: Any) -> int:
    """Run the sandbox, a local server with made-up organizations and calls, until Ctrl-C.

    Organization 1 is a network, the others are advertisers: network:1, advertiser:2, ...
    """
    faults = [Fault(probability=fault_rate)] if fault_rate else []
    return run(serve(SandboxServer(faults=faults, **settings), as_json=as_json))


async def serve(server: SandboxServer, *, as_json: bool) -> int:
    """Run a sandbox, and introduce the sandbox to the user, until Ctrl-C."""
    async with server:
        if as_json:
            write_json({"url": server.url, "token": server.token})
        else:
            _introduce(server)
        # Nobody sets this event: the command ends by cancellation only.
        return int(await asyncio.Event().wait())


def _introduce(server: SandboxServer) -> None:
    write_line(f"url    {server.url}")
    write_line(f"token  {server.token}")
    write_line("")
    write_line(f"It has {count(len(server.organizations), 'organization')}. Try, in another terminal:")
    write_line("")
    write_line(f"  export CALLS_IN_PROGRESS_BASE_URL={server.url} CALLS_IN_PROGRESS_TOKEN={server.token}")
    write_line(f"  calls-in-progress list {server.organizations[-1]}")
    write_line("")
    write_line("Ctrl-C stops it.")
