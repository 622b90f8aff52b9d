"""A look at a fleet: its workers by their beats, its log and its consumers. Nothing is changed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from .. import clock
from .errors import LogUnavailableError
from .log import Log
from .log_settings import LogSettings
from .log_values import Consumer, StreamState
from .picture import FleetPicture
from .status import FleetStatus, Workers


class FleetMonitor:
    """Hears the beats of a fleet while it is open.

    Args:
        servers: As for `Fleet`.
        name: The name of the fleet.
        connection: Further arguments of ``nats.connect``.
    """

    def __init__(self, servers: str | Iterable[str], *, name: str, connection: Mapping[str, Any] | None = None) -> None:
        self._name = name
        self._log = Log(LogSettings(servers=servers, name=name, connection=connection or {}))
        self._workers = Workers()

    async def __aenter__(self) -> Self:
        try:
            await self._log.connect(f"calls-in-progress monitor {uuid.uuid4().hex[:8]}")
            await self._log.hear_beats(self._on_beat)
        except BaseException:
            await self._log.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._log.close()

    async def _on_beat(self, beat: dict[str, Any]) -> None:
        self._workers.hear(beat, clock.now())

    @property
    def status(self) -> FleetStatus:
        """The living workers now, and their totals."""
        return self._workers.status(clock.now())

    async def look(self) -> FleetPicture:
        """Return the fleet at this moment.

        Raises:
            FleetError: There is no such fleet.
        """
        log, consumers = await asyncio.gather(self.log(), self.consumers())
        return FleetPicture(name=self._name, status=self.status, log=log, consumers=consumers)

    async def log(self) -> StreamState | None:
        """Return the extent of the log; None if the log does not respond.

        Raises:
            FleetError: There is no such fleet.
        """
        with suppress(LogUnavailableError):
            return await self._log.jetstream.state()
        return None

    async def consumers(self) -> list[Consumer]:
        """Return the progress of every group of consumers; nothing if the log does not respond."""
        with suppress(LogUnavailableError):
            return await self._log.jetstream.consumers()
        return []
