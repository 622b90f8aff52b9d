"""The end of a worker's polls: their findings reach the log before the worker leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from .. import clock
from ..organization import Organization
from ..watch.poller import Poller
from .sink import CommittingSink
from .state import FleetState

logger: logging.Logger = logging.getLogger("calls_in_progress_async.fleet")

_LAST_RESPONSES = 2.0
"""Seconds for the requests already sent to get their responses."""
_LAST_COMMITS = 12.0
"""Seconds for the findings to reach the log: longer than the election of a new leader, which takes 4 to 9."""
_LOOK = 0.02
"""Seconds between two looks at the running polls."""


async def hand_over(
    poller: Poller[FleetState],
    sink: CommittingSink,
    organizations: Iterable[Organization],
    sent: Callable[[], int],
) -> None:
    """Stop polling, and wait until the findings of requests already sent are in the log.

    Requests that wait for the rate limit are not waited for: one by one they could take longer than there is time.

    Args:
        poller: Polls the organizations.
        sink: Writes the findings.
        organizations: All organizations of this worker.
        sent: Returns the number of requests without a response.
    """
    draining = asyncio.ensure_future(poller.drain(organizations))
    try:
        await _until(lambda: draining.done() or not sent(), _LAST_RESPONSES)
        await _until(lambda: not sink.committing, _LAST_COMMITS)
    finally:
        draining.cancel()
    if sink.committing:
        logger.warning(
            "the log did not respond for %g s: the last findings about %d organizations are lost, but for what the "
            "next worker still sees",
            _LAST_COMMITS,
            sink.committing,
        )


async def _until(condition: Callable[[], object], seconds: float) -> None:
    """Wait for a condition, but no longer than some seconds."""
    until = clock.now() + seconds
    await asyncio.sleep(_LOOK)  # requests that the rate limit has let pass are sent by then
    while not condition() and clock.now() < until:  # noqa: ASYNC110 - no event tells of the client's last response
        await asyncio.sleep(_LOOK)
