"""Options and arguments of several commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from ..errors import InvalidRequestError
from ..organization import Organization
from .columns import WIDE_COLUMNS, Column, parse_columns
from .error_reports import problem_of

R = TypeVar("R")
Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""An option, added to a command's function."""

if TYPE_CHECKING:
    _OrganizationParameter: TypeAlias = click.ParamType[Organization]
else:
    _OrganizationParameter = click.ParamType  # not generic at run time in the oldest click allowed


class FiniteRange(click.FloatRange):
    """A finite number in a range: "nan" is in every range of click's, and would never end a wait."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a number, or end the command with the reason."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"must be a finite number, got {number}", param, ctx)
        return number


class OrganizationArgument(_OrganizationParameter):
    """An organization, written as ``advertiser:25``."""

    name: str = "organization"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Organization:
        """Read an organization, or end the command with the reason."""
        try:
            return Organization.parse(value)
        except InvalidRequestError as error:
            self.fail(problem_of(error), param, ctx)


ORGANIZATION = OrganizationArgument()

organizations_option: Decorator = click.option(
    "--organizations",
    "organizations_file",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="Organizations from a file, one a line, with comments after a #; - is stdin.",
)
show_numbers: Decorator = click.option("--show-numbers", is_flag=True, help="Show phone numbers whole, not masked.")
as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Lines of JSON, for programs.")

_columns = click.option(
    "--columns",
    metavar="NAMES",
    callback=parse_columns,
    help=(
        f"Columns of the table, with commas between them: {', '.join(column.name for column in WIDE_COLUMNS)}, "
        "any field of a call, or custom_data.NAME."
    ),
)


_wide = click.option("--wide", is_flag=True, help="All columns of the list above.")


def choose_columns(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command ``--columns`` and ``--wide``, and call it with the chosen ``columns``, or None."""

    @wraps(command)
    def choose(*args: Any, columns: Sequence[Column] | None, wide: bool, **options: Any) -> R:
        if wide and columns is not None:
            raise click.UsageError("--wide and --columns exclude each other, use one of them")
        return command(*args, columns=WIDE_COLUMNS if wide else columns, **options)

    decorated: Callable[..., R] = _columns(_wide(choose))
    return decorated
