"""The events of a fleet, from the log: an ordinary durable consumer."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from attrs import define, field

from .. import validation
from ..organization import Organization
from ..records import Call
from ..records.call import structure_call
from ..watch.call_state import CheckpointedCall
from ..watch.changes import Change, changes_between
from .errors import LogUnavailableError
from .log import Log
from .log_settings import LogSettings, check_name
from .log_values import Delivery
from .message import LogEvent, LogMessage, decode, payloads
from .reader import LogReader

_PAYLOADS_KEPT = 10_000
"""Number of payloads kept to tell a call's previous state without asking the log."""


class _Acknowledgement:
    """Acknowledges a message once all of its events are."""

    def __init__(self, delivery: Delivery, events: int) -> None:
        self._delivery, self._left = delivery, events

    async def take(self) -> None:
        self._left -= 1
        if self._left == 0:
            with suppress(LogUnavailableError):  # then the message is delivered again
                await self._delivery.ack()


@define(eq=False, repr=False, kw_only=True)
class FleetEvent:
    """One event of a fleet. Acknowledge it with `ack` once it is handled; else it is delivered again."""

    id: str
    """Name of the event, unique in the fleet. A repeated delivery has the same id: deduplicate on it."""
    kind: str
    """``"call_started"``, ``"call_changed"``, ``"call_ended"``, ``"organization_failed"``,
    ``"organization_recovered"`` or ``"organization_resumed"``."""
    organization: Organization
    """The organization of the event."""
    call: Call | None
    """The call: for an end its last known state, or its id alone if its payload was trimmed; None unless the event is
    about a call."""
    previous: Call | None
    """The call before a change; None if its payload was trimmed, and for any other event."""
    rev: int
    """Number of the organization's message: the order of events within an organization."""
    at: float
    """Unix time of the poll in seconds."""
    redelivered: int
    """Number of earlier deliveries."""
    gap: float
    """Seconds without good responses at most, for a recovery or a resumption."""
    error: str
    """Class of the error that began an outage."""
    sequence: int
    """Sequence of the message in the log."""
    _acknowledgement: _Acknowledgement
    _is_acknowledged: bool = field(default=False, init=False)

    @property
    def changes(self) -> Mapping[str, Change]:
        """Old and new value of each changed field, as for `CallChanged`; empty if ``previous`` is None."""
        if self.previous is None or self.call is None:
            return {}
        return changes_between(self.previous, self.call)

    async def ack(self) -> None:
        """Acknowledge the event. Its message is acknowledged with the last of its events. Idempotent."""
        if not self._is_acknowledged:
            self._is_acknowledged = True
            await self._acknowledgement.take()

    def __repr__(self) -> str:
        return f"FleetEvent({self.kind}, {str(self.organization)!r}, rev={self.rev})"


class FleetEvents:
    """The events of a fleet, for one group of consumers. Members of a group share the events among themselves.

    Delivery is at least once; a group that begins gets everything that the log still has::

        async with FleetEvents("nats://127.0.0.1:4222", name="prod", group="billing") as events:
            async for event in events:
                await handle(event)
                await event.ack()

    Args:
        servers: As for `Fleet`.
        name: The name of the fleet.
        group: The name of the group: letters, digits, - and _.
        ack_wait: Seconds after which an event not acknowledged is delivered again, to any member of the group.
        batch: Number of messages to ask for at once.
        accept_loss: Go on after messages were trimmed before their delivery, where iteration else raises
            `EventsLostError`.
        connection: Further arguments of ``nats.connect``.

    Raises:
        InvalidRequestError: An argument is out of its range.
    """

    def __init__(
        self,
        servers: str | Iterable[str],
        *,
        name: str,
        group: str,
        ack_wait: float = 30.0,
        batch: int = 100,
        accept_loss: bool = False,
        connection: Mapping[str, Any] | None = None,
    ) -> None:
        validation.check_number("ack_wait", ack_wait, "seconds", above=True)
        self._log = Log(LogSettings(servers=servers, name=name, connection=connection or {}))
        self._group = check_name("group", group)
        self._batch = batch
        self._reader = LogReader(self._log.jetstream, self._group, ack_wait=float(ack_wait), accept_loss=accept_loss)
        self._ready: deque[FleetEvent] = deque()
        self._payloads: OrderedDict[tuple[int, str], bytes] = OrderedDict()

    async def __aenter__(self) -> Self:
        await self._log.connect(f"calls-in-progress events {uuid.uuid4().hex[:8]}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._log.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FleetEvent:
        """Return the next event. Waits as long as there is none, or no server.

        Raises:
            EventsLostError: Messages were trimmed before their delivery.
        """
        while not self._ready:
            for delivery in await self._reader.fetch(self._batch):
                await self._take(delivery)
            await asyncio.sleep(0)
        return self._ready.popleft()

    async def _take(self, delivery: Delivery) -> None:
        message = decode(delivery.body)
        if not message.events:
            await _Acknowledgement(delivery, 1).take()
            return
        for name, payload in payloads(message):
            self._keep(delivery.sequence, name, payload)
        acknowledgement = _Acknowledgement(delivery, len(message.events))
        for event in message.events:
            made = await self._event(message, event, delivery, acknowledgement)
            self._ready.append(made)

    async def _event(
        self, message: LogMessage, event: LogEvent, delivery: Delivery, acknowledgement: _Acknowledgement
    ) -> FleetEvent:
        call = previous = None
        if event.call_id:
            payload = await self._payload(event.call_at or delivery.sequence, event.call_id)
            call = _call_with_id(event.call_id) if payload is None else structure_call(payload, "call", strict=False)
            before = await self._payload(event.previous_at, event.call_id)
            previous = None if before is None else structure_call(before, "call", strict=False)
        return FleetEvent(
            id=event.id,
            kind=event.kind,
            organization=Organization.parse(message.organization),
            call=call,
            previous=previous,
            rev=message.rev,
            at=message.at,
            redelivered=delivery.redelivered,
            gap=event.gap,
            error=event.error,
            sequence=delivery.sequence,
            acknowledgement=acknowledgement,
        )

    async def _payload(self, sequence: int, call_id: str) -> bytes | None:
        """Return the payload of a call in a message; None if the message was trimmed or holds none."""
        if not sequence:
            return None
        if (sequence, call_id) not in self._payloads:
            body = await self._log.message_at(sequence)
            if body is not None:
                for name, payload in payloads(decode(body)):
                    self._keep(sequence, name, payload)
        return self._payloads.get((sequence, call_id))

    def _keep(self, sequence: int, name: str, payload: bytes) -> None:
        self._payloads[sequence, name] = payload
        if len(self._payloads) > _PAYLOADS_KEPT:
            self._payloads.popitem(last=False)


def _call_with_id(identity: str) -> Call:
    return CheckpointedCall(identity, "").call()
