"""The calls in progress of a whole fleet, read from the log, and then followed."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import attrs

from .. import clock, validation
from ..organization import Organization
from ..organizations import check_organization, check_organizations
from ..records import Call
from ..watch.events import CallEvent, OrganizationFailed
from .errors import LogUnavailableError
from .log import Log
from .log_settings import LogSettings
from .log_values import Delivery
from .membership import assign
from .message import LogMessage, decode, payloads
from .status import FleetStatus, Workers
from .view_state import ViewedOrganization

_BATCH = 100
"""Number of messages to ask for at once."""
_AGAIN = 0.3
"""Seconds until the next try after the log did not respond."""


class FleetView:
    """The calls in progress of a whole fleet, without polling: for a wallboard or any other reader of the present.

    The state of all organizations is read on entry. Iteration then yields the same events as a watch. Nothing is
    acknowledged, and any number of views can be open. Events are differences between two states: after a gap, such as
    a restart of the server, a view goes on from the present::

        async with FleetView("nats://127.0.0.1:4222", name="prod") as view:
            for organization, calls in view.calls.items():
                print(organization, len(calls))
            async for event in view:
                print(event)

    An `OrganizationFailed` has an error of the same class as the worker's, without its details. For organizations in
    an outage on entry it is the first event.

    Args:
        servers: As for `Fleet`.
        name: The name of the fleet.
        organizations: The organizations to view. By default all in the log; an organization that has left the fleet
            stays there until its last message is trimmed.
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
        self._settings = LogSettings(servers=servers, name=name, connection=connection or {})
        self._log = Log(self._settings)
        self._log.on_change = self._on_log_change
        self._wanted = None if organizations is None else _checked(organizations)
        self._workers = Workers()
        self._owners: dict[int, str] = {}
        self._seen: dict[int, float] = {}  # by shard: the loop's time of the oldest last good response
        self._viewed: dict[Organization, ViewedOrganization] = {}
        self._unread: dict[str, deque[tuple[int, LogMessage]]] = {}
        self._events: deque[CallEvent] = deque()
        self._consumer = ""
        self._fetch: Callable[[int], Awaitable[list[Delivery]]] | None = None
        self._pending = 0

    async def __aenter__(self) -> Self:
        """Connect, and read the last message of each organization.

        Raises:
            FleetError: There is no such fleet, or the server rejects the connection.
        """
        try:
            await self._log.connect(f"calls-in-progress view {uuid.uuid4().hex[:8]}")
            while self._fetch is None or self._pending or self._unread:
                await self._receive()
            await self._log.hear_beats(self._on_beat)
        except BaseException:
            await self._log.close()
            raise
        failed = {each.organization for each in self._viewed.values() if each.failed}
        self._events = deque(
            each for each in self._events if isinstance(each, OrganizationFailed) and each.organization in failed
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._log.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CallEvent:
        """Return the next event. Waits as long as there is none, or no server."""
        while not self._events:
            await self._receive()
        return self._events.popleft()

    @property
    def calls(self) -> Mapping[Organization, tuple[Call, ...]]:
        """The calls in progress of each organization; a live view, maybe ahead of the events taken so far."""
        return _Calls(self._viewed)

    @property
    def status(self) -> FleetStatus:
        """The living workers now, and their totals."""
        return self._workers.status(clock.now())

    @property
    def staleness(self) -> Mapping[Organization, float]:
        """Seconds since the last good response of each organization, at most: the age of the oldest in its shard.

        For an organization in an outage it counts from the beginning of the outage, and for one whose worker has not
        been heard yet, from the last message.
        """
        return {organization: self._staleness(viewed) for organization, viewed in self._viewed.items()}

    def _staleness(self, viewed: ViewedOrganization) -> float:
        seen = self._seen.get(self._settings.shard_of(viewed.organization))
        if viewed.failed or seen is None:
            return max(0.0, clock.unix_time() - viewed.at)
        return clock.now() - seen

    def _on_log_change(self, reconnected: bool) -> None:
        if reconnected:
            self._fetch = None  # the old connection may have lost messages

    async def _on_beat(self, beat: dict[str, Any]) -> None:
        now = clock.now()
        self._workers.hear(beat, now)
        living = self._workers.living(now)
        if living.keys() != set(self._owners.values()):
            self._owners = assign(living.keys(), self._settings.shards)
        for shard, owner in self._owners.items():
            if owner == beat["by"]:
                self._seen[shard] = now - float(beat["stale"])

    async def _receive(self) -> None:
        """Apply the next messages, if there are any within seconds. A cancellation loses none."""
        try:
            if not self._unread:
                for delivery in await self._next_messages():
                    message = decode(delivery.body)
                    self._unread.setdefault(message.organization, deque()).append((delivery.sequence, message))
        except LogUnavailableError:
            self._fetch = None
            await asyncio.sleep(_AGAIN)
        await asyncio.gather(*map(self._apply, list(self._unread)))

    async def _next_messages(self) -> list[Delivery]:
        if self._fetch is None:
            await self._open()
            return []
        found = await self._fetch(_BATCH)
        if found:
            self._pending = found[-1].pending
            return found
        consumer = await self._log.jetstream.consumer(self._consumer)
        if consumer is None:
            self._fetch = None
        else:
            self._pending = consumer.pending
        return []

    async def _open(self) -> None:
        """Begin with the last message of each organization, at first and after any interruption."""
        jetstream = self._log.jetstream
        self._settings = attrs.evolve(self._settings, shards=(await jetstream.state()).shards or 1)
        subjects = [self._settings.subjects] if self._wanted is None else map(self._settings.subject_of, self._wanted)
        self._consumer = f"view-{uuid.uuid4().hex}"
        self._pending = (await jetstream.create_view(self._consumer, subjects)).pending
        self._fetch = await jetstream.pull(self._consumer)

    async def _apply(self, name: str) -> None:
        """Apply the unread messages of an organization, in order."""
        organization, unread = Organization.parse(name), self._unread[name]
        viewed = self._viewed.get(organization) or ViewedOrganization(organization)
        while unread:
            sequence, message = unread[0]
            payloads_read = await self._read_payloads(viewed.unread(message, sequence), sequence, message)
            unread.popleft()
            self._events.extend(viewed.apply(message, payloads_read))
            self._viewed[organization] = viewed
        del self._unread[name]

    async def _read_payloads(
        self, wanted: Mapping[str, int], sequence: int, message: LogMessage
    ) -> dict[str, bytes | None]:
        """Return the payload of each call, given the sequence of the message with the payload."""
        messages = {sequence: dict(payloads(message))}
        for at in set(wanted.values()) - {sequence}:
            body = await self._log.message_at(at)
            messages[at] = {} if body is None else dict(payloads(decode(body)))
        return {name: messages[at].get(name) for name, at in wanted.items()}


def _checked(organizations: Iterable[Organization]) -> list[Organization]:
    found = [check_organization(each) for each in check_organizations(organizations)]
    if not found:
        raise validation.unexpected("organizations", "at least one Organization, or None for all", found)
    return found


class _Calls(Mapping[Organization, tuple[Call, ...]]):
    """A view of the calls. Records are made on access."""

    def __init__(self, viewed: Mapping[Organization, ViewedOrganization]) -> None:
        self._viewed = viewed

    def __getitem__(self, organization: Organization) -> tuple[Call, ...]:
        return tuple(call.call() for call in self._viewed[organization].calls.values())

    def __iter__(self) -> Iterator[Organization]:
        return iter(self._viewed)

    def __len__(self) -> int:
        return len(self._viewed)
