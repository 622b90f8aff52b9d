"""Decide from the traffic if a 429 is about one organization or about the whole token. The server does not say."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from math import inf

from attrs import define

_LIKELY = 0.02
"""The chance at or below which an organization with no response but 429s is limited alone: 1 in 50."""
_LIKELY_IF_RESPONDED = 0.001
"""The chance for an organization with other responses between its 429s: 1 in 1,000."""
_LEAST_FACTOR = 0.05
"""The most that one 429 can tell: at least two rounds of 429s are needed."""
_LEAST_CHANCE = 1e-4
"""The lowest chance, so that the suspicion fades within a few 429s of others."""
_FADING = 3.0
"""The factor by which a 429 of another organization raises the chance."""
_MOST_FADINGS = 9
"""Enough of them to raise the lowest chance to 1."""
_LONGEST_STREAK = 2
"""Rounds of 429s without another response in between after which an organization says nothing of others. Several
rejected organizations would otherwise clear each other for good."""
_FADING_IF_ANSWERED = 1.03
"""The factor by which each other response raises the chance: without 429s it takes at most 180 to clear the
organization."""
_WINDOW = 1000
"""Responses to remember for an organization's share of the traffic."""


class Verdict(Enum):
    """The meaning of one 429."""

    SHARED = "the whole token is limited"
    NEWLY_ALONE = "the organization is limited alone, and was not known to be"
    ALONE = "the organization is limited alone, as before"


@define(eq=False, repr=False)
class _Suspect:
    """An organization with 429s."""

    fadings: int
    """The number of fadings so far, of all organizations, when the chance was computed."""
    chance: float = 1.0
    """The chance of these 429s if the limit were the token's."""
    counted_at: float = -inf
    """The loop's time in seconds of the last counted 429. A 429 to an earlier request is of the same round."""
    responded: bool = False
    """True after another response since the last counted 429."""
    streak: int = 0
    """The last rounds of 429s without another response in between."""
    limited_alone: bool = False
    """The verdict."""
    seen: tuple[int, int, int] = (0, 0, 0)
    """The window, and the responses of the organization and of all in it, at the last counted 429."""

    def reject(self, share: float, now: float) -> None:
        """Count a round of 429s."""
        self.chance = max(_LEAST_CHANCE, self.chance * max(share, _LEAST_FACTOR))
        self.limited_alone = self.chance <= (_LIKELY_IF_RESPONDED if self.responded else _LIKELY)
        self.streak = 1 if self.responded else self.streak + 1
        self.counted_at, self.responded = now, False

    def fade(self, factor: float, fadings: int) -> None:
        """Raise the chance for a response, and for the 429s of others since."""
        others = _FADING ** min(fadings - self.fadings, _MOST_FADINGS)
        self.chance, self.fadings = min(1.0, self.chance * factor * others), fadings
        self.limited_alone = self.limited_alone and self.chance <= _LIKELY


class ThrottleAttribution:
    """Tell the 429s of one organization from the 429s of the whole token.

    A limit of the token hits organizations in proportion to their traffic. So each round of 429s of an organization
    multiplies its *chance* by its share of the responses since its last round: this is how likely the limit of the
    token would have hit the same organization again. At 1 in 50 (1 in 1,000 if it had other responses in between) the
    organization counts as limited alone, and its 429s say nothing of the token. With 20 equally busy organizations
    two or three rounds are enough; an organization with nearly all of the traffic is never separated from its token.

    A 429 of any other organization triples the chance, unless the other one is limited alone too or had nothing but
    429s for more than two rounds, and each other response of the organization raises it by 3 %. So a wrong verdict is
    withdrawn. While in doubt, a 429 is about the token.

    Args:
        most_suspects: Organizations to suspect at once; beyond this the oldest suspicion is dropped.
    """

    __slots__ = ("_fadings", "_most_suspects", "_responses", "_suspects", "_total", "_window")

    def __init__(self, most_suspects: int) -> None:
        self._most_suspects = most_suspects
        self._suspects: dict[Hashable, _Suspect] = {}
        self._fadings = 0
        self._window = 0
        self._responses: dict[Hashable, int] = {}  # in the window
        self._total = 0

    def on_answered(self, organization: Hashable) -> None:
        """Count a response other than a 429."""
        if self._total >= _WINDOW:
            self._responses.clear()
            self._total, self._window = 0, self._window + 1
        self._total += 1
        self._responses[organization] = self._responses.get(organization, 0) + 1
        if self._suspects and (suspect := self._suspects.get(organization)) is not None:
            suspect.responded = True
            suspect.fade(_FADING_IF_ANSWERED, self._fadings)
            if suspect.chance >= 1.0:
                del self._suspects[organization]

    def on_throttled(self, organization: Hashable, sent_at: float, now: float) -> Verdict:
        """Count a 429.

        Args:
            organization: The organization of the request.
            sent_at: The loop's time in seconds when the request was sent.
            now: The loop's time in seconds.
        """
        suspect = self._suspects.get(organization) or self._add(organization)
        suspect.fade(1.0, self._fadings)
        known = suspect.limited_alone
        if sent_at > suspect.counted_at:
            suspect.reject(self._share_since(suspect, organization), now)
            if suspect.streak <= _LONGEST_STREAK and not suspect.limited_alone:
                self._fadings += 1
                suspect.fadings += 1  # its own 429 speaks for the others only
        if not suspect.limited_alone:
            return Verdict.SHARED
        return Verdict.ALONE if known else Verdict.NEWLY_ALONE

    def _share_since(self, suspect: _Suspect, organization: Hashable) -> float:
        """Return an organization's share of the responses since its last round of 429s, this one included."""
        window, own, total = suspect.seen
        if window != self._window:
            own = total = 0
        suspect.seen = self._window, self._responses.get(organization, 0), self._total
        return (suspect.seen[1] - own + 1) / (suspect.seen[2] - total + 1)

    def _add(self, organization: Hashable) -> _Suspect:
        if len(self._suspects) >= self._most_suspects:
            del self._suspects[next(iter(self._suspects))]
        suspect = self._suspects[organization] = _Suspect(self._fadings)
        return suspect
