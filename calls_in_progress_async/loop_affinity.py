"""LoopAffinity: binds a client to one process and event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from .errors import WrongLoopError

_forks = 0
"""Number of forks since the package was imported; cheaper to read than a process id."""


def _count_fork() -> None:
    global _forks  # noqa: PLW0603
    _forks += 1


getattr(os, "register_at_fork", dict)(after_in_child=_count_fork)  # Windows has no fork and no such function


class LoopAffinity:
    """Binds an object to the process and event loop of its first use, and to the next loop after that one's end.

    Args:
        may_move: Returns True if nothing is running. Only then may another loop follow a closed one.
    """

    def __init__(self, may_move: Callable[[], bool]) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = _forks
        self._may_move = may_move

    def check(self) -> bool:
        """Bind to the running loop, or check that it is the bound one.

        Returns:
            True if the bound loop is closed, and the running one has taken its place.

        Raises:
            WrongLoopError: The object is in use in another loop, or was used before this process was forked.
        """
        if self._forks != _forks and self._loop is not None:
            raise WrongLoopError("The client was used before this process was forked; make one in each process.")
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return False
        moved = self._loop is not None
        if self._loop is not None and not (self._loop.is_closed() and self._may_move()):
            raise WrongLoopError("The client belongs to another event loop; make one in each loop (and thread).")
        self._loop, self._forks = loop, _forks
        return moved

    def is_current(self) -> bool:
        """Return True if the running loop is the bound one, or none is bound. Elsewhere there is nothing to close.

        Raises:
            WrongLoopError: The bound loop is running, in another thread.
        """
        if self._loop is not None and self._forks != _forks:
            return False
        current = self._loop in (None, asyncio.get_running_loop())
        if not current and self._loop is not None and self._loop.is_running():
            raise WrongLoopError("The client is in use in another event loop; close it there.")
        return current
