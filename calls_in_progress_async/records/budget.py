"""A bound for the slow reading of one body."""

from __future__ import annotations

from .codec import BoundsError


class Budget:
    """The steps of slow reading left for one body. A step takes about half a microsecond.

    Args:
        steps: Number of steps at most.
        path: The place in the body to name once the steps are used up.
    """

    def __init__(self, steps: int, path: str) -> None:
        self._left = steps
        self._path = path

    def spend(self, steps: int) -> None:
        """Take steps off the budget.

        Raises:
            BoundsError: The budget is used up.
        """
        self._left -= steps
        if self._left < 0:
            raise BoundsError(self._path, "has too many unreadable fields to read one by one")
