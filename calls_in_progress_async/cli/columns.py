"""The columns of a table of calls: their names, and the text of each call in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import click
from attrs import evolve, frozen

from ..organization import Organization
from ..phone_masking import mask_field
from ..records import Call

_CUSTOM = "custom_data."
_UTM = "utm_"


@frozen(kw_only=True)
class View:
    """The conditions under which a table is drawn."""

    now: datetime
    """The present, as an aware time."""
    masked: bool = True
    """True to show only the last digits of phone numbers."""

    def field(self, name: str, value: str) -> str:
        """Return the value of a call's field for the table."""
        return mask_field(name, value) if self.masked else value


@frozen
class Column:
    """A column of a table of calls."""

    name: str
    """The name for ``--columns``; the heading is the same with spaces."""
    show: Callable[[Organization, Call, View], str | None]
    """Returns the text of a call; None for no value."""
    is_id: bool = False
    """True for an id, which is shown whole and on one line."""
    is_text: bool = False
    """True for a description, which may be cut."""
    is_optional: bool = False
    """True to leave the column out if no call has a value."""

    justify: Literal["left", "right"] = "left"

    @property
    def heading(self) -> str:
        """The text above the column."""
        return self.name.removeprefix(_CUSTOM).replace("_", " ")


def clock_time(duration: timedelta | None) -> str | None:
    """Return a duration as on a clock: ``1:05`` or ``1:00:05``."""
    if duration is None:
        return None
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _since(_: Organization, call: Call, view: View) -> str | None:
    since = call.bridged_at or call.started_at
    if since is None:
        return None
    local, today = since.astimezone(), view.now.astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%m-%d %H:%M}"


def _custom_data(_: Organization, call: Call, view: View) -> str:
    shown = _custom_values(call, view)
    return ", ".join(f"{name}={value}" for name, value in shown.items())


def _utm(_: Organization, call: Call, view: View) -> str:
    return " / ".join(value for name, value in _custom_values(call, view).items() if name.startswith(_UTM))


def _custom_values(call: Call, view: View) -> dict[str, str]:
    fields = (call.custom_data or {}).items()
    return {name: view.field(name, field.value) for name, field in fields if field.value}


def _campaign(_: Organization, call: Call, view: View) -> str | None:
    return view.field("", call.advertiser_campaign_name or "") or call.advertiser_campaign_id


def _keypresses(_: Organization, call: Call, view: View) -> str:
    pressed = call.keypresses
    return view.field("", ", ".join(map(str, pressed)) if isinstance(pressed, list) else pressed or "")


def _show_field(name: str) -> Callable[[Organization, Call, View], str | None]:
    def show(_: Organization, call: Call, view: View) -> str | None:
        value = getattr(call, name)
        if isinstance(value, datetime):
            return value.astimezone().isoformat(" ", "seconds")
        is_number = isinstance(value, str) and name.endswith("phone_number")
        return None if value is None else view.field(name if is_number else "", str(value))

    return show


DEFAULT_COLUMNS = (
    Column("organization", lambda organization, _, __: str(organization), is_id=True),
    Column("transaction_id", lambda _, call, __: call.transaction_id, is_id=True),
    Column("external_id", lambda _, call, __: call.external_unique_id, is_id=True, is_optional=True),
    Column("caller", _show_field("calling_phone_number")),
    Column("since", _since),
    Column("lasts", lambda _, call, view: clock_time(call.duration(view.now)), justify="right"),
    Column("campaign", _campaign, is_text=True),
    Column("utm", _utm, is_text=True, is_optional=True),
)
WIDE_COLUMNS = (
    *DEFAULT_COLUMNS,
    Column("status", lambda _, call, __: call.call_status),
    Column("destination", _show_field("destination_phone_number")),
    Column("phone_type", lambda _, call, __: call.phone_type),
    Column("city", lambda _, call, view: view.field("", call.city or ""), is_text=True),
    Column("keypresses", _keypresses, is_text=True),
    Column("custom", _custom_data, is_text=True),
)
_NAMED = {column.name: column for column in WIDE_COLUMNS}


def _custom_column(name: str) -> Column:
    field = name.removeprefix(_CUSTOM)
    return Column(name, lambda _, call, view: _custom_values(call, view).get(field), is_text=True)


def parse_columns(_: click.Context, __: click.Parameter, text: str | None) -> Sequence[Column] | None:
    """Read the value of ``--columns``: names with commas between them.

    Raises:
        click.BadParameter: There is no such column.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise click.BadParameter(f"expected names with commas between them, such as {','.join(_NAMED)}")
    return tuple(evolve(_column(name), is_optional=False) for name in names)


def _column(name: str) -> Column:
    if name in _NAMED:
        return _NAMED[name]
    if name.startswith(_CUSTOM) and name != _CUSTOM:
        return _custom_column(name)
    if name in _call_fields():
        return Column(name, _show_field(name), is_id=name.endswith("_id"), is_text=True)
    raise click.BadParameter(
        f"expected {', '.join(_NAMED)}, a field of a call such as advertiser_name, or custom_data.NAME, got {name!r}"
    )


def _call_fields() -> set[str]:
    return {name for name in Call.__annotations__ if not name.startswith("_")}
