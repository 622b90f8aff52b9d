"""A fleet of real processes on real nats-servers, and the sandbox as its API."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import nats
from attrs import define, field
from fleet.audit import Truth, audit
from fleet.nats_server import NatsServer
from fleet.recorded_sandbox import RecordedSandbox
from nats.errors import Error as NatsError

DIRECTORY = Path(__file__).parent


class Api(Protocol):
    """The API of a fleet: a `RecordedSandbox`, in this process or in another."""

    url: str
    token: str
    names: list[str]

    def last_polls(self) -> dict[str, float]:
        """Return the time of the last poll of each organization polled so far."""
        ...

    def truths(self) -> dict[str, Truth]:
        """Return the history and the polls of each organization polled so far."""
        ...


@define(slots=False)
class Processes:
    """The workers of one fleet, its API and its log."""

    servers: Sequence[NatsServer]
    api: Api
    name: str
    settings: dict[str, Any]
    workers: dict[str, subprocess.Popen[bytes]] = field(factory=dict)
    consumers: dict[str, subprocess.Popen[bytes]] = field(factory=dict)
    beats: dict[str, dict[str, Any]] = field(factory=dict)
    heard: dict[str, float] = field(factory=dict)
    """Time of the first beat of each worker."""

    @property
    def urls(self) -> list[str]:
        """The addresses of the servers."""
        return [server.url for server in self.servers]

    @property
    def interval(self) -> float:
        """Seconds between two polls of an organization."""
        return float(self.settings["interval"])

    def start(self, worker: str, **settings: Any) -> None:
        """Start a worker process."""
        arguments = {
            "url": self.api.url,
            "token": self.api.token,
            "organizations": self.api.names,
            "servers": ",".join(self.urls),
            "name": self.name,
            "worker": worker,
            **self.settings,
            **settings,
        }
        self.workers[worker] = _run("worker_program.py", arguments)

    def consume(self, consumer: str, file: Path, **settings: Any) -> None:
        """Start a consumer process, which writes the ids of events to a file."""
        arguments = {"servers": ",".join(self.urls), "name": self.name, "file": str(file), **settings}
        self.consumers[consumer] = _run("consumer_program.py", arguments)

    async def until(self, condition: Callable[[], object], seconds: float = 30.0) -> float:
        """Wait for a condition, and return the seconds it took."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds} s; the last beats: {self.beats}")
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def until_even(self, *workers: str, seconds: float = 30.0) -> float:
        """Wait until workers hold all shards, the same number each, by their last beats; return the seconds it took."""

        def even() -> bool:
            held = [self.beats.get(each, {}).get("shards", -1) for each in workers]
            return sum(held) == self.settings["shards"] and max(held) - min(held) <= 1

        return await self.until(even, seconds)

    async def until_polled(self, since: float = 0.0, names: Collection[str] = (), seconds: float = 60.0) -> None:
        """Wait until every organization has been polled since some time."""
        wanted = names or self.api.names
        while True:
            last = self.api.last_polls()
            if all(last.get(each, 0.0) > since for each in wanted):
                return
            seconds -= 0.2
            assert seconds > 0, f"not polled since {since}: {[each for each in wanted if last.get(each, 0.0) <= since]}"
            await asyncio.sleep(0.2)

    async def intervals(self, number: float) -> None:
        """Let some intervals pass."""
        await asyncio.sleep(number * self.interval)

    async def stop(self, *workers: str) -> float:
        """Stop workers by SIGTERM, and return the seconds it took."""
        for worker in workers:
            self.workers[worker].terminate()
        took = await self.until(lambda: all(self.workers[worker].poll() is not None for worker in workers))
        assert [self.workers[worker].returncode for worker in workers] == [0] * len(workers)
        return took

    def kill(self) -> None:
        """Kill every process."""
        for process in (*self.workers.values(), *self.consumers.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def living(self) -> list[str]:
        """Return the names of the workers that have not ended."""
        return [name for name, process in self.workers.items() if process.poll() is None]

    async def finish(self) -> list[dict[str, Any]]:
        """Stop all workers by SIGTERM, and return the messages of the log."""
        await self.stop(*self.living())
        return await self.messages()

    async def stream_info(self) -> Any:
        """Return the server's description of the stream; None while there is no good response."""
        try:
            async with _connected(self.urls, connect_timeout=1, allow_reconnect=False) as client:
                return await client.jetstream(timeout=1).stream_info(f"cip_{self.name}_events")
        except (NatsError, OSError, TimeoutError):
            return None

    async def messages(self) -> list[dict[str, Any]]:
        """Return all messages of the log, in order, with digests in place of payloads."""
        until = time.monotonic() + 40
        while True:
            info, found = await self.stream_info(), list[dict[str, Any]]()
            try:
                async with _connected(self.urls) as client:
                    subscription = await client.jetstream(timeout=5).subscribe(
                        "", stream=f"cip_{self.name}_events", ordered_consumer=True
                    )
                    while info is None or len(found) < info.state.messages:
                        found.append(_small(await subscription.next_msg(5)))
            except NatsError:  # a cluster may be without a leader
                assert time.monotonic() < until, f"{len(found)} messages of {info}"
            else:
                return found

    def audit(self, messages: list[dict[str, Any]], unsure: Sequence[tuple[float, float]] = ()) -> dict[str, int]:
        """Hold the log against the API."""
        return audit(messages, self.api.truths(), unsure)


def _run(program: str, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start a program. The settings go through standard input: an argument cannot hold 10,000 organizations."""
    process = subprocess.Popen([sys.executable, str(DIRECTORY / program)], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(settings).encode())
    process.stdin.close()
    return process


def _small(message: Any) -> dict[str, Any]:
    """Return what the audit needs of a message."""
    found: dict[str, Any] = json.loads(message.data)
    for event in found["events"]:
        if "call" in event:
            event["call"] = blake2b(json.dumps(event["call"], sort_keys=True).encode(), digest_size=8).digest()
    found["calls"] = set(found["calls"])
    found["logged"] = message.metadata.timestamp.timestamp()
    return found


@asynccontextmanager
async def _connected(servers: list[str], **options: Any) -> AsyncIterator[Any]:
    """Connect to NATS. Servers that are away are part of the cases, and not worth a line."""

    async def ignore(error: Exception) -> None: ...

    client = await nats.connect(servers, error_cb=ignore, **options)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def _hearing(processes: Processes) -> AsyncIterator[None]:
    async def hear(message: Any) -> None:
        beat = json.loads(message.data)
        processes.beats[beat["by"]] = beat
        processes.heard.setdefault(beat["by"], time.time())

    async with _connected(processes.urls, max_reconnect_attempts=-1, reconnect_time_wait=0.1) as client:
        await client.subscribe(f"cip.{processes.name}.beat", cb=hear)
        await client.flush()
        yield


@asynccontextmanager
async def open_processes(
    servers: Iterable[NatsServer], api: Api, name: str, **settings: Any
) -> AsyncIterator[Processes]:
    """Open a fleet without workers."""
    processes = Processes(list(servers), api, name, {"interval": 0.5, "lease": 1.5, "shards": 8, **settings})
    async with _hearing(processes):
        try:
            yield processes
        finally:
            processes.kill()


@asynccontextmanager
async def open_fleet(
    *servers: NatsServer, name: str, organizations: int = 50, **settings: Any
) -> AsyncIterator[Processes]:
    """Open a small fleet without workers, and a sandbox."""
    async with (
        RecordedSandbox(organizations=organizations, mean_call_seconds=4.0, calls_per_organization=2, seed=3) as api,
        open_processes(servers, api, name, **settings) as processes,
    ):
        yield processes
