"""What is known of one organization's calls, and what a new answer changes in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, cast

from attrs import define, field

from ..records.structuring import parse_json
from .known import Known, Listed, alike, same
from .listing import Listing

_DOUBTS = 3
"""Calls that must really have changed, one after the other, before others are believed to have, where no call of an
answer has the same bytes as before: a server of which some machines spell JSON otherwise respells whole answers."""

Difference: TypeAlias = tuple[str, Known | None, Known | None]
"""A call's identity, and the call before and after: it started (no before), changed, or ended (no after)."""


@define(eq=False)
class Picture:
    """The calls in progress of one organization, as far as answers have told."""

    calls: dict[str, Known] = field(factory=dict)
    listing: Listing | None = None
    """The last good answer."""
    absences: dict[str, int] | None = None
    """How many good answers in a row have not listed a call that is not taken for ended yet."""

    def update(self, listing: Listing, absent_polls_to_end: int) -> Sequence[Difference]:
        """Take in a good answer.

        Args:
            listing: The answer.
            absent_polls_to_end: After how many answers that do not list it a call has ended.

        Returns:
            What has ended, changed and started, in this order; starts oldest first.
        """
        if listing is self.listing and self.absences is None:
            return ()
        before, now = self.calls, _calls_of(listing.entries, self.calls)
        changed, started = _compare(before, now)
        ended, self.absences = _missing(before, now, self.absences or {}, absent_polls_to_end)
        self.calls, self.listing = now, listing
        return [*ended, *changed, *started]


def _calls_of(entries: Sequence[Listed], known: Mapping[str, Known]) -> dict[str, Known]:
    """Name the calls of a list. Of several with the same id, the one that is known already stands, else the first."""
    calls: dict[str | None, Known] = {entry.identity: entry for entry in entries}
    if len(calls) < len(entries) or None in calls:
        calls.clear()
        for entry in entries:
            before = known.get(entry.identity or "")
            if entry.identity not in calls or (before is not None and same(before, entry)):
                calls[entry.identity] = entry
        calls.pop(None, None)
    return cast(dict[str, Known], calls)


def _missing(
    before: Mapping[str, Known], now: dict[str, Known], absences: Mapping[str, int], limit: int
) -> tuple[list[Difference], dict[str, int] | None]:
    """Sort the calls that are no longer listed into those that have ended and those that stay for now."""
    ended: list[Difference] = []
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


def _compare(before: Mapping[str, Known], now: Mapping[str, Known]) -> tuple[list[Difference], list[Difference]]:
    """List the calls that have changed and, oldest first, those that have started."""
    changed: list[Difference] = []
    started: list[Difference] = []
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


def _really_changed(changed: Iterable[Difference]) -> list[Difference]:
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


def _reordered(old: Known | None, new: Known | None) -> bool:
    return old is not None and new is not None and alike(old, new)


def _respelled(old: Known | None, new: Known | None) -> bool:
    if old is None or new is None or old.json is None or new.json is None:
        return False
    return bool(parse_json(old.json) == parse_json(new.json))
