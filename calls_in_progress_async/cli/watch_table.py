"""The live table of a watch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

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
from .call_table import Row, call_table
from .escaping import printable
from .output import count
from .watch_tally import Tally

_LINES_BESIDE_THE_ROWS = 9
_HIGHLIGHTED = 3.0  # seconds
_RECENT_CALLS = 200
_FAILURES_SHOWN = 2
_RATE_OVER = 20  # pictures
_STYLES = {CallStarted: "green", CallChanged: "yellow", CallEnded: "red strike"}


@contextmanager
def live_table(console: Console, watch: Watch, tally: Tally, *, masked: bool) -> Iterator[LiveTable]:
    """Draw on a terminal; the last picture stays."""
    with Live(console=console, auto_refresh=False) as live:
        yield LiveTable(live, watch, tally, masked=masked)


class LiveTable:
    """Calls, what happened to them of late, what fails, and how the watch keeps up."""

    def __init__(self, live: Live, watch: Watch, tally: Tally, *, masked: bool) -> None:
        self._live = live
        self._watch = watch
        self._tally = tally
        self._masked = masked
        self._recent: dict[tuple[Organization, str | None], tuple[float, Row]] = {}
        self._requests: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=_RATE_OVER)

    def tell(self, event: CallEvent) -> None:
        """Take note of an event for the next picture."""
        if not isinstance(event, OrganizationFailed | OrganizationRecovered | OrganizationResumed):
            self._highlight(Row(event.organization, event.call, _STYLES[type(event)]))

    def _highlight(self, row: Row) -> None:
        self._recent.pop(_key(row), None)
        self._recent[_key(row)] = time.monotonic(), row
        if len(self._recent) > _RECENT_CALLS:
            del self._recent[next(iter(self._recent))]

    def tick(self) -> None:
        """Draw the next picture."""
        now = time.monotonic()
        self._recent = {key: told for key, told in self._recent.items() if now - told[0] < _HIGHLIGHTED}
        console = self._live.console
        failures = self._failures()
        room = max(console.height - _LINES_BESIDE_THE_ROWS - len(failures), 1)
        rows = self._rows(room + 1)
        more = [Text("and more calls", "dim")] if len(rows) > room else []
        table = call_table(rows[:room], width=console.width, masked=self._masked)
        self._live.update(Group(table, *more, Text(), *failures, *self._footer(now)), refresh=True)

    def _rows(self, limit: int) -> list[Row]:
        """The calls in progress and those that have just ended, those with news first where there are too many."""
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

    def _failures(self) -> list[Text]:
        lines = [
            Text(f"{organization} fails: {printable(str(error))}", "red", no_wrap=True, overflow="ellipsis")
            for organization, error in list(self._tally.failing.items())[-_FAILURES_SHOWN:]
        ]
        hidden = len(self._tally.failing) - len(lines)
        return [*lines, *([Text(f"and {count(hidden, 'more failing organization')}", "red")] if hidden else [])]

    def _footer(self, now: float) -> list[Text]:
        stats = self._watch.stats
        since, before = self._requests[0]
        rate = (stats.requests - before) / max(now - since, 1e-3)
        self._requests.append((now, stats.requests))
        kept = f"every {stats.interval:g} s (kept: {stats.effective_interval:.1f} s)"
        age = f"answers {stats.staleness:.1f} s old, at most {stats.max_staleness:.1f} s"
        return [
            Text(f"{kept}, {rate:.1f} requests/s, {age}", "bold"),
            Text(f"{self._tally.summary(stats)}. Ctrl-C stops.", "bold"),
        ]


def _key(row: Row) -> tuple[Organization, str | None]:
    return row.organization, row.call.transaction_id
