"""The feed of a fleet: the board shows the findings of the fleet's workers, and polls nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from ..fleet import FleetView
from ..organization import Organization
from ..records import Call
from ..watch.events import CallEvent
from .feed import FeedStatus

_CHECK, _CHECKS = 0.1, 70
"""Seconds between two checks for a living worker, and number of checks: a worker sends a beat every 2 s by default."""


class FleetFeed:
    """The feed of a fleet. Enter it, then iterate over it; both can be done once.

    Needs ``pip install 'calls-in-progress-async[fleet]'``::

        app = board_application(lambda: FleetFeed("nats://127.0.0.1:4222", name="prod"))

    Args:
        servers: As for `calls_in_progress_async.fleet.Fleet`.
        name: The name of the fleet.
        organizations: The organizations on the board; None for all of the fleet.
        connection: Further arguments of ``nats.connect``.

    Raises:
        InvalidRequestError: An argument is out of its range.
    """

    def __init__(
        self,
        servers: str | Iterable[str],
        *,
        name: str,
        organizations: Iterable[Organization] | None = None,
        connection: Mapping[str, Any] | None = None,
    ) -> None:
        self._view = FleetView(servers, name=name, organizations=organizations, connection=connection)

    async def __aenter__(self) -> Self:
        """Read the state of the fleet, and wait some seconds for a beat of a worker: the beats tell the staleness.

        Raises:
            FleetError: There is no such fleet, or the server rejects the connection.
        """
        await self._view.__aenter__()
        try:
            for _ in range(_CHECKS):
                if self._view.status.workers:
                    break
                await asyncio.sleep(_CHECK)
        except BaseException:
            await self._view.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._view.__aexit__(kind, error, traceback)

    @property
    def calls(self) -> Mapping[Organization, Sequence[Call]]:
        """The live calls of each organization, as the last message of its worker tells them."""
        return self._view.calls

    def status(self) -> FeedStatus:
        """Return staleness and rate, from the beats of the living workers."""
        status = self._view.status
        polls_per_second = status.polls_per_second
        measured = status.organizations / polls_per_second if polls_per_second else 0.0
        return FeedStatus(
            staleness=self._view.staleness,
            interval=max(status.interval or 0.0, measured),
            requests=status.polls,
            rate=status.rate,
        )

    def __aiter__(self) -> AsyncIterator[CallEvent]:
        return self._view
