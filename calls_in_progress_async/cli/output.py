"""Output: data goes to stdout, everything else to stderr, and escape codes only to a terminal."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any, TextIO

import click
from rich.console import Console

from .escaping import printable, printable_json

_UNLIMITED = 1_000
"""Columns without a terminal, so that no description is cut."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - rich calls this while it handles a BrokenPipeError; the program ends in its own way


def stdout_console() -> Console:
    """Return the console for data."""
    return _console(sys.stdout)


def stderr_console() -> Console:
    """Return the console for everything else."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    terminal = stream.isatty()
    return _Console(
        file=stream,
        force_terminal=terminal,
        width=None if terminal else _UNLIMITED,
        highlight=False,
        markup=False,
        emoji=False,
    )


def is_live(console: Console) -> bool:
    """Return True if frames can be drawn over one another."""
    return console.is_terminal and not console.is_dumb_terminal


def say(text: str) -> None:
    """Write a line for the person, on stderr; a terminal gets it wrapped between words."""
    text = printable(text)
    if sys.stderr.isatty():
        columns = shutil.get_terminal_size().columns
        text = textwrap.fill(text, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    # Not by click: it does not know the stream that rich puts here behind a progress bar.
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def count(number: int, noun: str) -> str:
    """Return a number of things: ``1 call``, ``2 calls``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def write_line(text: str) -> None:
    """Write a line of data for people."""
    click.echo(printable(text))


def write_json(fields: Mapping[str, Any], **payloads: bytes | str) -> None:
    """Write a line of JSON, in UTF-8 whatever the locale.

    Args:
        fields: The first fields of the object.
        payloads: Further fields in JSON, written unchanged.
    """
    parts = [f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    parts += [f"{json.dumps(name)}:{_text(payload)}" for name, payload in payloads.items()]
    line = printable_json(f"{{{','.join(parts)}}}")
    click.echo(line.encode() + b"\n", nl=False)


def _text(payload: bytes | str) -> str:
    return payload if isinstance(payload, str) else payload.decode(errors="replace")
