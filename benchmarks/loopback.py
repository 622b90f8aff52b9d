"""A server with canned responses in a process of its own: a raw asyncio protocol, on uvloop if installed.

    with Server(Workload(calls=1), Workload(calls=200, latency=0.05)) as urls: ...

Each workload has a port of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Self

import bodies
from attrs import asdict, frozen

_ID = re.compile(rb"[?&]id=(\d+)")
_OVERLOADED = b'{"error":"overloaded"}'


@frozen
class Workload:
    """The responses of one port."""

    calls: int = 1
    """Calls in a body."""
    latency: float = 0.0
    """Seconds before the response."""
    failing: float = 0.0
    """The share of responses with status 503."""
    changed: float = 0.0
    """The share of an organization's calls with a change from one response to the next."""


class Server:
    """Runs the server during a ``with`` block; entering returns a URL for each workload."""

    def __init__(self, *workloads: Workload) -> None:
        self._workloads = [asdict(each) for each in workloads]

    def __enter__(self) -> list[str]:
        command = [sys.executable, __file__, json.dumps(self._workloads)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return [f"http://127.0.0.1:{port}" for port in json.loads(self._process.stdout.readline())]

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


class _Responses:
    """The complete responses of one port, head and body."""

    def __init__(self, workload: Workload) -> None:
        self.latency = workload.latency
        self._every = round(1 / workload.failing) if workload.failing else 0
        self._changing = workload.changed > 0
        many = bodies.changing(workload.calls, workload.changed) if self._changing else [bodies.body(workload.calls)]
        self._good = [_whole("200 OK", body) for body in many]
        self._bad = _whole("503 Service Unavailable", _OVERLOADED)
        self._asked = 0
        self._asked_by: Counter[bytes] = Counter()

    def next(self, request: bytes) -> bytes:
        self._asked += 1
        if self._every and self._asked % self._every == 0:
            return self._bad
        if not self._changing:
            return self._good[0]
        found = _ID.search(request)
        organization = found[1] if found else b""
        self._asked_by[organization] += 1
        return self._good[self._asked_by[organization] % len(self._good)]


def _whole(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One connection. Requests have no body and come one at a time."""

    def __init__(self, responses: _Responses) -> None:
        self._responses = responses
        self._received = b""

    def connection_made(self, transport: Self) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            request, self._received = self._received[:end], self._received[end + 4 :]
            response = self._responses.next(request)
            if self._responses.latency:
                asyncio.get_running_loop().call_later(self._responses.latency, self._transport.write, response)
            else:
                self._transport.write(response)


async def _serve(workloads: list[Workload]) -> None:
    loop = asyncio.get_running_loop()
    ports = []
    for workload in workloads:
        responses = _Responses(workload)
        server = await loop.create_server(partial(_Connection, responses), "127.0.0.1", 0, backlog=4096)
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    # Serve until the parent ends, even if it is killed.
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", help='JSON: [{"calls": 200, "latency": 0.05, "failing": 0.01, "changed": 0.02}]')
    workloads = [Workload(**each) for each in json.loads(parser.parse_args().workloads)]
    run = asyncio.run
    with suppress(ImportError):
        from uvloop import run  # noqa: PLC0415 - an extra
    run(_serve(workloads))


if __name__ == "__main__":
    main()
