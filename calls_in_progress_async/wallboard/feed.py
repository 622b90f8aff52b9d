"""The seam between a source of calls and the board: a feed has the events, and the state behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from attrs import frozen

from ..client import CallsInProgressClient
from ..organization import Organization
from ..records import Call
from ..watch.events import CallEvent


@frozen(kw_only=True)
class FeedStatus:
    """The health of a feed at one moment."""

    staleness: Mapping[Organization, float]
    """Seconds since the last good response of each organization; its keys are the organizations on the board."""
    interval: float
    """Seconds between two responses of one organization, on average."""
    requests: int
    """Requests sent so far."""
    rate: float | None
    """Requests per second that the rate limit allows; None without a limit."""


class Feed(Protocol):
    """A source of calls for the board. The board copes with an event that `calls` already includes."""

    @property
    def calls(self) -> Mapping[Organization, Sequence[Call]]:
        """The live calls of each organization."""
        ...

    def status(self) -> FeedStatus:
        """Return the health of the feed now."""
        ...

    def __aiter__(self) -> AsyncIterator[CallEvent]:
        """Iterate over the events, in order."""
        ...


class WatchFeed:
    """The feed of a client's own watch. Enter it, then iterate over it; both can be done once.

    Args:
        client: The client that polls.
        organizations: The organizations on the board.
        interval: Seconds between two polls of an organization.
    """

    def __init__(self, client: CallsInProgressClient, organizations: Iterable[Organization], interval: float) -> None:
        self._client = client
        self._watch = client.watch(organizations, interval=interval)

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._watch.close()

    @property
    def calls(self) -> Mapping[Organization, Sequence[Call]]:
        """The live calls of each organization, as its last good response listed them."""
        return self._watch.calls

    def status(self) -> FeedStatus:
        """Return staleness and rate, from the watch's statistics and the client's rate limits."""
        stats = self._watch.stats
        buckets = self._client.rate_limits.snapshot().shared.values()
        return FeedStatus(
            staleness=stats.staleness_by_organization,
            interval=stats.effective_interval,
            requests=sum(bucket.granted for bucket in buckets),
            rate=_total(bucket.rate for bucket in buckets),
        )

    def __aiter__(self) -> AsyncIterator[CallEvent]:
        return self._watch


def _total(rates: Iterable[float | None]) -> float | None:
    known = list(rates)
    limits = [rate for rate in known if rate is not None]
    return sum(limits) if known and len(limits) == len(known) else None
