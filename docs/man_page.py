"""Write the man page of the command line from its help.

    python docs/man_page.py

``man calls-in-progress`` shows the page in an environment with the wheel.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from calls_in_progress_async.cli.program import program

PAGE = Path(__file__).with_name("calls-in-progress.1")
NAME = "calls-in-progress"


def page() -> str:
    """Return the page in roff."""
    context = click.Context(program, info_name=NAME, **program.context_settings)
    lines = [
        f'.TH {NAME.upper()} 1 "" "calls-in-progress-async" "User Commands"',
        *(".SH NAME", f"{_text(NAME)} \\- find live phone calls and update them"),
        *(".SH SYNOPSIS", f".B {_text(NAME)}", "COMMAND [OPTIONS] [ARGUMENTS]"),
        *(".SH DESCRIPTION", *_paragraphs(program.help)),
        ".SH COMMANDS",
        *_commands(program, context),
        *_sections(program.epilog),
    ]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, parent: click.Context) -> Iterator[str]:
    for name in group.list_commands(parent):
        command = group.commands[name]
        context = click.Context(command, info_name=name, parent=parent)
        path = context.command_path.removeprefix(f"{NAME} ")
        yield f'.SS "{_text(" ".join((path, *command.collect_usage_pieces(context))))}"'
        yield from _paragraphs(command.help)
        if isinstance(command, click.Group):
            yield from _commands(command, context)
            continue
        options = (each for each in command.params if isinstance(each, click.Option))
        for option, description in filter(None, (each.get_help_record(context) for each in options)):
            yield from (".TP", f".B {_text(option)}", _text(description))
        yield from _sections(command.epilog, heading=".PP")


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        yield from (".PP", _text(" ".join(paragraph.split())))


def _sections(epilog: str | None, *, heading: str = ".SH") -> Iterator[str]:
    """Yield each unfilled block of an epilog; its first line is the heading."""
    for block in (epilog or "").split("\b\n")[1:]:
        title, _, body = block.strip("\n").partition("\n")
        yield from (heading, _text(title) if heading == ".PP" else _text(title.rstrip(":").upper()))
        yield from (".EX", *(_text(line) for line in body.splitlines()), ".EE")


def _text(text: str) -> str:
    """Escape text for roff: backslashes, hyphens of options, and a control character that opens a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", escaped)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
