"""How a watch is shown: a live table on a terminal, lines for people in a pipe, lines of JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from attrs import frozen

from ..watch.events import (
    CallChanged,
    CallEnded,
    CallEvent,
    CallStarted,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
)
from ..watch.watch import Watch
from .call_table import clock_time
from .escaping import phone_number
from .output import is_live, stdout_console, write_json, write_line
from .watch_table import live_table
from .watch_tally import Tally


class Display(Protocol):
    """Shows what a watch tells."""

    def tell(self, event: CallEvent) -> None:
        """Show an event."""
        ...

    def tick(self) -> None:
        """Show that time passes."""
        ...


@contextmanager
def open_display(watch: Watch, tally: Tally, *, as_json: bool, masked: bool) -> Iterator[Display]:
    """Choose the display that fits stdout, and leave the terminal as it was at the end."""
    console = stdout_console()
    if as_json:
        yield JsonLines()
    elif is_live(console):
        with live_table(console, watch, tally, masked=masked) as table:
            yield table
    else:
        yield Lines(masked)


class JsonLines:
    """One event a line, with the call's exact payload."""

    def tell(self, event: CallEvent) -> None:
        """Write an event."""
        name = type(event).__name__.removeprefix("Call").removeprefix("Organization").lower()
        fields = {"event": name, "at": datetime.now(UTC).isoformat(), "organization": str(event.organization)}
        payloads: dict[str, bytes] = {}
        match event:
            case OrganizationFailed(_, error):
                fields |= {"error": type(error).__name__, "message": str(error)}
            case OrganizationRecovered(_, gap) | OrganizationResumed(_, gap):
                payloads = {"gap": json.dumps(gap).encode()}
            case CallChanged():
                payloads = {"call": event.call.raw_json, "changes": _changes(event)}
            case _:
                payloads = {"call": event.call.raw_json}
        write_json(fields, **payloads)

    def tick(self) -> None:
        """Time makes no event."""


def _changes(event: CallChanged) -> bytes:
    return json.dumps(event.changes, ensure_ascii=False, default=_as_text).encode()


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@frozen
class Lines:
    """One event a line, in words."""

    masked: bool

    def tell(self, event: CallEvent) -> None:
        """Write an event."""
        now = datetime.now().astimezone()
        write_line(f"{now:%H:%M:%S} {event.organization} {describe(event, masked=self.masked)}")

    def tick(self) -> None:
        """Time makes no line."""


def describe(event: CallEvent, *, masked: bool) -> str:
    """An event in words, without its organization."""
    match event:
        case CallStarted(_, call):
            caller = phone_number(call.calling_phone_number, masked=masked)
            return f"started  {call.transaction_id} from {caller or 'an unknown number'}"
        case CallChanged(_, call, _, changes):
            differences = ", ".join(_difference(name, *changes[name], masked) for name in changes)
            return f"changed  {call.transaction_id} {differences or 'while nobody looked'}"
        case CallEnded(_, call):
            return f"ended    {call.transaction_id} after {clock_time(call.duration()) or 'an unknown time'}"
        case OrganizationFailed(_, error):
            return f"failed   {error}"
        case OrganizationResumed(_, gap):
            return f"resumed after {gap:.1f} s, in which short calls may have gone unseen"
    return f"recovered after {event.gap:.1f} s, in which short calls may have gone unseen"


def _difference(name: str, old: object, new: object, masked: bool) -> str:
    if name.endswith("phone_number") and masked:
        return name
    return f"{name}: {_shown(old)} -> {_shown(new)}"


def _shown(value: object) -> str:
    return "nothing" if value is None else _as_text(value)
