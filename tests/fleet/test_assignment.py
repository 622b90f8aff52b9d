"""The assignment of shards to workers, held against a slow and plain one."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from calls_in_progress_async.fleet.membership import assign


def plain_assignment(members: list[str], shards: int) -> dict[int, str]:
    """Give each shard to the first worker with room, in the order of the hashes."""
    least, extra = divmod(shards, len(members))
    held = dict.fromkeys(members, 0)
    owners = {}
    for shard in range(shards):
        ranked = sorted(members, key=lambda each: blake2b(f"{each}/{shard}".encode(), digest_size=8).digest())
        more_allowed = sum(number > least for number in held.values()) < extra
        owner = next(each for each in ranked if held[each] < least + more_allowed)
        held[owner] += 1
        owners[shard] = owner
    return owners


@pytest.mark.parametrize("members", [1, 2, 3, 5, 8, 9, 20])
@pytest.mark.parametrize("shards", [1, 8, 64])
def test_each_shard_goes_to_the_first_worker_with_room(members: int, shards: int) -> None:
    """A rolling upgrade needs the same owners from every version of the package."""
    names = [f"w{number}" for number in range(members)]
    assert assign(names, shards) == plain_assignment(names, shards)


def test_the_owners_of_eight_shards() -> None:
    """The owners are fixed by the names alone, in every process and version."""
    assert "".join(assign(["a", "b", "c"], 8).values()) == "cbbabaac"
