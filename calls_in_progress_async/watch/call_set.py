"""What is known of one organization's calls, and what a new answer changes in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, cast

from attrs import define, field

from ..records.codec import parse_json
from .call_state import CallState, ListedCall, alike, same
from .listing import Listing

_DOUBTS = 3
"""Calls that must really have changed, one after the other, before others are believed to have, where no call of an
answer has the same bytes as before: a server of which some machines spell JSON otherwise respells whole answers."""

Delta: TypeAlias = tuple[str, CallState | None, CallState | None]
"""A call's identity, and the call before and after: it started (no before), changed, or ended (no after)."""


@define(eq=False)
class CallSet:
    """The calls in progress of one organization, as far as answers have told."""

    calls: dict[str, CallState] = field(factory=dict)
    listing: Listing | None = None
    """The last good answer."""
    absences: dict[str, int] | None = None
    """How many good answers in a row have not listed a call that is not taken for ended yet."""

    def update(self, listing: Listing, missed_polls_before_end: int) -> Sequence[Delta]:
        """Take in a good answer.

        Args:
            listing: The answer.
            missed_polls_before_end: After how many answers that do not list it a call has ended.

        Returns:
            What has ended, changed and started, in this order; starts oldest first.
        """
        if listing is self.listing and self.absences is None:
            return ()
        before, now = self.calls, _calls_of(listing.entries, self.calls)
        changed, started = _compare(before, now)
        ended, self.absences = _missing(before, now, self.absences or {}, missed_polls_before_end)
        self.calls, self.listing = now, listing
        return [*ended, *changed, *started]


def _calls_of(entries: Sequence[ListedCall], known: Mapping[str, CallState]) -> dict[str, CallState]:
    """Name the calls of a list. Of several with the same id, the one that is known already stands, else the first."""
    calls: dict[str | None, CallState] = {entry.identity: entry for entry in entries}
    if len(calls) < len(entries) or None in calls:
        calls.clear()
        for entry in entries:
            before = known.get(entry.identity or "")
            if entry.identity not in calls or (before is not None and same(before, entry)):
                calls[entry.identity] = entry
        calls.pop(None, None)
    return cast(dict[str, CallState], calls)


def _missing(
    before: Mapping[str, CallState], now: dict[str, CallState], absences: Mapping[str, int], limit: int
) -> tuple[list[Delta], dict[str, int] | None]:
    """Sort the calls that are no longer listed into those that have ended and those that stay for now."""
    ended: list[Delta] = []
    missing = {}
    for identity, call in before.items():
        if identity in now:
            continue
        count = absences.get(identity, 0) + 1
        if count >= limit:
            ended.append((identity, call, None))
        else:
            missing[identity] = count
    now.update((identity, before[identity]) for identity in missing)
    return ended, missing or None


def _compare(before: Mapping[str, CallState], now: Mapping[str, CallState]) -> tuple[list[Delta], list[Delta]]:
    """List the calls that have changed and, oldest first, those that have started."""
    changed: list[Delta] = []
    started: list[Delta] = []
    for identity, call in now.items():
        old = before.get(identity)
        if old is None:
            started.append((identity, None, call))
        elif old is not call and not (old.json == call.json if old.json else same(old, call)):
            changed.append((identity, old, call))
    if len(changed) + len(started) == len(now):
        changed = _really_changed(changed)
    else:
        changed = [each for each in changed if not _reordered(*each[1:])]
    return changed, started[::-1]


def _really_changed(changed: Iterable[Delta]) -> list[Delta]:
    """Leave out calls that say the same in different bytes."""
    doubts = _DOUBTS
    found = []
    for difference in changed:
        if doubts:
            if _respelled(*difference[1:]):
                doubts = _DOUBTS
                continue
            doubts -= 1
        found.append(difference)
    return found


def _reordered(old: CallState | None, new: CallState | None) -> bool:
    return old is not None and new is not None and alike(old, new)


def _respelled(old: CallState | None, new: CallState | None) -> bool:
    if old is None or new is None or old.json is None or new.json is None:
        return False
    return bool(parse_json(old.json) == parse_json(new.json))
