"""Send many concurrent requests with faults and cancellations, and account for each exactly once.

    python benchmarks/soak.py [--requests 200000] [--concurrency 64] [--faults 0.05] [--loop asyncio|uvloop]

The server uses raw sockets in a process of its own. The transaction id of a request names its fault, and the server
counts the requests by id. The client's own counts go to a file, so this process's memory is the client's alone: after
the first quarter, as a warm-up, it must stay within 5 %, and so must the number of blocks allocated by Python. Exits 1
if any count is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import multiprocessing
import os
import random
import resource
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, ClassVar, NamedTuple, TextIO

from calls_in_progress_async import (
    CallsInProgressClient,
    CallsInProgressError,
    Organization,
    RateLimit,
    RetryPolicy,
)

BODY = json.dumps({"current_calls": [{"transaction_id": "T", "call_status": "started"}]}).encode()
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
FAULTS = {
    "close": (b"", False),
    "reset": (b"", True),
    "half": (GOOD[:-9], False),
    "resethalf": (GOOD[:-9], True),
    "500": (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", None),
    "503": (b"HTTP/1.1 503 Oops\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", None),
    "429": (b"HTTP/1.1 429 Slow\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", None),
    "html": (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", None),
    "garbage": (b"SSH-2.0\r\n\r\n", False),
    "hang": (b"", None),
}
ATTEMPTS = 2
SLOTS = 100
"""The client's max_connections."""
WARM_UP = 10_000
"""Requests to fill all caches and meet every fault. Memory is compared if a quarter of the run is longer."""


class Server(asyncio.Protocol):
    """Responds by transaction id: ``<number>-<fault of the first attempt>``. Later attempts get a good response."""

    seen: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r")[0] or 0)
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            if " /report" in head:
                text = json.dumps(self.seen).encode()
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
                continue
            self.respond(head.partition("transaction_id=")[2].split(" ", 1)[0])

    def respond(self, name: str) -> None:
        self.seen[name] += 1
        fault = name.partition("-")[2]
        if fault == "good" or self.seen[name] > 1:
            self.transport.write(GOOD)
            return
        data, reset = FAULTS[fault]
        if data:
            self.transport.write(data)
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        elif reset is False:
            self.transport.close()


def serve(pipe: Any) -> None:
    """Run the server's process."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with suppress(KeyboardInterrupt):
        asyncio.run(main())


def memory() -> int:
    """Return the resident bytes of this process."""
    if Path("/proc/self/statm").exists():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0


class Sample(NamedTuple):
    memory: int
    blocks: int
    descriptors: int


def sample() -> Sample:
    gc.collect()
    return Sample(memory(), sys.getallocatedblocks(), descriptors())


class Soak:
    def __init__(
        self, client: CallsInProgressClient, chance: random.Random, options: argparse.Namespace, ledger: TextIO
    ) -> None:
        self.client = client
        self.chance = chance
        self.options = options
        self.outcomes: Counter[str] = Counter()
        self.ledger = ledger
        """A line for each request: its name, its attempts, and its responses; -1 for a cancelled request."""
        self.numbers = iter(range(options.requests))
        self.samples: list[Sample] = []

    async def worker(self) -> None:
        for number in self.numbers:
            faulty = self.chance.random() < self.options.faults
            fault = self.chance.choice(list(FAULTS)) if faulty else "good"
            await self.one(f"{number}-{fault}")
            if number % max(1, self.options.requests // 20) == 0:
                self.samples.append(sample())

    async def one(self, name: str) -> None:
        organization = Organization.advertiser(1 + self.chance.randrange(50))
        if self.chance.random() < 0.3:
            call: Any = self.client.update(organization, transaction_id=name, custom_data={"a": "b"})
        else:
            call = self.client.find(organization, transaction_id=name)
        task = asyncio.create_task(call)
        if self.chance.random() < self.options.cancellations:
            for _ in range(self.chance.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            result = await task
        except asyncio.CancelledError:
            self.outcomes["cancelled"] += 1
            self.record(name, -1, -1)
            return
        except CallsInProgressError as error:
            self.outcomes[type(error).__name__] += 1
            attempts = error.attempts
        else:
            self.outcomes["answered"] += 1
            attempts = result.attempts
        self.record(name, len(attempts), sum(attempt.status is not None for attempt in attempts))

    def record(self, name: str, made: int, answered: int) -> None:
        self.ledger.write(f"{name} {made} {answered}\n")

    def recorded(self) -> Iterator[tuple[str, int, int]]:
        self.ledger.seek(0)
        for line in self.ledger:
            name, made, answered = line.split()
            yield name, int(made), int(answered)


def problems(soak: Soak, seen: Counter[str]) -> list[str]:
    """Return a line for each wrong count."""
    return [*memory_problems(soak), *request_problems(soak, seen), *left_over(soak)]


def request_problems(soak: Soak, seen: Counter[str]) -> list[str]:
    """Find requests and tokens with a wrong count."""
    found, wrong = [], []
    names, unseen, cancelled = set(), 0, 0
    for name, made, answered in soak.recorded():
        if name in names:
            found.append(f"{name} ended twice")
        names.add(name)
        was_cancelled = made < 0
        cancelled += was_cancelled
        unseen += made - answered
        # A request can time out before its connection.
        if not answered <= seen[name] <= (ATTEMPTS if was_cancelled else made):
            wrong.append((name, made, answered, seen[name]))
    if wrong:
        found.append(f"attempts differ from requests on the wire: {wrong[:5]} of {len(wrong)}")
    if not len(names) == sum(soak.outcomes.values()) == soak.options.requests:
        found.append(f"{len(names)} requests ended, {sum(soak.outcomes.values())} outcomes")
    if unknown := set(seen) - names:
        found.append(f"{len(unknown)} unknown requests on the wire")
    # A token is taken before its request is sent. A request that ends in between has used its token.
    wire = sum(seen.values())
    (bucket,) = soak.client.rate_limits.snapshot().shared.values()
    if not wire <= bucket.granted <= wire + unseen + cancelled:
        found.append(f"{bucket.granted} tokens granted for {wire} requests on the wire")
    return found


def left_over(soak: Soak) -> list[str]:
    """Find resources still held after all requests have ended."""
    client = soak.client
    (bucket,) = client.rate_limits.snapshot().shared.values()
    connector = client._transport._opened._connector  # type: ignore[union-attr]
    left = {
        **client._pipeline.in_use(),
        "waiting": bucket.waiting,
        "in use": len(connector._acquired),  # type: ignore[union-attr]
        "tasks": len(asyncio.all_tasks()) - 1,
    }
    return [f"{count} {name} left" for name, count in left.items() if count]


def memory_problems(soak: Soak) -> list[str]:
    """Find growth after the warm-up."""
    if soak.options.requests < WARM_UP * 4:
        return []
    first, last = soak.samples[len(soak.samples) // 4], soak.samples[-1]
    found = [
        f"{name} grew from {before} to {after}"
        for name, before, after in zip(Sample._fields[:2], first, last, strict=False)
        if after > 1.05 * before
    ]
    if last.descriptors > first.descriptors + soak.options.concurrency:
        found.append(f"descriptors grew from {first.descriptors} to {last.descriptors}")
    return found


async def report_of(url: str) -> Counter[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), limit=2**30)
    writer.write(b"GET /report HTTP/1.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r")[0]))
    writer.close()
    await writer.wait_closed()
    return Counter(json.loads(body))


async def run(url: str, options: argparse.Namespace) -> dict[str, Any]:
    """Make the requests and return the report."""
    await report_of(url)  # uvloop opens a descriptor of its own at the first connection
    open_before = descriptors()
    client = CallsInProgressClient(
        token="soak-token",
        base_url=url,
        max_connections=SLOTS,
        attempt_timeout=0.25,
        retry=RetryPolicy(max_attempts=ATTEMPTS, initial=0.001, budget=10**9, organization_budget=10**9),
        rate_limit=RateLimit(rate=1e5, burst=1000),
    )
    ledger = TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 - closed with the report
    soak = Soak(client, random.Random(options.seed), options, ledger)
    started_at = time.perf_counter()
    await asyncio.gather(*(soak.worker() for _ in range(options.concurrency)))
    seconds = time.perf_counter() - started_at
    for _ in range(10):
        await asyncio.sleep(0)
    seen = await report_of(url)
    found = problems(soak, seen)
    ledger.close()
    await client.close()
    for _ in range(10):
        await asyncio.sleep(0)
    if descriptors() > open_before:
        found.append(f"{descriptors() - open_before} descriptors left after close()")
    (bucket,) = client.rate_limits.snapshot().shared.values()
    return {
        "requests": options.requests,
        "seconds": round(seconds, 1),
        "per_second": round(options.requests / seconds),
        "outcomes": dict(soak.outcomes.most_common()),
        "on_the_wire": sum(seen.values()),
        "tokens_granted": bucket.granted,
        "memory_mib": [round(each.memory / 2**20, 1) for each in soak.samples],
        "blocks": [each.blocks for each in soak.samples],
        "descriptors": [each.descriptors for each in soak.samples],
        "problems": found,
    }


def soak(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run server and client, and return the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--faults", type=float, default=0.05)
    parser.add_argument("--cancellations", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    options = parser.parse_args(arguments)
    logging.getLogger("calls_in_progress_async").setLevel(logging.ERROR)  # the faults are on purpose
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        url = f"http://127.0.0.1:{ours.recv()}"
        if options.loop == "uvloop":
            import uvloop  # noqa: PLC0415 - an extra

            return uvloop.run(run(url, options))
        return asyncio.run(run(url, options))
    finally:
        server.terminate()
        server.join()
        server.close()
        ours.close()
        theirs.close()


if __name__ == "__main__":
    report = soak()
    print(json.dumps(report, indent=1))
    sys.exit(1 if report["problems"] else 0)
