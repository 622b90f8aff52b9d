"""Polling: a few workers with one organization each, and a sink for their findings."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Iterable
from typing import Generic, Protocol, TypeVar

from attrs import define

from .. import clock
from ..cancellation import CheckUsable, result_or_error
from ..errors import CallsInProgressError, RateLimitedError, ServerError, SupersededError
from ..organization import Organization
from . import reports
from .concurrency_limit import AIMDLimit
from .fetch import FetchCalls, State
from .listing import Listing
from .organization_state import OrganizationState, is_rate_limit
from .schedule import Schedule, ScheduleEntry, backoff

_TICK = 0.01
"""Shortest wait of a timer in seconds: polls due within it start together."""
_SLOW = 0.5
"""Share of the interval. A response later than this counts as slow."""

_State_contra = TypeVar("_State_contra", bound=OrganizationState, contravariant=True)


class PollSink(Protocol[_State_contra]):
    """Takes the findings of polls.

    ``on_listing`` and ``on_failure`` may be coroutine functions. The next poll of the organization waits until they
    have ended, and each counts as a poll in flight meanwhile. An exception raised by a sink ends all polling.
    """

    @property
    def paused(self) -> bool:
        """True while no new poll may start. Call `Poller.wake` when it becomes False."""
        ...

    def on_listing(self, state: _State_contra, listing: Listing, now: float) -> Awaitable[None] | None:
        """Take a good response: call ``state.apply(listing, now)`` and use the deltas."""
        ...

    def on_failure(self, state: _State_contra, error: Exception, now: float) -> Awaitable[None] | None:
        """Take the beginning of an outage. Called once, until a good response is applied to the state."""
        ...

    def on_end(self, error: BaseException) -> None:
        """Take the error at the end of all polling."""
        ...


@define(eq=False, repr=False)
class PollCounters:
    """Counts since polling began."""

    requests: int = 0
    unchanged: int = 0
    failures: int = 0


class Poller(Generic[State]):
    """Polls organizations, each at its time, and hands the findings to a sink.

    Organizations can be added and removed at any time, before `start` as well.

    Args:
        fetch: Fetches the calls of an organization.
        schedule: The times of the polls, and the number of polls at once.
        sink: Takes listings and failures.
        check_usable: Raises `ClientStateError` if the client itself cannot be used. Its error ends all polling.
        max_retry_after: Longest delay of a poll in seconds because of a server's Retry-After.
    """

    def __init__(
        self,
        fetch: FetchCalls[State],
        schedule: Schedule[State],
        sink: PollSink[State],
        *,
        check_usable: CheckUsable,
        max_retry_after: float,
    ) -> None:
        self.counters: PollCounters = PollCounters()
        self._fetch = fetch
        self._schedule = schedule
        self._sink = sink
        self._check_usable = check_usable
        self._max_retry_after = max_retry_after
        self._now = clock.now
        """Returns the loop's time; faster after the start."""
        self._limit = AIMDLimit(schedule.max_in_flight)
        self._entries: dict[Organization, ScheduleEntry[State]] = {}
        self._running: dict[Organization, ScheduleEntry[State]] = {}
        self._draining: set[Organization] = set()
        self._in_flight = 0
        self._taking = asyncio.Lock()  # held by the one worker that waits for the next poll
        self._woken = asyncio.Event()
        self._wakes_at = 0.0
        self._poll_ended = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._ended = False

    def start(self) -> None:
        """Start polling, unless polling has ended already."""
        if self._ended:
            return
        self._now = clock.reader()
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._schedule.max_in_flight)]

    def add(self, state: State, *, at_once: bool = True) -> None:
        """Poll an organization, at once or at its next point, and then once an interval.

        Call `wake` after the last of several.
        """
        organization = state.organization
        if organization in self._entries:
            raise ValueError(f"{organization} is polled already")
        self._entries[organization] = self._schedule.add(state, str(organization), self._now(), at_once=at_once)

    def remove(self, organization: Organization) -> State | None:
        """Stop polling an organization. The sink gets nothing more, not even from a running poll.

        Returns:
            The state of the organization; None if it was not polled.
        """
        self._draining.discard(organization)
        return self._remove(organization)

    async def drain(self, organizations: Iterable[Organization]) -> None:
        """Stop polling organizations, and wait until the sink has taken the findings of their running polls."""
        leaving = set(organizations)
        self._draining |= leaving & self._running.keys()
        for organization in leaving:
            self._remove(organization)
        while leaving & self._running.keys() and not self._ended:
            self._poll_ended.clear()
            await self._poll_ended.wait()

    def wake(self) -> None:
        """Look at the schedule and the sink again, because either has changed."""
        self._woken.set()

    def end(self, error: BaseException) -> None:
        """End all polling with an error. Does nothing after the end."""
        if not self._ended:
            self._sink.on_end(error)
        self._cancel()

    async def close(self) -> None:
        """End all polling, and wait until no poll is running."""
        self._cancel()
        if self._workers:
            await asyncio.wait(self._workers)

    def _remove(self, organization: Organization) -> State | None:
        entry = self._entries.pop(organization, None)
        if entry is None:
            return None
        self._schedule.remove(entry)
        self.wake()
        return entry.item

    def _cancel(self) -> None:
        self._ended = True
        self._poll_ended.set()
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        try:
            while True:
                async with self._taking:
                    entry = await self._next()
                await self._poll(entry)
                if self._ended:  # a token callable may have swallowed the cancellation
                    return
        except asyncio.CancelledError:
            return
        except Exception as error:
            self.end(error)

    async def _next(self) -> ScheduleEntry[State]:
        """Wait until a poll is due, and return its entry."""
        while True:
            now = self._now()
            if self._sink.paused or self._in_flight >= self._limit.limit:
                await self._sleep(None)
            elif (entry := self._schedule.take(now)) is not None:
                self._in_flight += 1
                return entry
            else:
                await self._sleep(self._schedule.wait(now))

    async def _sleep(self, seconds: float | None) -> None:
        """Wait until somebody wakes the poller, at most some seconds."""
        self._woken.clear()
        timer = None
        self._wakes_at = math.inf
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._wakes_at = loop.time() + seconds
            timer = loop.call_later(max(seconds, _TICK), self._woken.set)
        try:
            await self._woken.wait()
        finally:
            self._wakes_at = 0.0
            if timer is not None:
                timer.cancel()

    async def _poll(self, entry: ScheduleEntry[State]) -> None:
        state = entry.item
        organization = state.organization
        if organization in self._running:  # removed while its poll was running, and added again
            self._give_back(entry, slow=False, delay=self._schedule.interval)
            return
        self._running[organization] = entry
        try:
            began = self._now()
            self.counters.requests += 1
            found = await result_or_error(self._fetch(state), self._check_usable)
            if isinstance(found, SupersededError):  # removed while the poll waited, and never sent
                self._give_back(entry, slow=False)
            elif isinstance(found, Exception):
                await self._take_failure(entry, found)
            else:
                await self._take_listing(entry, found, began)
        finally:
            del self._running[organization]
            self._draining.discard(organization)
            self._poll_ended.set()

    async def _take_listing(self, entry: ScheduleEntry[State], listing: Listing, began: float) -> None:
        now, state = self._now(), entry.item
        self.counters.unchanged += listing is state.calls.listing
        self._limit.on_response()
        if self._is_wanted(entry):
            if state.failed:
                reports.organization_recovered(state.organization, now - state.last_response_at)
            if (taking := self._sink.on_listing(state, listing, now)) is not None:
                await taking
        self._give_back(entry, slow=now - began > _SLOW * self._schedule.interval)

    async def _take_failure(self, entry: ScheduleEntry[State], error: Exception) -> None:
        now, state = self._now(), entry.item
        self.counters.failures += 1
        if is_rate_limit(error):
            self._limit.on_rejection(now)
        if isinstance(error, CallsInProgressError):
            error.__traceback__ = None  # the error may be kept for long, and its frames hold responses
        began_outage = self._is_wanted(entry) and state.fail(error)
        if began_outage:
            reports.organization_failed(state.organization, error)
            if (taking := self._sink.on_failure(state, error, now)) is not None:
                await taking
        self._give_back(entry, slow=state.failed, delay=self._delay_after(state, error))

    def _is_wanted(self, entry: ScheduleEntry[State]) -> bool:
        return not entry.removed or entry.item.organization in self._draining

    def _delay_after(self, state: OrganizationState, error: Exception) -> float:
        """Return the seconds until the next try: 0 after a rate-limit error that is not a failure yet."""
        if not state.failed:
            return 0.0
        wanted = error.retry_after if isinstance(error, RateLimitedError | ServerError) else None
        random = clock.randomness.random()
        return max(backoff(state.failures, self._schedule.interval, random), min(wanted or 0.0, self._max_retry_after))

    def _give_back(self, entry: ScheduleEntry[State], *, slow: bool, delay: float | None = None) -> None:
        now = self._now()
        self._in_flight -= 1
        self._schedule.give_back(entry, now, slow=slow, delay=delay)
        if now + (self._schedule.wait(now) or 0.0) < self._wakes_at:
            self.wake()
