"""The public worker of a fleet: its organizations, its errors and its signals. The log is in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fleet.memory_log import MemoryLog

from calls_in_progress_async import (
    CallsInProgressClient,
    ClientStateError,
    Instrumentation,
    InvalidRequestError,
    ObservedWatch,
    Organization,
    RateLimit,
)
from calls_in_progress_async.fleet import Fleet, FleetError
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.testing import ScriptedTransport
from calls_in_progress_async.testing.virtual_clock import run

TOO_MANY = [Organization.advertiser(number) for number in range(1, 1026)]


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> list[MemoryLog]:
    """Replace the log, and return the logs made."""
    made: list[MemoryLog] = []

    def make(settings: LogSettings) -> MemoryLog:
        made.append(MemoryLog(settings))
        return made[-1]

    monkeypatch.setattr("calls_in_progress_async.fleet.fleet.Log", make)
    return made


def make_client() -> CallsInProgressClient:
    return CallsInProgressClient(token="t", transport=ScriptedTransport())


def make_fleet(client: CallsInProgressClient, organizations: Any, **settings: Any) -> Fleet:
    return Fleet(client, servers="nats://unused", name="t", shards=1, organizations=organizations, **settings)


def source(*responses: list[Organization] | Exception) -> tuple[Callable[[], list[Organization]], list[float]]:
    """Return a callable that returns or raises one response after another, and the times of its calls."""
    times: list[float] = []

    def load() -> list[Organization]:
        response = responses[len(times)]
        times.append(asyncio.get_running_loop().time())
        if isinstance(response, Exception):
            raise response
        return response

    return load, times


def test_organizations_are_loaded_every_minute(logs: list[MemoryLog], caplog: pytest.LogCaptureFixture) -> None:
    """A failure keeps the organizations of before, a good load replaces them, and too many end the worker."""
    load, times = source([], ValueError("no database"), [], TOO_MANY)

    async def main() -> None:
        async with make_client() as client:
            with pytest.raises(FleetError, match="at most 1,024 organizations, got 1,025"):
                await make_fleet(client, load).run()

    run(main)
    assert [at - times[0] for at in times] == [0.0, 60.0, 120.0, 180.0]
    assert [record.exc_text.splitlines()[-1] for record in caplog.records if record.exc_text] == [
        "ValueError: no database"
    ]
    assert logs[0].is_closed
    assert logs[0].beats[-1]["leaving"] is True


def test_hooks_see_the_worker(logs: list[MemoryLog]) -> None:
    """The gauges of a watch show a worker of a fleet too."""

    class Gauge(Instrumentation):
        def on_watch(self, watch: ObservedWatch) -> None:
            seen.append(watch)

    seen: list[ObservedWatch] = []

    async def main() -> None:
        async with CallsInProgressClient(token="t", transport=ScriptedTransport(), instrumentation=[Gauge()]) as client:
            fleet = make_fleet(client, [])
            asyncio.get_running_loop().call_later(3.0, fleet.stop)
            await fleet.run()
            assert [watch.levels() for watch in seen] == [None]

    run(main)


def test_a_closed_client_ends_the_worker(logs: list[MemoryLog]) -> None:
    """The error of the client reaches the caller of run."""

    async def main() -> None:
        async with make_client() as client:
            fleet = make_fleet(client, [Organization.advertiser(25)])
        with pytest.raises(ClientStateError):
            await fleet.run()

    run(main)
    assert logs[0].is_closed


def test_an_async_source_is_awaited(logs: list[MemoryLog]) -> None:
    """The organizations may come from a coroutine function."""

    async def load() -> list[Organization]:
        await asyncio.sleep(1.0)
        fleet.stop()
        return []

    async def main() -> None:
        nonlocal fleet
        async with make_client() as client:
            fleet = make_fleet(client, load)
            await fleet.run()

    fleet: Fleet
    run(main)
    assert logs[0].is_closed


def test_a_fleet_runs_in_another_thread(logs: list[MemoryLog]) -> None:
    """Signals arrive in the main thread only. Elsewhere `stop` ends a worker."""
    loops: list[float] = []

    async def main() -> None:
        async with make_client() as client:
            fleet = make_fleet(client, [])
            asyncio.get_running_loop().call_later(3.0, fleet.stop)
            await fleet.run()
            loops.append(asyncio.get_running_loop().time())

    thread = threading.Thread(target=run, args=(main,))
    thread.start()
    thread.join()
    assert len(loops) == 1
    assert logs[0].is_closed
    assert logs[0].beats[-1]["leaving"] is True


async def test_a_rate_beside_the_clients_own_is_an_error() -> None:
    """One rate counts: the fleet's or the client's."""
    client = CallsInProgressClient(token="t", transport=ScriptedTransport(), rate_limit=RateLimit(rate=10))
    with pytest.raises(InvalidRequestError, match="comes with the client's rate_limit"):
        make_fleet(client, [], rate=100)
