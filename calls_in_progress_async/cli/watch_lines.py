"""The events of a watch as lines: in words for people in a pipe, in JSON for programs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Protocol, assert_never

from .. import clock
from ..phone_masking import mask_field, mask_number
from ..records import Call
from ..watch.events import (
    CallChanged,
    CallEnded,
    CallEvent,
    CallStarted,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
)
from .columns import clock_time
from .output import write_json, write_line


class Display(Protocol):
    """Shows the events of a watch."""

    def show(self, event: CallEvent) -> None:
        """Show an event."""
        ...

    def tick(self) -> None:
        """Show the passing of time."""
        ...


class JsonLines:
    """One event a line, with the call's exact payload."""

    def show(self, event: CallEvent) -> None:
        """Write an event."""
        name = event.kind.partition("_")[2]  # without "call_" or "organization_"
        fields = {"event": name, "at": clock.utc_now().isoformat(), "organization": str(event.organization)}
        payloads: dict[str, bytes | str] = {}
        match event:
            case OrganizationFailed(_, error):
                fields |= {"error": type(error).__name__, "message": str(error)}
            case OrganizationRecovered(_, gap) | OrganizationResumed(_, gap):
                payloads = {"gap": json.dumps(gap)}
            case CallChanged():
                payloads = {"call": event.call.raw_json, "changes": _changes(event)}
            case CallStarted() | CallEnded():
                payloads = {"call": event.call.raw_json}
            case _:
                assert_never(event)
        write_json(fields, **payloads)

    def tick(self) -> None:
        """Write nothing: time is no event."""


def _changes(event: CallChanged) -> str:
    return json.dumps(event.changes, ensure_ascii=False, default=_as_text)


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


class TextLines:
    """One event a line, in words.

    Args:
        masked: True to show only the last digits of phone numbers.
    """

    def __init__(self, *, masked: bool) -> None:
        self._masked = masked

    def show(self, event: CallEvent) -> None:
        """Write an event."""
        now = clock.utc_now().astimezone()
        write_line(f"{now:%H:%M:%S} {event.organization} {describe(event, masked=self._masked)}")

    def tick(self) -> None:
        """Write nothing: time is no event."""


def describe(event: CallEvent, *, masked: bool) -> str:
    """Return an event in words, without its organization."""
    match event:
        case CallStarted(_, call):
            return f"started  {call.transaction_id} from {_caller(call, masked)}"
        case CallChanged(_, call, _, changes):
            differences = ", ".join(_difference(name, *changes[name], masked) for name in changes)
            return f"changed  {call.transaction_id} {differences or 'since the checkpoint'}"
        case CallEnded(_, call):
            lasted = clock_time(call.duration(clock.utc_now()))
            return f"ended    {call.transaction_id} after {lasted or 'an unknown time'}"
        case OrganizationFailed(_, error):
            return f"failed   {error}"
        case OrganizationRecovered(_, gap):
            return f"recovered after {gap:.1f} s without a response; short calls may have been missed"
        case OrganizationResumed(_, gap):
            return f"resumed  after {gap:.1f} s without a watch; short calls may have been missed"
        case _:
            assert_never(event)


def _caller(call: Call, masked: bool) -> str:
    number = call.calling_phone_number or "an unknown number"
    return mask_number(number) if call.calling_phone_number and masked else number


def _difference(name: str, old: object, new: object, masked: bool) -> str:
    return f"{name}: {_shown(name, old, masked)} -> {_shown(name, new, masked)}"


def _shown(name: str, value: object, masked: bool) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, datetime):
        return _as_text(value)
    return mask_field(name, str(value)) if masked else str(value)
