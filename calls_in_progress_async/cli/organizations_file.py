"""Organizations from the arguments and from a file, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TextIO

import click

from ..errors import InvalidRequestError
from ..organization import Organization


def organizations_from(given: Iterable[Organization], file: TextIO | None) -> list[Organization]:
    """Collect organizations, each once, in the order they were named.

    Args:
        given: Those of the arguments.
        file: One organization a line; what follows a ``#`` is a comment. None where there is no file.

    Raises:
        click.UsageError: A line is none, or there are no organizations at all.
    """
    named = [*given, *(() if file is None else _read(file))]
    if not named:
        raise click.UsageError("no organization is named: add one such as advertiser:25")
    return list(dict.fromkeys(named))


def _read(file: TextIO) -> Iterator[Organization]:
    try:
        for number, line in enumerate(file, 1):
            text = line.partition("#")[0].strip()
            if text:
                yield _parse(text, f"{file.name}:{number}")
    except UnicodeDecodeError:
        raise click.UsageError(f"{file.name}: it is not text in UTF-8") from None


def _parse(text: str, where: str) -> Organization:
    try:
        return Organization.parse(text)
    except InvalidRequestError as error:
        raise click.UsageError(f"{where}: {error.message}") from None
