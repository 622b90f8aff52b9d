"""One find for each of many organizations, with results as they complete."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

from attrs import field, frozen

from . import validation
from .cancellation import CheckUsable, result_or_error
from .errors import ClientClosedError
from .organization import Organization
from .organizations import check_organization, check_organizations
from .records import CurrentCalls
from .single_flight import retrieve_exception

Find = Callable[[Organization], Awaitable[CurrentCalls]]
Organizations = Iterable[Organization] | AsyncIterable[Organization]


@frozen
class OrganizationCalls:
    """The result of a successful find."""

    organization: Organization
    """The organization of the find."""
    calls: CurrentCalls
    """Its calls in progress."""
    error: None = None
    """Always None."""


@frozen
class OrganizationError:
    """The result of a failed find."""

    organization: Organization
    """The organization of the find."""
    error: Exception
    """The exception raised by the find."""
    calls: None = None
    """Always None."""


OrganizationResult: TypeAlias = OrganizationCalls | OrganizationError
"""The result of one find. ``result.error is None`` tells the two apart, for type checkers as well."""


@frozen(kw_only=True, eq=False, repr=False)
class FindManySettings:
    """The number of finds at once."""

    max_in_flight: int = field(converter=validation.plain_integer, validator=validation.count())


_NOTHING: Any = object()
"""Stands for no organization: the source has no more, or has none yet."""


class FindMany:
    """The results of `CallsInProgressClient.find_many`.

    Iterate over it once. Leaving the loop early cancels the running finds as soon as nothing refers to this object any
    more. To wait for their end, use ``async with client.find_many(...) as results``, or ``await results.aclose()``. A
    cancelled ``__anext__`` loses no result.
    """

    # No task refers to this object: when the loop over it is left, it is freed at once and cancels its tasks.

    def __init__(
        self, find: Find, organizations: Organizations, settings: FindManySettings, *, check_usable: CheckUsable
    ) -> None:
        self._find = find
        self._check_usable = check_usable
        self._source = _iterate(organizations)
        self._max_in_flight = settings.max_in_flight
        self._running: set[asyncio.Task[Any]] = set()
        self._done: deque[asyncio.Task[OrganizationResult]] = deque()
        self._fetching: asyncio.Task[Organization] | None = None
        self._exhausted = False
        self._ending: Exception = StopAsyncIteration()
        """The exception to end the iteration with."""
        self._progress = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> OrganizationResult:
        while True:
            result = self._take()
            try:
                self._fill()
            except BaseException:
                self._cancel()
                raise
            if result is not None:
                return result
            if self._exhausted and not self._running and not self._done:
                ending, self._ending = self._ending, StopAsyncIteration()
                raise ending
            self._progress.clear()
            await self._progress.wait()

    def _take(self) -> OrganizationResult | None:
        """Return the next result. The error of an unusable client ends the iteration instead."""
        while self._done:
            done = self._done.popleft()
            error = done.exception()
            if error is None:
                return done.result()
            self._end(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        return None

    def _fill(self) -> None:
        """Start finds up to ``max_in_flight``, as far as there are organizations at hand."""
        while len(self._running) + len(self._done) < self._max_in_flight:
            try:
                organization = self._next_organization()
                if organization is not _NOTHING:
                    check_organization(organization)
            except Exception as error:  # the source's own; the results before it come first
                self._exhausted, self._ending = True, error
                return
            if organization is _NOTHING:
                return
            self._start(_find_one(self._find, organization, self._check_usable), self._done.append)

    def _next_organization(self) -> Any:
        """Return the next organization, or `_NOTHING` if there is none or the source makes us wait."""
        if self._exhausted:
            return _NOTHING
        if isinstance(self._source, Iterator):
            organization = next(self._source, _NOTHING)
        elif self._fetching is None:
            # In a task of its own: cancelling a wait for an async generator would end the generator.
            self._fetching = asyncio.create_task(_next_of(self._source))
            self._fetching.add_done_callback(partial(_set, self._progress))
            self._fetching.add_done_callback(retrieve_exception)
            return _NOTHING
        elif self._fetching.done():
            fetched, self._fetching = self._fetching, None
            organization = fetched.result()
        else:
            return _NOTHING
        self._exhausted = organization is _NOTHING
        return organization

    def _start(self, work: Coroutine[Any, Any, Any], then: Callable[[Any], object]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(then)
        task.add_done_callback(partial(_set, self._progress))
        task.add_done_callback(retrieve_exception)

    def _end_with_client(self) -> None:
        """Start no more finds: iteration raises after the running finds, if there was more to find."""
        if not self._exhausted:
            self._end(ClientClosedError("The client was closed while its organizations were being asked."))

    def _end(self, error: Exception) -> None:
        if isinstance(self._ending, StopAsyncIteration):
            self._ending = error
        self._exhausted = True
        if self._fetching is not None:
            self._fetching.cancel()
            self._fetching = None
        self._progress.set()

    def _cancel(self) -> list[asyncio.Task[Any]]:
        """Cancel all running tasks. A task of a closed event loop can neither run nor be cancelled."""
        self._exhausted = True
        tasks = [*self._running, *([self._fetching] if self._fetching else [])]
        self._fetching = None
        tasks = [task for task in tasks if not task.get_loop().is_closed()]
        for task in tasks:
            task.remove_done_callback(self._done.append)
            task.cancel()
        return tasks

    async def aclose(self) -> None:
        """Cancel the running finds and wait until they have ended. Idempotent."""
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
        if hasattr(self, "_progress"):  # the constructor did not raise
            self._cancel()


def _iterate(organizations: Organizations) -> Iterator[Organization] | AsyncIterator[Organization]:
    if isinstance(organizations, AsyncIterable):
        return aiter(organizations)
    return iter(check_organizations(organizations))


async def _next_of(source: AsyncIterator[Organization]) -> Any:
    return await anext(source, _NOTHING)


async def _find_one(find: Find, organization: Organization, check_usable: CheckUsable) -> OrganizationResult:
    found = await result_or_error(find(organization), check_usable)
    if isinstance(found, Exception):
        return OrganizationError(organization, found)
    return OrganizationCalls(organization, found)


def _set(progress: asyncio.Event, _: object) -> None:
    progress.set()
