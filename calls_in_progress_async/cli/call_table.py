"""A table of calls, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from attrs import frozen
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ..organization import Organization
from ..records import Call
from .escaping import cell, id_cell, phone_number


@frozen
class Row:
    """A call to be shown."""

    organization: Organization
    call: Call
    style: str = ""
    """How the row stands out, in rich's words: ``"green"``."""


def call_table(rows: Iterable[Row], *, width: int, masked: bool = True, now: datetime | None = None) -> Table:
    """Make a table of calls.

    Args:
        rows: The calls, in the order to be shown.
        width: Columns of the terminal. Ids and numbers come first; descriptions are cut to what room there is.
        masked: Show only the last digits of callers' phone numbers.
        now: The time that durations last until; the present if left out.
    """
    rows = list(rows)
    columns = {name: [show(row.call) for row in rows] for name, show in _shown(masked, now).items()}
    if not any(row.call.external_unique_id for row in rows):
        del columns["external id"]
    columns = {"organization": [id_cell(str(row.organization)) for row in rows], **columns}
    taken = sum(max(map(cell_len, [name, *map(str, texts)])) + _GAP for name, texts in columns.items())
    room = width - taken
    for name, describe in _DESCRIPTIONS.items():
        if not columns.keys() & _DESCRIPTIONS or room >= 2 * (_SHORTEST_DESCRIPTION + _GAP):
            columns[name] = [_cut(describe(row.call)) for row in rows]
    return _table(columns, rows, room)


def _table(columns: Mapping[str, list[Text]], rows: list[Row], room: int) -> Table:
    share = max(room // len(columns.keys() & _DESCRIPTIONS) - _GAP, _SHORTEST_DESCRIPTION)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(
            name,
            justify="right" if name == "lasts" else "left",
            overflow="fold",
            max_width=share if name in _DESCRIPTIONS else None,
        )
    for row, cells in zip(rows, zip(*columns.values(), strict=True), strict=True):
        table.add_row(*cells, style=row.style)
    return table


def _shown(masked: bool, now: datetime | None) -> dict[str, Callable[[Call], Text]]:
    return {
        "transaction id": lambda call: id_cell(call.transaction_id),
        "external id": lambda call: id_cell(call.external_unique_id),
        "caller": lambda call: cell(phone_number(call.calling_phone_number, masked=masked)),
        "lasts": lambda call: cell(clock_time(call.duration(now))),
        "status": lambda call: cell(call.call_status),
    }


def _campaign(call: Call) -> str | None:
    return call.advertiser_campaign_name or call.advertiser_campaign_id


def _cut(value: str | None) -> Text:
    text = cell(value)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _custom_data(call: Call) -> str:
    fields = call.custom_data or {}
    return ", ".join(f"{name}={field.value}" for name, field in fields.items() if field.value)


_DESCRIPTIONS = {"custom": _custom_data, "campaign": _campaign}
_SHORTEST_DESCRIPTION = 8
"""Columns."""
_GAP = 2
"""Columns between columns."""


def clock_time(duration: timedelta | None) -> str | None:
    """A duration as on a clock: ``1:05`` or ``1:00:05``."""
    if duration is None:
        return None
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
