"""Where a client may be used: one process, one event loop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from calls_in_progress_async import WrongLoopError, loop_affinity
from calls_in_progress_async.loop_affinity import LoopAffinity


async def enter(here: LoopAffinity) -> bool:
    here.enter()
    return here.leave()


def test_the_first_loop_in_which_it_is_entered_is_its_own() -> None:
    """As often as one likes; before, it can be left anywhere."""

    async def main() -> None:
        here = LoopAffinity()
        assert here.leave()
        assert [await enter(here) for _ in range(3)] == [True] * 3

    asyncio.run(main())


def test_another_loop_is_refused() -> None:
    """Though it is in the same thread, and the first one is closed; the first one stays the one."""

    async def refused() -> bool:
        with pytest.raises(WrongLoopError, match="another event loop"):
            here.enter()
        return here.leave()

    here = LoopAffinity()
    with asyncio.Runner() as runner:
        assert runner.run(enter(here))
        with pytest.raises(RuntimeError):
            here.enter()  # there is no loop here
        with asyncio.Runner() as other:
            assert not other.run(refused())
        assert runner.run(enter(here))
    assert not asyncio.run(refused())


def test_what_another_thread_is_using_cannot_be_left_here() -> None:
    """Its event loop runs: what is closed from here would go on there."""

    async def main() -> None:
        here = LoopAffinity()
        here.enter()

        async def leave() -> None:
            with pytest.raises(WrongLoopError, match="close it there"):
                here.leave()

        await asyncio.to_thread(asyncio.run, leave())
        assert here.leave()

    asyncio.run(main())


def test_a_fork_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it was entered before or not, and in the same loop; what is made after the fork is not."""

    async def main() -> None:
        new, used = LoopAffinity(), LoopAffinity()
        assert await enter(used)
        monkeypatch.setattr(loop_affinity, "_forks", loop_affinity._forks)
        loop_affinity._count_fork()
        for each in (new, used):
            with pytest.raises(WrongLoopError, match="before this process was forked"):
                each.enter()
            assert not each.leave()
        assert await enter(LoopAffinity())

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_is_noticed_in_the_child_only() -> None:
    """And in the child's child."""
    program = """
import os
from calls_in_progress_async import loop_affinity
for count in range(3):
    assert loop_affinity._forks == count
    if child := os.fork():
        assert loop_affinity._forks == count
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os._exit(7)
"""
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False).returncode == 7
