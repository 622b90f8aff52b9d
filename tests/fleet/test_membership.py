"""The members of a fleet, and the shares of each."""

from __future__ import annotations

from collections import Counter

import pytest

from calls_in_progress_async.fleet.membership import Membership, assign


@pytest.mark.parametrize("members", [1, 2, 3, 7, 64, 100])
def test_shares_differ_by_one_shard_at_most(members: int) -> None:
    """Every shard has an owner, and nobody has more than one shard above another."""
    owners = assign([f"w{number}" for number in range(members)], 64)
    held = Counter(owners.values())
    assert len(owners) == 64
    assert max(held.values()) - min(held.values() if members <= 64 else [0]) <= 1


def test_everybody_computes_the_same_owners() -> None:
    """The order of the members does not matter, and nobody owns anything without members."""
    assert assign(["a", "b", "c"], 16) == assign(["c", "a", "b"], 16)
    assert assign([], 16) == {}


def test_a_death_moves_the_shards_of_the_dead_alone() -> None:
    """Most shards of the living stay where they are."""
    before, after = assign(["a", "b", "c", "d"], 64), assign(["a", "b", "c"], 64)
    moved = sum(after[shard] != owner for shard, owner in before.items() if owner != "d")
    assert moved <= 16


def test_nothing_is_owned_before_the_own_beat_came_back() -> None:
    """A worker that hears nobody knows nothing."""
    members = Membership("a", 8, 6.0)
    assert members.is_beat_due(0.0)
    assert members.own(10.0) is None
    assert not members.is_fresh(10.0)


def joined(now: float = 1.0) -> Membership:
    members = Membership("a", 8, 6.0)
    members.is_beat_due(0.0)
    assert not members.hear("a", now, now)
    assert members.hear("b", now, now)
    return members


def test_the_others_have_half_a_second_to_greet() -> None:
    """A new worker waits for the others before it takes anything."""
    members = Membership("a", 8, 6.0)
    members.is_beat_due(0.0)
    members.hear("a", 0.1, 0.1)
    assert members.own(0.4) is None
    assert members.own(0.5) == frozenset(range(8))


def test_a_silent_worker_is_replaced_within_its_lease() -> None:
    """The lease counts from the last beat, and its last twentieth is for taking over."""
    members = joined()
    assert len(members.own(1.0) or ()) == 4
    for now in (3.0, 5.0, 6.6):
        members.hear("a", now, now)
    assert len(members.own(6.69) or ()) == 4
    assert members.own(6.71) == frozenset(range(8))


def test_a_leaving_worker_is_replaced_at_once() -> None:
    """A goodbye is no beat."""
    members = joined()
    assert not members.hear("b", 1.1, 1.1, leaving=True)
    assert members.own(1.1) == frozenset(range(8))


def test_nobody_is_declared_dead_while_the_own_beats_do_not_come_back() -> None:
    """A worker that is cut off changes nothing, and gives the others time when it hears itself again."""
    members = joined()
    assert members.own(4.1) is None
    assert members.is_fresh(6.69)
    assert not members.is_fresh(6.71)
    members.hear("a", 20.0, 20.0)
    assert members.members == ["a", "b"]
    assert len(members.own(20.0) or ()) == 4


def test_a_beat_delivered_late_is_not_fresh() -> None:
    """Freshness counts from the sending of a beat."""
    members = joined()
    members.hear("a", 1.5, 30.0)
    assert not members.is_fresh(30.0)


def test_after_a_freeze_the_others_are_heard_anew() -> None:
    """A long time between two looks at the clock means a freeze: a beat is due, and nothing is owned for a moment."""
    members = joined()
    assert members.is_beat_due(20.0)
    members.hear("a", 20.0, 20.0)
    assert members.own(20.1) is None
    assert members.own(20.3) == frozenset(range(8))


def test_beats_are_a_third_of_a_lease_apart() -> None:
    """Two beats may be lost before a worker counts as dead."""
    members = Membership("a", 8, 6.0)
    due = [members.is_beat_due(now) for now in (0.0, 1.0, 1.9, 2.0, 3.9, 4.0)]
    assert due == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
