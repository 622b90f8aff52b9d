"""A table with a size to keep to: idle entries are forgotten, busy entries never."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class IdleTable(OrderedDict[K, V]):
    """A dictionary with its next candidate for forgetting at the front.

    Args:
        size: Entries to keep; more are kept if more are busy.
        is_idle: Returns True if an entry may be forgotten.
    """

    def __init__(self, size: int, is_idle: Callable[[V], bool]) -> None:
        super().__init__()
        self._size = size
        self._is_idle = is_idle

    def add(self, key: K, value: V) -> V:
        """Add an entry and return it. Look at two others, so that the table shrinks again at a constant cost."""
        self[key] = value
        for _ in range(min(2, len(self) - self._size)):
            oldest, entry = next(iter(self.items()))
            if self._is_idle(entry):
                del self[oldest]
            else:
                self.move_to_end(oldest)
        return value
