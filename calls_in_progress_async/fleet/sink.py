"""The findings of polls, committed to the log before they count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define

from .. import clock
from ..watch.checkpoint import epoch
from ..watch.fetch import FetchCalls, FetchIfWanted
from ..watch.listing import Listing
from .errors import SupersededCommitError
from .log import Log, logger
from .message import LogEvent, split
from .state import FleetState

_LONG_GAP = 2.5
"""Number of intervals without a good response after which a resumption is told."""


@define
class CommitCounters:
    """Counts since the worker began."""

    commits: int = 0
    events: int = 0
    refused: int = 0
    """Number of commits refused, because another worker has written."""
    reloads: int = 0
    """Number of times a last message was read again."""
    bytes: int = 0


class CommittingSink:
    """A `PollSink` that writes to the log.

    Args:
        log: The log.
        by: The id of this worker.
        interval: Seconds between two polls of an organization.
        is_fresh: Returns False while other workers may have taken over.
        on_refused: Called with the state of an organization that should be polled again soon.
    """

    def __init__(
        self,
        log: Log,
        *,
        by: str,
        interval: float,
        is_fresh: Callable[[], bool],
        on_refused: Callable[[FleetState], None],
    ) -> None:
        self.counters: CommitCounters = CommitCounters()
        self.error: BaseException | None = None
        self.committing: int = 0
        """Number of organizations with findings on their way to the log."""
        self._log = log
        self._by = by
        self._interval = interval
        self._is_fresh = is_fresh
        self._on_refused = on_refused

    @property
    def paused(self) -> bool:
        """True while the log does not respond, or others may have taken over."""
        return not (self._log.responds and self._is_fresh())

    async def settle(self, state: FleetState) -> None:
        """Read the last message of a doubtful organization: before its poll, so that the poll is newer."""
        while state.is_doubtful:
            self.counters.reloads += 1
            state.is_doubtful = False
            state.learn(await self._log.last(state.subject), epoch())

    def settle_before(self, fetch: FetchIfWanted) -> FetchCalls[FleetState]:
        """Return a function that settles an organization, and then fetches its calls if it is still held.

        A poll after another worker's could see news that no message may tell any more.
        """

        async def settle_and_fetch(state: FleetState) -> Listing:
            await self.settle(state)
            return await fetch(state, lambda: state.is_held)

        def fetch_settled(state: FleetState) -> Awaitable[Listing]:
            return settle_and_fetch(state) if state.is_doubtful else fetch(state, lambda: state.is_held)

        return fetch_settled

    def on_listing(self, state: FleetState, listing: Listing, now: float) -> Awaitable[None] | None:
        """Write the events of a good response, however late: the log refuses what another worker has seen since."""
        events = self._gap_events(state, now - state.last_response_at)
        events += [state.event_of(delta) for delta in state.apply(listing, now)]
        if events or state.must_write or now - state.written_at > self._log.max_age / 2:
            return self._commit(state, events, now)
        return None

    async def on_failure(self, state: FleetState, error: Exception, now: float) -> None:
        """Write the beginning of an outage, unless this worker was frozen: then its own pause failed the request."""
        if not self._is_fresh():
            state.doubt(write=True)
        else:
            await self._commit(state, [LogEvent(id="", kind="organization_failed", error=type(error).__name__)], now)

    def on_end(self, error: BaseException) -> None:
        """Keep the error for the worker."""
        self.error = error

    def _gap_events(self, state: FleetState, gap: float) -> list[LogEvent]:
        if state.failed:
            return [LogEvent(id="", kind="organization_recovered", gap=round(gap, 3))]
        if state.resumed and gap > _LONG_GAP * self._interval:
            return [LogEvent(id="", kind="organization_resumed", gap=round(gap, 3))]
        return []

    async def _commit(self, state: FleetState, events: Sequence[LogEvent], now: float) -> None:
        all_calls = {**state.known, **state.calls.calls}
        self.committing += 1
        try:
            for chunk in split(events, all_calls, self._log.max_payload):
                draft = state.draft(chunk, self._by, clock.unix_time())
                if len(draft.body) > self._log.max_payload:
                    self._refuse(state, len(draft.body))
                    return
                sequence = await self._log.commit(state.subject, draft.body, state.sequence)
                state.accept(draft, sequence, now)
                self.counters.commits += 1
                self.counters.events += len(chunk)
                self.counters.bytes += len(draft.body)
        except SupersededCommitError:
            self.counters.refused += 1
            state.doubt(write=True)
            self._on_refused(state)
        finally:
            self.committing -= 1

    def _refuse(self, state: FleetState, size: int) -> None:
        """Give up the findings of a poll: the next poll finds them again, perhaps with a larger limit."""
        state.doubt(write=True)
        logger.error(
            "The calls in progress of %s (%d) need a message of %d bytes, and the NATS server takes %d: raise its "
            "max_payload.",
            state.organization,
            len(state.calls.calls),
            size,
            self._log.max_payload,
        )
