"""A fleet that a command looks at, without any server."""

from __future__ import annotations

import asyncio
import io
from typing import Any, Self

import pytest
from fleet.test_status import beat
from rich.console import Console

from calls_in_progress_async.fleet.log_values import Consumer, StreamState
from calls_in_progress_async.fleet.picture import FleetPicture
from calls_in_progress_async.fleet.status import FleetStatus, Workers


class FakeMonitor:
    """A fleet of two workers, of which one leaves, with one group of consumers."""

    beats = (beat("one", 0), beat("two", 0), beat("one", 20), beat("two", 20, leaving=True))
    groups = (Consumer("billing", 1000, 2, 3, 1),)
    looks: list[float]
    is_open = False

    def __init__(self, servers: str, *, name: str, connection: Any = None, workers: Workers | None = None) -> None:
        self._name = name
        self._workers = workers or Workers()
        FakeMonitor.looks = []

    async def __aenter__(self) -> Self:
        FakeMonitor.is_open = True
        self._hearing = asyncio.create_task(self._hear())
        return self

    async def __aexit__(self, *_: object) -> None:
        FakeMonitor.is_open = False
        self._hearing.cancel()

    async def _hear(self) -> None:
        """Hear two beats, and two more after 2 seconds."""
        for number, each in enumerate(self.beats):
            if number == 2:
                await asyncio.sleep(2)
            self._workers.hear(each, asyncio.get_running_loop().time())

    @property
    def status(self) -> FleetStatus:
        return self._workers.status(asyncio.get_running_loop().time())

    async def look(self) -> FleetPicture:
        return FleetPicture(name=self._name, status=self.status, log=await self.log(), consumers=await self.consumers())

    async def log(self) -> StreamState:
        self.looks.append(asyncio.get_running_loop().time())
        return StreamState(8, 1, 9, 2_500_000, 604800.0)

    async def consumers(self) -> list[Consumer]:
        return list(self.groups)


def live_console(monkeypatch: pytest.MonkeyPatch, module: Any) -> io.StringIO:
    """Give a module a terminal, and return the text of the terminal."""
    shown = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module, "stdout_console", lambda: Console(file=shown, force_terminal=True, width=80))
    return shown
