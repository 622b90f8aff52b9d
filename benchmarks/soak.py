"""Many requests at once with faults and cancellations: each accounted for exactly once, nothing lost, nothing kept.

    python benchmarks/soak.py [--requests 200000] [--concurrency 64] [--faults 0.05] [--loop asyncio|uvloop]

The server is one of raw sockets in a process of its own. Every request is told what to become by its transaction id,
and the server counts what it saw of each. Exits 1 where anything does not add up.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import random
import resource
import socket
import struct
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

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
"""max_connections of the client."""


class Server(asyncio.Protocol):
    """Answers by the transaction id: ``<number>-<fault of the first attempt>``; any later attempt is answered well."""

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
            self.answer(head.partition("transaction_id=")[2].split(" ", 1)[0])

    def answer(self, name: str) -> None:
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
    """The server's process."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with suppress(KeyboardInterrupt):
        asyncio.run(main())


def memory() -> int:
    """Resident bytes now."""
    if Path("/proc/self/statm").exists():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0


class Soak:
    def __init__(self, client: CallsInProgressClient, chance: random.Random, options: argparse.Namespace) -> None:
        self.client = client
        self.chance = chance
        self.options = options
        self.outcomes: Counter[str] = Counter()
        self.attempts: dict[str, tuple[int, int]] = {}
        """Of each request that ended by itself: how many attempts it says it made, and how many had an answer."""
        self.cancelled: set[str] = set()
        self.numbers = iter(range(options.requests))
        self.samples: list[tuple[int, int]] = []

    async def worker(self) -> None:
        for number in self.numbers:
            faulty = self.chance.random() < self.options.faults
            fault = self.chance.choice(list(FAULTS)) if faulty else "good"
            await self.one(f"{number}-{fault}")
            if number % max(1, self.options.requests // 20) == 0:
                gc.collect()
                self.samples.append((memory(), descriptors()))

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
            self.cancelled.add(name)
            return
        except CallsInProgressError as error:
            self.outcomes[type(error).__name__] += 1
            attempts = error.attempts
        else:
            self.outcomes["answered"] += 1
            attempts = result.attempts
        self.attempts[name] = len(attempts), sum(attempt.status is not None for attempt in attempts)


def problems(soak: Soak, seen: Counter[str]) -> list[str]:
    """What does not add up."""
    found = []
    options, client = soak.options, soak.client
    if (total := sum(soak.outcomes.values())) != options.requests:
        found.append(f"{total} outcomes of {options.requests} requests")
    # One that timed out may have done so before it was connected.
    wrong = {
        name: (made, answered, seen[name])
        for name, (made, answered) in soak.attempts.items()
        if not answered <= seen[name] <= made
    }
    if wrong:
        found.append(f"attempts that are not what was on the wire: {dict(list(wrong.items())[:5])} of {len(wrong)}")
    if unknown := set(seen) - set(soak.attempts) - soak.cancelled:
        found.append(f"{len(unknown)} requests on the wire that nobody made")
    if often := [name for name in soak.cancelled if seen[name] > ATTEMPTS]:
        found.append(f"{len(often)} cancelled requests were sent more than {ATTEMPTS} times")
    (bucket,) = client._limiter.snapshot().shared.values()
    # A token is taken before its request is on the wire; one that ends between the two has used it all the same.
    wire = sum(seen.values())
    unseen = sum(made - answered for made, answered in soak.attempts.values())
    if not wire <= bucket.granted <= wire + unseen + len(soak.cancelled):
        found.append(f"{bucket.granted} tokens granted for {wire} requests on the wire")
    delivery, connector = client._delivery, client._transport._own.connector  # type: ignore[union-attr]
    left = {
        "running": delivery._running,
        "scopes": len(delivery._scopes._due),
        "slots": SLOTS - delivery._slots._value,
        "turns": len(delivery._turns._queues),
        "waiting": bucket.waiting,
        "in use": len(connector._acquired),  # type: ignore[union-attr]
        "tasks": len(asyncio.all_tasks()) - 1,
    }
    found += [f"{count} {name} left" for name, count in left.items() if count]
    settled = soak.samples[len(soak.samples) // 4 :]
    if len(settled) > 4:
        first, last = settled[0], settled[-1]
        # This program's own account grows by some 250 bytes a request.
        grown = last[0] - first[0] - 250 * options.requests * 3 // 4
        if grown > 0.05 * first[0]:
            found.append(f"memory grew from {first[0] >> 20} to {last[0] >> 20} MiB")
        if last[1] > first[1] + options.concurrency:
            found.append(f"descriptors grew from {first[1]} to {last[1]}")
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
    """Make the requests and return what came of them."""
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
    soak = Soak(client, random.Random(options.seed), options)
    began = time.perf_counter()
    await asyncio.gather(*(soak.worker() for _ in range(options.concurrency)))
    seconds = time.perf_counter() - began
    for _ in range(10):
        await asyncio.sleep(0)
    seen = await report_of(url)
    found = problems(soak, seen)
    await client.close()
    for _ in range(10):
        await asyncio.sleep(0)
    if descriptors() > open_before:
        found.append(f"{descriptors() - open_before} descriptors left after close()")
    (bucket,) = client._limiter.snapshot().shared.values()
    return {
        "requests": options.requests,
        "seconds": round(seconds, 1),
        "per_second": round(options.requests / seconds),
        "outcomes": dict(soak.outcomes.most_common()),
        "on_the_wire": sum(seen.values()),
        "tokens_granted": bucket.granted,
        "memory_mib": [sample[0] >> 20 for sample in soak.samples],
        "descriptors": [sample[1] for sample in soak.samples],
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
