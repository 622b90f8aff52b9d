"""The calls of one organization, and the difference a new listing makes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from attrs import define, field

from .call_state import CallState, ListedCall, equivalent, identical
from .listing import Listing
from .unidentified import keep_unidentified


class Delta(NamedTuple):
    """The state of one call before and after a listing."""

    identity: str
    before: CallState | None
    """The state before; None for a start."""
    after: CallState | None
    """The state after; None for an end."""


@define(eq=False, repr=False)
class CallSet:
    """The calls in progress of one organization, as the good responses tell them."""

    missed_polls_before_end: int = 1
    """Number of good responses in a row without a call before the call counts as ended."""
    calls: Mapping[str, CallState] = field(factory=dict)
    """Calls by identity. Replaced by `apply`, never changed in place."""
    listing: Listing | None = None
    """The last good response."""
    _missed: Mapping[str, int] | None = None
    """Number of good responses in a row without the call, for each call missing but not ended yet."""
    _doubtful: frozenset[str] = frozenset()
    """Unlisted calls that may be among the entries with an unreadable id."""

    def apply(self, listing: Listing) -> list[Delta]:
        """Take the next good response, and return its deltas: ends, then changes, then starts.

        Starts come oldest first.
        """
        if listing is self.listing and self._missed is None:
            return []
        before, after = self.calls, _calls_by_identity(listing.entries, self.calls)
        ended: list[Delta] = []
        missed: dict[str, int] = {}
        doubtful: frozenset[str] = frozenset()
        if before.keys() - after.keys():
            doubtful = keep_unidentified(before, after, self.listing, listing, self._doubtful)
            ended, missed = self._count_missing(before, after, doubtful)
        changed, started = _compare(before, after)
        if missed or doubtful:
            after.update((name, call) for name, call in before.items() if name in missed or name in doubtful)
        self.calls, self.listing, self._missed, self._doubtful = after, listing, missed or None, doubtful
        return [*ended, *changed, *started]

    def _count_missing(
        self, before: Mapping[str, CallState], after: Mapping[str, CallState], doubtful: frozenset[str]
    ) -> tuple[list[Delta], dict[str, int]]:
        """Split unlisted calls into ended calls and waiting calls with their counts."""
        ended: list[Delta] = []
        missed = {}
        for identity, call in before.items():
            if identity in after:
                continue
            count = (self._missed or {}).get(identity, 0) + (identity not in doubtful)
            if count >= self.missed_polls_before_end:
                ended.append(Delta(identity, call, None))
            elif count:
                missed[identity] = count
        return ended, missed


def _calls_by_identity(entries: Sequence[ListedCall], known: Mapping[str, CallState]) -> dict[str, CallState]:
    """Index the calls of a list. Among entries with the same id the known state wins, else the first entry."""
    calls: dict[str | None, CallState] = {entry.identity: entry for entry in entries}
    if len(calls) < len(entries) or None in calls:
        calls.clear()
        for entry in entries:
            before = known.get(entry.identity or "")
            if entry.identity not in calls or (before is not None and identical(before, entry)):
                calls[entry.identity] = entry
        calls.pop(None, None)
    return cast(dict[str, CallState], calls)


def _compare(before: Mapping[str, CallState], after: Mapping[str, CallState]) -> tuple[list[Delta], list[Delta]]:
    """List the changed calls and, oldest first, the started calls."""
    changed: list[Delta] = []
    started: list[Delta] = []
    for identity, call in after.items():
        old = before.get(identity)
        if old is None:
            started.append(Delta(identity, None, call))
        elif old is not call and not equivalent(old, call):
            changed.append(Delta(identity, old, call))
    return changed, started[::-1]
