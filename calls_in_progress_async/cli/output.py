"""Where output goes: data to stdout, everything else to stderr, and escape codes only to a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import click
from rich.console import Console

from .escaping import printable, printable_json

_UNFOLDED = 1_000
"""Columns where there is no terminal, so that no row is folded."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - rich calls this while it handles the BrokenPipeError; the program ends in its own way


def stdout_console() -> Console:
    """The console for data."""
    return _console(sys.stdout)


def stderr_console() -> Console:
    """The console for everything else."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    terminal = stream.isatty()
    return _Console(
        file=stream,
        force_terminal=terminal,
        width=None if terminal else _UNFOLDED,
        highlight=False,
        markup=False,
        emoji=False,
    )


def is_live(console: Console) -> bool:
    """Whether pictures can be drawn over one another."""
    return console.is_terminal and not console.is_dumb_terminal


def say(text: str) -> None:
    """Tell the person something, in a line on stderr."""
    # Not by click, which does not know the stream that rich puts here while a bar is on screen.
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def count(number: int, noun: str) -> str:
    """A number of things: ``1 call``, ``2 calls``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def write_line(text: str) -> None:
    """Write a line of data that is for people."""
    click.echo(printable(text))


def write_json(fields: Mapping[str, Any], **payloads: bytes) -> None:
    """Write a line of JSON, in UTF-8 whatever the locale.

    Args:
        fields: What comes first in the object.
        payloads: Exact JSON, which is put in as it is.
    """
    parts = [f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    parts += [f"{json.dumps(name)}:{payload.decode()}" for name, payload in payloads.items()]
    line = printable_json(f"{{{','.join(parts)}}}")
    click.echo(line.encode() + b"\n", nl=False)
