"""The share of the limits that this process uses, because other processes use the rest."""

from __future__ import annotations

import sys
from collections import OrderedDict

from .token_account import UNLIMITED

_SLOWEST = sys.float_info.min
"""Requests per second, the smallest share of a rate."""


class Share:
    """A share of every rate and burst: for all tokens, or for one token.

    Args:
        most: Tokens to remember with a share of their own, the last set.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_all = 1.0
        self._of_token: OrderedDict[str, float] = OrderedDict()

    def set(self, fraction: float, token: str | None) -> None:
        """Set the share of one token; with None, of every token without its own share."""
        if token is None:
            self._of_all = fraction
            return
        self._of_token[token] = fraction
        self._of_token.move_to_end(token)
        if len(self._of_token) > self._most:
            self._of_token.popitem(last=False)

    def of(self, token: str) -> float:
        """Return the share of a token."""
        return self._of_token.get(token, self._of_all)

    def scale(self, token: str, rate: float, burst: float) -> tuple[float, float]:
        """Return the share of a rate and a burst; no limit stays no limit."""
        if rate >= UNLIMITED:
            return rate, burst
        share = self.of(token)
        return max(rate * share, _SLOWEST), max(1.0, burst * share)
