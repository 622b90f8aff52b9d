"""The lines below the live table of `watch`: failures, and how well the watch keeps up."""

from __future__ import annotations

from collections import deque

from rich.text import Text

from .. import clock
from ..watch.watch import Watch
from .escaping import printable
from .output import count
from .watch_tally import Tally

_FAILURES_SHOWN = 2
_RATE_OVER = 20
"""Pictures over which the rate of requests is averaged."""


class WatchFooter:
    """Makes the lines of the footer for each frame."""

    def __init__(self, watch: Watch, tally: Tally) -> None:
        self._watch = watch
        self._tally = tally
        self._requests: deque[tuple[float, int]] = deque([(clock.now(), 0)], maxlen=_RATE_OVER)

    def __call__(self) -> list[Text]:
        """Return the lines."""
        return [*self._failures(), *self._statistics()]

    def _failures(self) -> list[Text]:
        lines = [
            one_line(f"{organization} fails: {error}", "red")
            for organization, error in list(self._tally.failing.items())[-_FAILURES_SHOWN:]
        ]
        hidden = len(self._tally.failing) - len(lines)
        return [*lines, *([one_line(f"and {count(hidden, 'more failing organization')}", "red")] if hidden else [])]

    def _statistics(self) -> list[Text]:
        now, stats = clock.now(), self._watch.stats
        since, before = self._requests[0]
        rate = (stats.requests - before) / max(now - since, 1e-3)
        self._requests.append((now, stats.requests))
        interval = f"every {stats.interval:g} s (in fact {stats.effective_interval:.1f} s)"
        age = f"data {stats.staleness:.1f} s old, at most {stats.max_staleness:.1f} s"
        return [
            one_line(f"{interval}, {rate:.1f} requests/s, {age}", "bold"),
            one_line(f"Ctrl-C stops. {self._tally.summary(stats)}", "bold"),
        ]


def one_line(text: str, style: str = "") -> Text:
    """Make a line of a frame: control characters escaped, and cut at the edge of the terminal."""
    return Text(printable(text), style, no_wrap=True, overflow="ellipsis")
