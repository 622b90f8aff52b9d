"""``replay``: a local server that serves a recording again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..testing.recordings import replay as make_sandbox
from .options import FiniteRange, as_json
from .runner import run
from .sandbox import serve


@click.command(short_help="Serve the calls of a recording again.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--speed",
    type=FiniteRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Recorded seconds per second.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Any free port if left out.")
@as_json
def replay(file: Path, as_json: bool, **settings: Any) -> int:
    """Serve the calls of FILE, a recording of a watch, as a local server until Ctrl-C."""
    sandbox = make_sandbox(file, **settings)  # before the event loop, where Ctrl-C would not end a wait for a FIFO
    return run(serve(sandbox, as_json=as_json))
