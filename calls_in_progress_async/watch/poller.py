"""The asking itself: a few workers, each with one organization at a time, and none for an organization that waits."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from attrs import field, frozen

from .. import validation
from ..cancellation import failure_of
from ..errors import CallsInProgressError, ClientStateError
from ..organization import Organization
from .concurrency_limit import AIMDLimit
from .event_queue import EventQueue
from .fetch import FetchCalls
from .listing import Listing
from .organization_state import OrganizationState, is_refusal
from .schedule import Schedule

_TICK = 0.01
"""Seconds that a timer waits at least: turns that are due within it are taken together."""
_SLOW = 0.5
"""The share of the interval after which an answer counts as slow."""


class Timer(Protocol):
    """What an event loop's ``call_later`` returns."""

    def cancel(self) -> Any:
        """Keep it from firing."""


def _call_later(seconds: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)


@frozen(kw_only=True)
class WatchSettings:
    """How to watch."""

    interval: float = field(default=5.0, validator=validation.number("seconds", above=True))
    """Seconds between two finds of one organization."""
    missed_polls_before_end: int = field(default=1, validator=validation.count())
    """After how many good answers in a row that do not list it a call has ended."""
    max_in_flight: int = field(default=64, validator=validation.count())
    """Finds at once."""
    max_pending: int = field(default=100_000, validator=validation.count())
    """Events that nobody has taken, at which polling pauses: nothing is lost, and memory is bounded."""


class Clock(NamedTuple):
    """What a watch takes from the world, so that tests can give it."""

    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    randomness: Callable[[], float] = random.random
    call_later: Callable[[float, Callable[[], None]], Timer] = _call_later


class PollCounters:
    """What has been counted since a watch began."""

    def __init__(self) -> None:
        self.requests = self.unchanged = self.failures = self.events = 0


class Poller:
    """Asks for one organization after the other, and puts what happens into the pending events.

    Args:
        fetch: FetchCallss for the calls of one organization.
        settings: How often and how many.
        events: Where events go.
        surroundings: Clock, timers and randomness.
        on_event: Called when there are new events, and when the polling has ended.
    """

    def __init__(
        self,
        fetch: FetchCalls,
        settings: WatchSettings,
        events: EventQueue,
        surroundings: Clock,
        on_event: Callable[[], None],
    ) -> None:
        self.counts = PollCounters()
        self.error: BaseException | None = None
        """What ended the polling, if anything did."""
        self.schedule: Schedule[OrganizationState] = Schedule(settings.interval, settings.max_in_flight)
        self._fetch = fetch
        self._settings = settings
        self._events = events
        self._clock = surroundings.clock
        self._random = surroundings.randomness
        self._call_later = surroundings.call_later
        self._on_event = on_event
        self._window = AIMDLimit(settings.max_in_flight)
        self._running = 0
        self._first = asyncio.Lock()  # held by the one worker that waits for the next turn
        self._woken = asyncio.Event()
        self._rests_until = 0.0
        self._workers: list[asyncio.Task[None]] = []
        self._asked: set[Organization] = set()
        self._ended = False

    @property
    def paused(self) -> bool:
        """Whether it waits for somebody to take events."""
        return len(self._events) >= self._settings.max_pending

    def start(self) -> None:
        """Begin."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._settings.max_in_flight)]

    def wake(self) -> None:
        """Look at the schedule again: it has changed."""
        self._woken.set()

    def end(self, error: BaseException) -> None:
        """End with an error, unless it has ended already."""
        if self.error is None:
            self.error = error
            self._on_event()
        self._cancel()

    async def close(self) -> None:
        """End, and wait until nothing is running any more."""
        self._cancel()
        if self._workers:
            await asyncio.wait(self._workers)

    def _cancel(self) -> None:
        self._ended = True
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        with suppress(asyncio.CancelledError):
            try:
                while not self._ended:  # a token callable may swallow a cancellation
                    async with self._first:
                        watched = await self._next()
                    await self._poll(watched)
            except Exception as error:
                self.end(error)

    async def _next(self) -> OrganizationState:
        """Wait for the next turn."""
        while True:
            now = self._clock()
            if self.paused or self._running >= self._window.size:
                await self._rest(None)
            elif (watched := self.schedule.take(now)) is not None:
                self._running += 1
                return watched
            else:
                await self._rest(self.schedule.wait(now))

    async def _rest(self, seconds: float | None) -> None:
        self._woken.clear()
        self._rests_until = math.inf if seconds is None else self._clock() + seconds
        timer = None if seconds is None else self._call_later(max(seconds, _TICK), self._woken.set)
        try:
            await self._woken.wait()
        finally:
            self._rests_until = 0.0
            if timer is not None:
                timer.cancel()

    async def _poll(self, watched: OrganizationState) -> None:
        """Ask once. Whatever goes wrong with one organization stays with it."""
        if watched.organization in self._asked:  # it was removed while it was being asked, and is back
            self._give_back(watched, slow=False, delay=self._settings.interval)
            return
        began, last = self._clock(), watched.picture.listing
        self.counts.requests += 1
        self._asked.add(watched.organization)
        try:
            listing = await self._fetch(watched.organization, last)
        except asyncio.CancelledError as error:
            self._fail(watched, failure_of(error))
        except ClientStateError:
            raise
        except Exception as error:  # a token callable's own, for example
            self._fail(watched, error)
        else:
            self._take_in(watched, listing, began)
        finally:
            self._asked.discard(watched.organization)

    def _take_in(self, watched: OrganizationState, listing: Listing, began: float) -> None:
        now = self._clock()
        self.counts.unchanged += listing is watched.picture.listing
        self._window.on_answer()
        if not watched.out:
            self._tell(watched.take_answer(listing, now, self._settings.missed_polls_before_end, self._events))
        self._give_back(watched, slow=now - began > _SLOW * self._settings.interval)

    def _fail(self, watched: OrganizationState, error: Exception) -> None:
        self.counts.failures += 1
        if is_refusal(error):
            self._window.on_refusal(self._clock())
        if isinstance(error, CallsInProgressError):
            error.__traceback__ = None  # it may stay pending for long, and what its frames hold with it
        delay = None
        if not watched.out:
            before = len(self._events)
            delay = watched.take_failure(error, self._settings.interval, self._random(), self._events)
            self._tell(len(self._events) != before)
        self._give_back(watched, slow=watched.failed, delay=delay)

    def _give_back(self, watched: OrganizationState, *, slow: bool, delay: float | None = None) -> None:
        now = self._clock()
        self._running -= 1
        self.schedule.give_back(watched, now, slow=slow, delay=delay)
        if now + (self.schedule.wait(now) or 0.0) < self._rests_until:
            self.wake()

    def _tell(self, events: int) -> None:
        if events:
            self.counts.events += events
            self._on_event()
