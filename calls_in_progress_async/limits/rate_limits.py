"""The public view of a client's limits."""

from __future__ import annotations

from typing import Any, Protocol

from .. import validation
from .snapshots import LimiterSnapshot


class LimiterState(Protocol):
    """The part of the limiter behind the view."""

    def snapshot(self) -> LimiterSnapshot:
        """Return the state at this moment."""
        ...

    def export_state(self) -> dict[str, Any]:
        """Return the learnt limits, ready for JSON."""
        ...

    def set_share(self, fraction: float, token: str | None) -> None:
        """Use this share of the limits from now on."""
        ...


class RateLimits:
    """The limits of a client: the current state, the learnt limits, and this process's share of them.

    Every worker of a server with four processes uses a quarter of what the settings allow::

        client.rate_limits.set_share(1 / 4)
    """

    __slots__ = ("_limiter",)

    def __init__(self, limiter: LimiterState) -> None:
        self._limiter = limiter

    def snapshot(self) -> LimiterSnapshot:
        """Return the state at this moment, for example for a dashboard."""
        return self._limiter.snapshot()

    def export_state(self) -> dict[str, Any]:
        """Return the learnt limits as JSON-ready values, for ``RateLimit.adaptive(state=...)`` at the next start.

        Limits from ``state`` are included for hosts and tokens without a request so far.
        """
        return self._limiter.export_state()

    def set_share(self, fraction: float, *, token: str | None = None) -> None:
        """Use a share of every configured rate and burst from now on, because other processes use the rest.

        The share applies to the limits of tokens and organizations and to the bounds of an adaptive rate. A change
        hands out no tokens: buckets keep their tokens as far as the new burst has room, and a bucket opened later
        begins with its share. A burst is never less than 1 request. Call it from the event loop's thread.

        Args:
            fraction: The share of this process, above 0 and at most 1.
            token: Set the share of this token only, regardless of the share of all others. By default set the share
                of every token without a share of its own. Shares are kept for ``RateLimit.max_buckets`` tokens, the
                last set.

        Raises:
            InvalidRequestError: ``fraction`` is no number above 0 and at most 1.
        """
        fraction = validation.plain_number(fraction)
        validation.check_number("fraction", fraction, "the limits", above=True)
        if fraction > 1:
            raise validation.unexpected("fraction", "a number above 0 and at most 1", fraction)
        self._limiter.set_share(fraction, None if token is None else validation.token(token))

    def __reduce__(self) -> Any:
        raise TypeError("RateLimits holds tokens and cannot be pickled; pickle the result of export_state().")
