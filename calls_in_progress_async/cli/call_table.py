"""A table of calls, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..organization import Organization
from ..records import Call
from .columns import DEFAULT_COLUMNS, Column, View
from .escaping import cell, id_cell

_GAP = 2
"""Blanks between two columns."""
_SHORTEST, _COMFORTABLE = 7, 14
"""Characters of a description: at least, and before other columns give way."""
_ALONE = ("lasts", "organization", "external_id", "campaign", "utm", "since", "caller")
"""Columns of a default table to leave out, in this order, while the width is too small: for one organization."""
_HEADED = ("lasts", "external_id", "organization", "campaign", "utm", "since", "caller")
"""The order for several organizations, if each may have a line of its own above its calls."""
_SEVERAL = ("lasts", "external_id", "campaign", "since", "utm", "caller", "organization")
"""The order for several organizations otherwise."""

Widths = Mapping[Column, int]
"""Characters of each column."""


@frozen(kw_only=True)
class TableOptions:
    """The content of a table of calls."""

    masked: bool = True
    """True to show only the last digits of phone numbers."""
    columns: Sequence[Column] | None = None
    """The columns to show; None for the default ones."""


@frozen
class Row:
    """A call to show."""

    organization: Organization
    call: Call
    style: str = ""
    """A style in rich's words, such as ``"green"``."""


@frozen(kw_only=True)
class Layout:
    """The columns of a table, and the room for them."""

    columns: Sequence[Column] | None = None
    """The chosen columns, as wide as their texts; None for the default columns, fitted into the width."""
    width: int
    """Characters of a line."""
    is_cut: bool = False
    """True for a live table: lines of chosen columns are cut at the width, and each line is a call."""


def call_table(rows: Sequence[Row], view: View, layout: Layout) -> Table:
    """Make a table of calls, in the order of the rows. Ids are never cut or folded."""
    texts = _texts(DEFAULT_COLUMNS if layout.columns is None else layout.columns, rows, view)
    widths: Widths = {column: _width(column, shown) for column, shown in texts.items()}
    headings: set[str] = set()
    if layout.columns is None:
        organizations = {str(row.organization) for row in rows}
        several = _SEVERAL if layout.is_cut else _HEADED
        widths = _choose(widths, layout.width, _ALONE if len(organizations) == 1 else several)
        if several is _HEADED and len(organizations) > 1 and DEFAULT_COLUMNS[0] not in widths:
            headings = organizations
    if layout.columns is None or layout.is_cut:
        widths = _fit(widths, layout.width)
    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in widths.items():
        table.add_column(column.heading, justify=column.justify, no_wrap=True, overflow="ellipsis", width=width)
    for number, row in enumerate(rows):
        if headings and (number == 0 or row.organization != rows[number - 1].organization):
            table.add_row(id_cell(str(row.organization)), style="bold")
        table.add_row(*(_cell(column, texts[column][number], widths[column]) for column in widths), style=row.style)
    return table


def print_table(console: Console, rows: Sequence[Row], view: View, columns: Sequence[Column] | None) -> None:
    """Print a table of calls. Chosen columns too wide for a terminal are printed one below the other."""
    table = call_table(rows, view, Layout(columns=columns, width=console.width))
    needed = sum(column.width or 0 for column in table.columns) + _GAP * (len(table.columns) - 1)
    if columns is not None and needed > console.width and console.is_terminal:
        _print_records(console, rows, view, columns)
        return
    console.width = max(console.width, needed + _GAP)  # rich would shrink the table to the terminal
    console.print(table, crop=False, soft_wrap=True)


def _print_records(console: Console, rows: Sequence[Row], view: View, columns: Sequence[Column]) -> None:
    """Print each call as lines of a heading and a text."""
    width = max(cell_len(column.heading) for column in columns)
    for number, row in enumerate(rows):
        if number:
            console.print()
        for column in columns:
            heading = Text(column.heading.ljust(width + _GAP), "bold")
            line = heading + _cell(column, column.show(row.organization, row.call, view))
            console.print(line, crop=False, soft_wrap=True)


def _texts(columns: Sequence[Column], rows: Sequence[Row], view: View) -> dict[Column, list[str | None]]:
    texts = {column: [column.show(row.organization, row.call, view) for row in rows] for column in columns}
    return {column: shown for column, shown in texts.items() if any(shown) or not column.is_optional}


def _cell(column: Column, text: str | None, width: int | None = None) -> Text:
    return id_cell(text) if column.is_id else cell(text, width)


def _width(column: Column, texts: Sequence[str | None]) -> int:
    return max([cell_len(column.heading), *(_cell(column, text).cell_len for text in texts)])


def _choose(widths: Widths, room: int, give_way: Sequence[str]) -> Widths:
    """Leave columns out while the table is too wide even with short descriptions."""
    for name in give_way:
        shortest = _COMFORTABLE if name == "lasts" else _SHORTEST
        least = {column: min(width, shortest) if column.is_text else width for column, width in widths.items()}
        if _total(least) > room:
            widths = {column: width for column, width in widths.items() if column.name != name}
    return widths


def _fit(widths: Widths, room: int) -> Widths:
    """Share the room beside the other columns among the descriptions: short ones first, long ones alike."""
    descriptions = sorted((column for column in widths if column.is_text), key=lambda column: widths[column])
    left = room - _total({column: width for column, width in widths.items() if not column.is_text})
    fitted = dict(widths)
    for number, column in enumerate(descriptions):
        share = left // (len(descriptions) - number) - _GAP
        fitted[column] = min(widths[column], max(share, _SHORTEST))
        left -= fitted[column] + _GAP
    return fitted


def _total(widths: Widths) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)
