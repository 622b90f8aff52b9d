"""A client works in one process and one event loop at a time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from calls_in_progress_async import WrongLoopError, loop_affinity
from calls_in_progress_async.loop_affinity import LoopAffinity


async def use(affinity: LoopAffinity) -> bool:
    affinity.check()
    return affinity.is_current()


def test_the_first_loop_is_the_bound_one() -> None:
    """Check as often as you like; before, any loop is current."""

    async def main() -> None:
        affinity = LoopAffinity(lambda: True)
        assert affinity.is_current()
        assert [await use(affinity) for _ in range(3)] == [True] * 3

    asyncio.run(main())


def test_another_loop_is_rejected_while_the_first_is_open() -> None:
    """A second loop is rejected even in the same thread, and the first loop stays bound."""

    async def rejected() -> bool:
        with pytest.raises(WrongLoopError, match="another event loop"):
            affinity.check()
        return affinity.is_current()

    affinity = LoopAffinity(lambda: True)
    with asyncio.Runner() as runner:
        assert runner.run(use(affinity))
        with pytest.raises(RuntimeError):
            affinity.check()  # there is no loop here
        with asyncio.Runner() as other:
            assert not other.run(rejected())
        assert runner.run(use(affinity))


@pytest.mark.parametrize("idle", [True, False])
def test_a_closed_loop_is_followed_by_the_next_if_nothing_is_running(idle: bool) -> None:
    """The first check in the next loop returns True, further ones False. Running calls stay with the first loop."""

    async def check() -> bool:
        return affinity.check()

    affinity = LoopAffinity(lambda: idle)
    assert asyncio.run(check()) is False
    if not idle:
        with pytest.raises(WrongLoopError, match="another event loop"):
            asyncio.run(check())
        return
    with asyncio.Runner() as runner:
        assert [runner.run(check()) for _ in range(2)] == [True, False]


def test_what_another_thread_is_using_cannot_be_left_here() -> None:
    """Closing from another loop is rejected while the bound one runs."""

    async def main() -> None:
        affinity = LoopAffinity(lambda: True)
        affinity.check()

        async def ask() -> None:
            with pytest.raises(WrongLoopError, match="close it there"):
                affinity.is_current()

        await asyncio.to_thread(asyncio.run, ask())
        assert affinity.is_current()

    asyncio.run(main())


def test_a_fork_after_the_first_use_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is rejected in the same loop and in another one; an unused object works in the child."""

    async def main() -> None:
        unused, used = LoopAffinity(lambda: True), LoopAffinity(lambda: True)
        assert await use(used)
        monkeypatch.setattr(loop_affinity, "_forks", loop_affinity._forks)
        loop_affinity._count_fork()
        with pytest.raises(WrongLoopError, match="before this process was forked"):
            used.check()
        assert not used.is_current()
        for affinity in (unused, LoopAffinity(lambda: True)):
            assert await use(affinity)
            assert await use(affinity)

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_is_noticed_in_the_child_only() -> None:
    """The child and the grandchild see the fork, the parent does not."""
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
