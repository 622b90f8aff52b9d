"""A fleet of real processes on a real nats-server, and the sandbox as its API."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import nats
from attrs import define, field
from fleet.audit import Truth, audit
from fleet.nats_server import NatsServer
from nats.errors import TimeoutError as NatsTimeoutError

from calls_in_progress_async.sandbox import SandboxServer

PROGRAM = Path(__file__).with_name("worker_program.py")


@define(slots=False)
class Processes:
    """The workers of one fleet, its sandbox and its log."""

    server: NatsServer
    sandbox: SandboxServer
    name: str
    settings: dict[str, Any]
    workers: dict[str, subprocess.Popen[bytes]] = field(factory=dict)
    polls: dict[str, list[float]] = field(factory=lambda: defaultdict(list))
    beats: dict[str, dict[str, Any]] = field(factory=dict)

    def start(self, worker: str, **settings: Any) -> None:
        """Start a worker process."""
        arguments = {
            "url": self.sandbox.url,
            "token": self.sandbox.token,
            "organizations": [str(each) for each in self.sandbox.organizations],
            "servers": self.server.url,
            "name": self.name,
            "worker": worker,
            **self.settings,
            **settings,
        }
        self.workers[worker] = subprocess.Popen([sys.executable, str(PROGRAM), json.dumps(arguments)])

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> float:
        """Wait for a condition, and return the seconds it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not condition():
            if loop.time() - began > seconds:
                raise AssertionError(f"not within {seconds} s; the last beats: {self.beats}")
            await asyncio.sleep(0.02)
        return loop.time() - began

    def holds(self, **shards: int) -> bool:
        """Return True if workers hold these numbers of shards, by their last beats."""
        return all(self.beats.get(each, {}).get("shards") == number for each, number in shards.items())

    async def stop(self, worker: str) -> float:
        """Stop a worker by SIGTERM, and return the seconds it took."""
        self.workers[worker].terminate()
        took = await self.until(lambda: self.workers[worker].poll() is not None)
        assert self.workers[worker].returncode == 0
        return took

    def kill(self) -> None:
        """Kill every worker."""
        for worker in self.workers.values():
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()

    async def finish(self) -> list[dict[str, Any]]:
        """Stop all workers by SIGTERM, and return the messages of the log."""
        for name, worker in self.workers.items():
            if worker.poll() is None:
                await self.stop(name)
        self.record_polls()
        return await self.messages()

    async def messages(self) -> list[dict[str, Any]]:
        """Return all messages of the log, in order."""
        client = await nats.connect(self.server.url)
        try:
            stream = f"cip_{self.name}_events"
            jetstream = client.jetstream(timeout=5)
            count = (await jetstream.stream_info(stream)).state.messages
            subscription = await jetstream.subscribe("", stream=stream, ordered_consumer=True)
            found = []
            while len(found) < count:
                try:
                    found.append(json.loads((await subscription.next_msg(5)).data))
                except NatsTimeoutError:
                    raise AssertionError(f"{len(found)} of {count} messages") from None
            return found
        finally:
            await client.close()

    def audit(self, messages: list[dict[str, Any]], unsure: tuple[float, float] = (0.0, 0.0)) -> dict[str, int]:
        """Hold the log against the sandbox."""
        truths = {
            str(each): Truth(self.sandbox.history(each), self.polls[str(each)]) for each in self.sandbox.organizations
        }
        return audit(messages, truths, unsure)

    def record_polls(self) -> None:
        """Take the requests since the last call."""
        requests = self.sandbox.requests
        while requests:
            request = requests.popleft()
            query = parse_qs(urlsplit(request.path).query)
            self.polls[f"{query['organization_type'][0]}:{query['id'][0]}"].append(request.time)

    def longest_gap(self, since: float) -> float:
        """Return the longest time without a poll of some organization in simulated seconds."""
        gaps = [b - a for polls in self.polls.values() for a, b in itertools.pairwise(polls) if b > since]
        return max(gaps, default=0.0)


async def _repeat(seconds: float, act: Callable[[], object]) -> None:
    while True:
        act()
        await asyncio.sleep(seconds)


async def _hear(processes: Processes) -> Callable[[], Awaitable[None]]:
    client = await nats.connect(processes.server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)

    async def hear(message: Any) -> None:
        beat = json.loads(message.data)
        processes.beats[beat["by"]] = beat

    await client.subscribe(f"cip.{processes.name}.beat", cb=hear)
    await client.flush()
    return client.close


@asynccontextmanager
async def open_fleet(
    server: NatsServer, name: str, *, organizations: int = 50, mean_call_seconds: float = 4.0, **settings: Any
) -> AsyncIterator[Processes]:
    """Open a sandbox and a fleet without workers."""
    sandbox = SandboxServer(
        organizations=organizations, mean_call_seconds=mean_call_seconds, calls_per_organization=2, seed=3
    )
    async with sandbox:
        settings = {"interval": 0.5, "lease": 1.5, "shards": 8, **settings}
        processes = Processes(server, sandbox, name, settings)
        close = await _hear(processes)
        recording = asyncio.create_task(_repeat(0.1, processes.record_polls))
        try:
            yield processes
        finally:
            recording.cancel()
            processes.kill()
            await close()
