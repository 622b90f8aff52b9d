"""What is known of one organization's calls, and what a new answer changes in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from attrs import define, field

from ..records.structuring import parse_json
from .known import Known, Listed, same
from .listing import Listing

_DOUBTS = 3
"""Changed entries of an answer, one after the other, that must really have changed before others are believed to have.
A server of which some machines spell the same JSON differently respells whole answers, not single entries."""


class Difference(NamedTuple):
    """A call that started (no ``before``), changed, or ended (no ``after``)."""

    identity: str
    before: Known | None
    after: Known | None


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
        ended, self.absences = _missing(before, now, self.absences or {}, absent_polls_to_end)
        self.calls, self.listing = now, listing
        changed, started = _compare(before, now)
        return [*ended, *changed, *started]


def _calls_of(entries: Iterable[Listed], known: Mapping[str, Known]) -> dict[str, Known]:
    """Name the calls of a list. Of several with the same id, the one that is known already stands, else the first."""
    calls: dict[str, Known] = {}
    for entry in entries:
        identity = entry.identity
        if identity is not None and (identity not in calls or known.get(identity) is entry):
            calls[identity] = entry
    return calls


def _missing(
    before: Mapping[str, Known], now: dict[str, Known], absences: Mapping[str, int], limit: int
) -> tuple[list[Difference], dict[str, int] | None]:
    """Sort the calls that are no longer listed into those that have ended and those that stay for now."""
    ended, missing = [], {}
    for identity, call in before.items():
        if identity in now:
            continue
        count = absences.get(identity, 0) + 1
        if count >= limit:
            ended.append(Difference(identity, call, None))
        else:
            missing[identity] = count
    now.update((identity, before[identity]) for identity in missing)
    return ended, missing or None


def _compare(before: Mapping[str, Known], now: Mapping[str, Known]) -> tuple[list[Difference], list[Difference]]:
    """List the calls that have changed and, oldest first, those that have started."""
    changed, started = [], []
    doubts = _DOUBTS
    for identity, call in now.items():
        old = before.get(identity)
        if old is call:
            continue
        if old is None:
            started.append(Difference(identity, None, call))
        elif not same(old, call):
            if doubts and _respelled(old, call):
                doubts = _DOUBTS
                continue
            doubts = max(0, doubts - 1)
            changed.append(Difference(identity, old, call))
    return changed, started[::-1]


def _respelled(old: Known, new: Known) -> bool:
    """Whether two pieces of JSON say the same in different bytes."""
    return old.json is not None and new.json is not None and bool(parse_json(old.json) == parse_json(new.json))
