"""Organizations from the arguments and from a file, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TextIO

import click

from ..errors import InvalidRequestError
from ..organization import Organization
from .error_reports import problem_of

_BYTE_ORDER_MARK = "\ufeff"


def organizations_from(given: Iterable[Organization], file: TextIO | None) -> list[Organization]:
    """Collect organizations, each once, in the order of their mention.

    Args:
        given: The organizations of the arguments.
        file: One organization a line, with comments after a ``#``; None without a file.

    Raises:
        click.UsageError: A line is malformed, or no organization is named.
    """
    named = [*given, *(() if file is None else _read(file))]
    if not named:
        raise click.UsageError("no organization is named: add one such as advertiser:25")
    return list(dict.fromkeys(named))


def _read(file: TextIO) -> Iterator[Organization]:
    try:
        for number, line in enumerate(file, 1):
            # Editors on Windows write a byte order mark at the start of a file.
            text = line.removeprefix(_BYTE_ORDER_MARK).partition("#")[0].strip()
            if text:
                yield _parse(text, f"{file.name}:{number}")
    except UnicodeDecodeError:
        raise click.UsageError(f"{file.name}: must be text in UTF-8") from None


def _parse(text: str, where: str) -> Organization:
    try:
        return Organization.parse(text)
    except InvalidRequestError as error:
        raise click.UsageError(f"{where}: {problem_of(error)}") from None
