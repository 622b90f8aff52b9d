"""Where something that holds connections may be used: in one process and one event loop."""

from __future__ import annotations

import asyncio
import os

from .errors import WrongLoopError

_forks = 0
"""How many forks this process is away from the one that imported the package; cheaper to look at than its id."""


def _count_fork() -> None:
    global _forks  # noqa: PLW0603
    _forks += 1


getattr(os, "register_at_fork", dict)(after_in_child=_count_fork)  # Windows has none, and no fork


class LoopAffinity:
    """The process in which this was made, and the first event loop in which it was entered."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = _forks

    def enter(self) -> None:
        """Refuse to be in a forked child or in another event loop.

        Raises:
            WrongLoopError: It is one of these.
        """
        if self._forks != _forks:
            raise WrongLoopError("The client was made before this process was forked; make one in each process.")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise WrongLoopError("The client belongs to another event loop; make one in each loop (and thread).")

    def leave(self) -> bool:
        """Say whether this is the place, or none was entered: elsewhere there is nothing that could be closed.

        Raises:
            WrongLoopError: Its event loop runs, in another thread.
        """
        if self._forks != _forks:
            return False
        here = self._loop in (None, asyncio.get_running_loop())
        if not here and self._loop is not None and self._loop.is_running():
            raise WrongLoopError("The client is in use in another event loop; close it there.")
        return here
