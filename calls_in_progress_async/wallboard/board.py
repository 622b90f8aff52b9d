"""The state of the board: events go in, messages for the page come out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field

from ..errors import CallsInProgressError
from ..organization import Organization
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
from .display_text import visible
from .feed import FeedStatus
from .rows import Row, row, row_key
from .settings import BoardSettings


@define(eq=False)
class Board:
    """Live calls and failing organizations, and their changes since the last message."""

    settings: BoardSettings
    rows: dict[str, Row] = field(factory=dict)
    """The live calls by key, in the order they were first seen."""
    organizations: list[str] = field(factory=list)
    """The organizations on the board, in order; ages in a status message follow the same order."""
    failures: dict[str, dict[str, Any]] = field(factory=dict)
    """Failing organizations: name to error, reason and the time of the failure."""
    stopped: str | None = None
    """Reason why the feed ended; None while it runs."""
    _changed: dict[str, Row] = field(factory=dict)
    _ended: dict[str, None] = field(factory=dict)
    _health: dict[str, dict[str, Any] | None] = field(factory=dict)

    def load(self, calls: Mapping[Organization, Iterable[Call]]) -> None:
        """Add the first calls of a feed."""
        for organization, found in calls.items():
            for call in found:
                self._upsert(organization, call)

    def apply(self, event: CallEvent, now: float) -> None:
        """Apply an event of the feed.

        Args:
            event: The event; a repeated one changes nothing.
            now: Seconds since 1970.
        """
        match event:
            case CallStarted():
                self._upsert(event.organization, event.call)
            case CallChanged():
                self._replace(event)
            case CallEnded():
                self._end(row_key(event.organization, event.call))
            case OrganizationFailed():
                self._set_health(event.organization, {**_describe(event.error), "since": round(now, 1)})
            case OrganizationRecovered() | OrganizationResumed():
                self._set_health(event.organization, None)
            case _:
                pass  # other kinds of events have no place on the page

    def _replace(self, event: CallChanged) -> None:
        key = row_key(event.organization, event.call)
        if event.previous is not None and (before := row_key(event.organization, event.previous)) != key:
            self._end(before)
        self._upsert(event.organization, event.call)

    def _upsert(self, organization: Organization, call: Call) -> None:
        shown = row(organization, call, self.settings)
        key = shown["key"]
        if self.rows.get(key) == shown:
            return
        self.rows[key] = self._changed[key] = shown
        self._ended.pop(key, None)

    def _end(self, key: str) -> None:
        if self.rows.pop(key, None) is not None:
            self._changed.pop(key, None)
            self._ended[key] = None

    def _set_health(self, organization: Organization, failure: dict[str, Any] | None) -> None:
        name = str(organization)
        self.failures.pop(name, None)
        if failure is not None:
            self.failures[name] = failure
        self._health[name] = failure

    def set_organizations(self, organizations: Iterable[Organization]) -> bool:
        """Set the organizations on the board, and forget the calls of others. Returns True if the list is new."""
        names = [str(organization) for organization in organizations]
        if names == self.organizations:
            return False
        self.organizations = names
        kept = set(names)
        self.rows = {key: shown for key, shown in self.rows.items() if shown["organization"] in kept}
        self.failures = {name: failure for name, failure in self.failures.items() if name in kept}
        return True

    def take_update(self) -> dict[str, Any] | None:
        """Return the changes since the last call as the data of an ``update`` message; None without a change."""
        if not (self._changed or self._ended or self._health):
            return None
        update = {"calls": list(self._changed.values()), "ended": list(self._ended), "health": self._health}
        self._changed, self._ended, self._health = {}, {}, {}
        return update

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state of the board as the data of a ``snapshot`` message."""
        return {
            "title": self.settings.title,
            "fields": [visible(name) for name in self.settings.fields],
            "organizations": self.organizations,
            "failures": self.failures,
            "calls": list(self.rows.values()),
            "stopped": self.stopped,
        }

    def status(self, status: FeedStatus, now: float, requests_per_second: float) -> dict[str, Any]:
        """Return the server's time and the feed's health, as the data of a ``status`` message.

        ``next`` is the number of seconds to the next status: a browser takes a longer silence for a failure.
        """
        return {
            "at": round(now, 3),
            "next": self.settings.status_seconds,
            "ages": [round(age) for age in status.staleness.values()],
            "interval": round(status.interval, 1),
            "requests": round(requests_per_second, 1),
            "rate": None if status.rate is None else round(status.rate, 1),
        }


def _describe(error: Exception) -> dict[str, str]:
    """Name an error and its reason. An error from outside the package may hold secrets, so only its type is shown."""
    reason = error.message if isinstance(error, CallsInProgressError) else ""
    return {"error": type(error).__name__, "reason": visible(reason)}
