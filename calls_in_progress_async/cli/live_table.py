"""A live table of the calls of a watch, for `watch` and `demo`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from .. import clock
from ..organization import Organization
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
from .call_table import Layout, Row, TableOptions, call_table
from .columns import View

_LINES_BESIDE_THE_ROWS = 4
"""The heading, "and more calls", a blank line, and the cursor's line."""
_HIGHLIGHTED = 3.0
"""Seconds for which a call with an event stands out."""
_RECENT_CALLS = 200
"""Calls that stand out at once, at most."""
_STYLES = {CallStarted: "green", CallChanged: "yellow", CallEnded: "red strike"}

Footer = Callable[[], Sequence[Text]]
"""Returns the lines below the table."""


@contextmanager
def live_table(console: Console, watch: Watch, footer: Footer, options: TableOptions) -> Iterator[LiveTable]:
    """Draw on a terminal; the last frame stays."""
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield LiveTable(live, watch, footer, options)


class LiveTable:
    """The calls in progress, with the latest events highlighted, above a footer."""

    def __init__(self, live: Live, watch: Watch, footer: Footer, options: TableOptions) -> None:
        self._live = live
        self._watch = watch
        self._footer = footer
        self._options = options
        self._recent: dict[tuple[Organization, str | None], tuple[float, Row]] = {}

    def show(self, event: CallEvent) -> None:
        """Highlight the call of an event in the next frames."""
        if isinstance(event, OrganizationFailed | OrganizationRecovered | OrganizationResumed):
            return
        row = Row(event.organization, event.call, _STYLES[type(event)])
        self._recent.pop(_key(row), None)
        self._recent[_key(row)] = clock.now(), row
        if len(self._recent) > _RECENT_CALLS:
            del self._recent[next(iter(self._recent))]

    def tick(self) -> None:
        """Draw the next frame."""
        now = clock.now()
        self._recent = {key: entry for key, entry in self._recent.items() if now - entry[0] < _HIGHLIGHTED}
        console, footer = self._live.console, self._footer()
        room = max(console.height - _LINES_BESIDE_THE_ROWS - len(footer), 1)
        rows = self.rows(room + 1)
        more = [Text("and more calls", "dim")] if len(rows) > room else []
        view = View(now=clock.utc_now(), masked=self._options.masked)
        layout = Layout(columns=self._options.columns, width=console.width, is_cut=True)
        table = call_table(rows[:room], view, layout)
        self._live.update(Group(table, *more, Text(), *footer), refresh=True)

    def rows(self, limit: int) -> list[Row]:
        """Return the calls in progress and those just ended; highlighted ones first if there are too many."""
        recent = {key: row for key, (_, row) in reversed(self._recent.items())}
        current: list[Row] = []
        for organization, calls in self._watch.calls.items():
            current += (recent.get((organization, call.transaction_id)) or Row(organization, call) for call in calls)
            if len(current) >= limit:
                break
        shown = set(map(_key, current))
        rows = [*current, *(row for key, row in recent.items() if key not in shown)]
        if len(rows) >= limit:
            rows = [*recent.values(), *(row for row in current if _key(row) not in recent)]
        return rows[:limit]


def _key(row: Row) -> tuple[Organization, str | None]:
    return row.organization, row.call.transaction_id
