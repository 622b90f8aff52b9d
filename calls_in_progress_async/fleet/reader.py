"""The reading side of the log: a durable consumer, shared by the members of a group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .. import clock
from .errors import EventsLostError, LogUnavailableError
from .jetstream import JetStream
from .log_values import Delivery

_CHECK = 5.0
"""Seconds between two checks for trimmed messages."""
_AGAIN = 0.3
"""Seconds until the next try after the log did not respond."""


class LogReader:
    """Fetches the messages of a group.

    Args:
        jetstream: An open connection.
        group: The name of the group.
        ack_wait: Seconds until a message without acknowledgement is delivered again.
        accept_loss: True to go on after messages were trimmed before their delivery.
    """

    def __init__(self, jetstream: JetStream, group: str, *, ack_wait: float, accept_loss: bool) -> None:
        self._jetstream = jetstream
        self._group = group
        self._ack_wait = ack_wait
        self._accept_loss = accept_loss
        self._fetch: Callable[[int], Awaitable[list[Delivery]]] | None = None
        self._checked_at = float("-inf")

    async def fetch(self, number: int) -> list[Delivery]:
        """Return the next messages, at most some number; none after a while without any, or without a server.

        Raises:
            EventsLostError: Messages were trimmed before their delivery.
            FleetError: There is no such fleet.
        """
        try:
            if clock.now() - self._checked_at > _CHECK:
                await self._check_loss()
                self._checked_at = clock.now()
            if self._fetch is None:
                self._fetch = await self._open(number)
            return await self._fetch(number)
        except LogUnavailableError:
            await asyncio.sleep(_AGAIN)
            return []

    async def _first(self) -> int:
        """Return the sequence of the first message of the log."""
        return (await self._jetstream.state()).first

    async def _open(self, number: int) -> Callable[[int], Awaitable[list[Delivery]]]:
        first = await self._first()
        if await self._jetstream.consumer(self._group) is None:
            await self._jetstream.create_consumer(
                self._group, ack_wait=self._ack_wait, max_unacknowledged=20 * number, begins_at=max(1, first)
            )
        return await self._jetstream.pull(self._group)

    async def _check_loss(self) -> None:
        """Compare the group's progress with the log's first message: a consumer skips trimmed messages silently."""
        consumer = await self._jetstream.consumer(self._group)
        if consumer is None:  # a new group, or one deleted by hand: begin at the first message
            self._fetch = None
            return
        first = await self._first()
        floor = max(consumer.acknowledged, consumer.begins_at - 1)
        if floor + 1 < first and not self._accept_loss:
            raise EventsLostError(
                f"Messages {floor + 1} to {first - 1} were trimmed before group {self._group!r} had acknowledged all "
                "of them: read the calls in progress anew, then go on with accept_loss=True or with a new group.",
                first=floor + 1,
                last=first - 1,
            )
