"""The workers of a fleet, and the shards of each. Pure: the caller tells the time.

Nobody leads, and nothing is leased. Every worker computes the owners from the workers it hears, by the same rule. Two
owners of a shard for a while cost duplicate polls: the log refuses the events of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from hashlib import blake2b

from attrs import define, field

_FIRST_WAIT = 0.5
"""Seconds after the start until the others have greeted a new worker."""
_WAIT_AFTER_FREEZE = 0.3
"""Seconds after a freeze until the others have been heard again."""
_SILENCE = 0.95
"""Share of a lease after which a silent worker counts as dead: the rest is for the others to take over."""


def assign(members: Collection[str], shards: int) -> dict[int, str]:
    """Return the owner of each shard: rendezvous hashing, with shares that differ by one shard at most.

    Args:
        members: Ids of the workers, in any order.
        shards: Number of shards.
    """
    if not members:
        return {}
    least, extra = divmod(shards, len(members))
    held = dict.fromkeys(members, 0)
    owners: dict[int, str] = {}
    for shard in range(shards):
        with_room = [each for each, number in held.items() if number < least or (number == least and extra > 0)]
        owner = min((_weight(each, shard), each) for each in with_room)[1]
        extra -= held[owner] == least
        held[owner] += 1
        owners[shard] = owner
    return owners


def _weight(member: str, shard: int) -> bytes:
    return blake2b(f"{member}/{shard}".encode(), digest_size=8).digest()


@define
class ShardNews:
    """The last news of the shards of other workers."""

    _noted: dict[int, tuple[float, float]] = field(factory=dict, init=False)

    def note(self, shard: int, now: float, stale: float) -> None:
        """Take note of the age of the oldest last good response of a shard."""
        self._noted[shard] = now, now - stale

    def of(self, shard: int, now: float) -> tuple[float, float]:
        """Return the seconds since the last news of a shard, and since its oldest last good response."""
        noted, responded = self._noted.get(shard, (-math.inf, -math.inf))
        return now - noted, now - responded


@define
class Membership:
    """The workers heard of lately, as one worker knows them.

    Times are in seconds on a clock that goes on while the machine sleeps.
    """

    me: str
    """The id of this worker."""
    shards: int
    """Number of shards."""
    lease: float
    """Seconds until a dead worker has been replaced."""
    owners: dict[int, str] = field(factory=dict, init=False)
    """The owner of each shard, as computed last."""
    _sharing: frozenset[str] = field(default=frozenset(), init=False)  # the workers of the last assignment
    _heard: dict[str, float] = field(factory=dict, init=False)
    _echoed: float = field(default=-math.inf, init=False)
    _settled_at: float = field(default=math.inf, init=False)
    _ticked_at: float = field(default=-math.inf, init=False)
    _beat_at: float = field(default=-math.inf, init=False)

    @property
    def members(self) -> list[str]:
        """Ids of the workers heard of lately, sorted."""
        return sorted(self._heard)

    def is_fresh(self, now: float) -> bool:
        """Return True if a beat of this worker has come back lately; else others may have taken over its shards."""
        return now - self._echoed < _SILENCE * self.lease

    def hear(self, member: str, sent: float, now: float, *, leaving: bool = False) -> bool:
        """Take a beat, and return True if its worker is new here and should be greeted by a beat."""
        if member == self.me:
            if now - self._echoed > self.lease / 2:  # nobody could be heard for a while: all may be well
                self._heard = dict.fromkeys(self._heard, now)
            self._echoed = max(self._echoed, sent)
        if leaving:
            self._heard.pop(member, None)
            return False
        is_new = member not in self._heard and member != self.me
        self._heard[member] = now
        return is_new

    def is_beat_due(self, now: float) -> bool:
        """Take note of the time, and return True if this worker should send a beat now.

        A long time since the last call means a freeze of this process or machine: the others are heard anew.
        """
        if now - self._ticked_at > self.lease:
            first = self._ticked_at == -math.inf
            self._heard.clear()
            self._settled_at = now + (_FIRST_WAIT if first else _WAIT_AFTER_FREEZE)
            self._beat_at = -math.inf
        self._ticked_at = now
        if now - self._beat_at < self.lease / 3:
            return False
        self._beat_at = now
        return True

    def own(self, now: float) -> frozenset[int] | None:
        """Return the shards of this worker; None while nothing can be said, and then nothing should change.

        Nobody is declared dead while the worker's own beats do not come back.
        """
        if now - self._echoed > self.lease / 2 or now < self._settled_at or self.me not in self._heard:
            return None
        latest = now - _SILENCE * self.lease
        self._heard = {each: at for each, at in self._heard.items() if each == self.me or at >= latest}
        if self._heard.keys() != self._sharing:
            self.owners, self._sharing = assign(self._heard, self.shards), frozenset(self._heard)
        return frozenset(shard for shard, owner in self.owners.items() if owner == self.me)
