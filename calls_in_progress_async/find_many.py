"""One find each for many organizations, as each completes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self

from attrs import field, frozen

from . import validation
from .cancellation import failure_of
from .errors import ClientClosedError, ClientStateError
from .organization import Organization
from .records import CurrentCalls

Find = Callable[[Organization], Awaitable[CurrentCalls]]
Organizations = Iterable[Organization] | AsyncIterable[Organization]


@frozen
class OrganizationResult:
    """What a find for one organization came to: ``calls``, or the ``error`` it raised."""

    organization: Organization
    calls: CurrentCalls | None = None
    error: Exception | None = None


@frozen(kw_only=True)
class FindManySettings:
    """How many finds at once."""

    max_in_flight: int = field(default=64, validator=validation.count())


_NOTHING: Any = object()
"""What a source gives that has no more, or not yet; an entry of it may be anything."""


class FindMany:
    """The results of `CallsInProgressClient.find_many`.

    Iterate over it once. Leaving the loop early cancels what is running as soon as nothing refers to it any more; to
    wait for that as well, use ``async with client.find_many(...) as results``, or ``await results.aclose()``. A
    cancelled ``__anext__`` loses no result.
    """

    # No task refers to this object: when the loop over it is left, it goes at once, and takes its tasks with it.

    def __init__(self, find: Find, organizations: Organizations, settings: FindManySettings) -> None:
        self._find = find
        self._source = _source(organizations)
        self._places = settings.max_in_flight
        self._running: set[asyncio.Task[Any]] = set()
        self._done: deque[asyncio.Task[OrganizationResult]] = deque()
        self._fetching: asyncio.Task[Organization | None] | None = None
        self._exhausted = False
        self._failure: Exception = StopAsyncIteration()
        """What ends the iteration."""
        self._progress = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> OrganizationResult:
        while True:
            done = self._done.popleft() if self._done else None
            result = None if done is None else done.result()
            if result is not None and isinstance(result.error, ClientStateError):
                self._end(result.error)  # that the client cannot be used is no result of one organization
                continue
            try:
                self._fill()
            except BaseException:
                self._cancel()
                raise
            if result is not None:
                return result
            if self._exhausted and not self._running and not self._done:
                failure, self._failure = self._failure, StopAsyncIteration()
                raise failure
            self._progress.clear()
            await self._progress.wait()

    def _fill(self) -> None:
        """Start as many finds as there are places for and organizations at hand."""
        while len(self._running) + len(self._done) < self._places:
            try:
                organization = self._fetch()
            except Exception as error:  # the source's own; what it gave before is told first
                self._exhausted, self._failure = True, error
                return
            if organization is _NOTHING:
                return
            self._start(_find_one(self._find, organization), self._done.append)

    def _fetch(self) -> Any:
        """Fetch the next organization, or nothing where there is none or it takes waiting."""
        if self._exhausted:
            return _NOTHING
        if isinstance(self._source, Iterator):
            organization = next(self._source, _NOTHING)
        elif self._fetching is None:
            # In a task of its own: a cancelled wait for it would end an async generator.
            self._fetching = asyncio.create_task(_next_of(self._source))
            self._fetching.add_done_callback(partial(_note, self._progress))
            return _NOTHING
        elif self._fetching.done():
            fetched, self._fetching = self._fetching, None
            organization = fetched.result()
        else:
            return _NOTHING
        self._exhausted = organization is _NOTHING
        return organization

    def _start(self, work: Any, then: Callable[[Any], object]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(then)
        task.add_done_callback(partial(_note, self._progress))

    def client_closed(self) -> None:
        """Ask for no more: the iteration raises once what is running has ended, if there was more to ask."""
        if not self._exhausted:
            self._end(ClientClosedError("The client was closed while its organizations were being asked."))

    def _end(self, error: Exception) -> None:
        if isinstance(self._failure, StopAsyncIteration):
            self._failure = error
        self._exhausted = True
        if self._fetching is not None:
            self._fetching.cancel()
            self._fetching = None
        self._progress.set()

    def _cancel(self) -> list[asyncio.Task[Any]]:
        self._exhausted = True
        tasks = [*self._running, *([self._fetching] if self._fetching else [])]
        self._fetching = None
        for task in tasks:
            task.remove_done_callback(self._done.append)
            task.cancel()
        return tasks

    async def aclose(self) -> None:
        """Cancel what is running and wait until it has ended. Idempotent."""
        if tasks := self._cancel():
            await asyncio.wait(tasks)
        self._done.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        running = getattr(self, "_running", ())
        if any(not task.get_loop().is_closed() for task in running) or getattr(self, "_fetching", None):
            self._cancel()


def _source(organizations: Organizations) -> Iterator[Organization] | AsyncIterator[Organization]:
    if isinstance(organizations, AsyncIterable):
        return aiter(organizations)
    if isinstance(organizations, Iterable):
        return iter(organizations)
    raise validation.invalid(
        "organizations", f"{validation.describe(organizations)} is not an iterable of organizations"
    )


async def _next_of(source: AsyncIterator[Organization]) -> Any:
    return await anext(source, _NOTHING)


async def _find_one(find: Find, organization: Organization) -> OrganizationResult:
    try:
        return OrganizationResult(organization, await find(organization))
    except asyncio.CancelledError as error:
        return OrganizationResult(organization, error=failure_of(error))
    except Exception as error:
        return OrganizationResult(organization, error=error)


def _note(progress: asyncio.Event, _: object) -> None:
    progress.set()
