"""Count what the hot paths cost in instructions, calls and memory blocks: unlike seconds, the same in every run.

    python tests/guard/counting.py            print the counts
    python tests/guard/counting.py --renew    store them for this Python, beside this file

Only the package's own code counts, and what attrs generates for it, so that another version of a dependency changes
little.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))

from calls_in_progress_async import Call, CallsInProgressClient, CurrentCallsRequest, Organization, RateLimit
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.limits.token_bucket import TokenBucket
from calls_in_progress_async.records.results import structure_calls
from calls_in_progress_async.transport.pooled import Connections
from calls_in_progress_async.watch import listing

STORED = Path(__file__).with_name("counts.json")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
EXAMPLE = Path(__file__).parents[1] / "data" / "2024-02" / "get_calls_in_progress.response-200.json"
ORGANIZATION = Organization.advertiser(25)
KEPT = 200
"""Results that are held at once to count the memory blocks of one."""


def body_of(count: int) -> bytes:
    """A body of so many calls, each with another id."""
    example = json.loads(EXAMPLE.read_text())["current_calls"][0]
    calls = [{**example, "transaction_id": f"ABCD-{number:04}"} for number in range(count)]
    return json.dumps({"current_calls": calls}, separators=(",", ":")).encode()


def connect_in_memory(body: bytes) -> Callable[..., Awaitable[Any]]:
    """`Connections._take`, without a network."""
    head = SimpleNamespace(code=200, headers={}, chunked=False)
    transport = mock.NonCallableMock()
    transport.write = transport.set_protocol = lambda _: None

    async def read() -> Any:
        return head, SimpleNamespace(is_eof=lambda: True, read_nowait=iter((body, b"")).__next__)

    handler = SimpleNamespace(should_close=False, set_response_params=lambda **_: None, read=read)
    connection = SimpleNamespace(transport=transport, protocol=handler, release=lambda: None)

    async def connect(connections: Connections, *_: object) -> Any:
        connections._guards.setdefault(transport, None)  # type: ignore[arg-type]
        return connection

    return connect


def _ours(code: CodeType) -> bool:
    return "/calls_in_progress_async/" in code.co_filename or code.co_filename.startswith("<attrs generated")


@contextmanager
def traced() -> Iterator[Counter[str]]:
    """Count by `sys.settrace`: up to Python 3.11."""
    counts: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if event == "call" and not _ours(frame.f_code):
            return None
        counts[event] += 1
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return trace

    sys.settrace(trace)
    try:
        yield counts
    finally:
        sys.settrace(None)


@contextmanager
def monitored() -> Iterator[Counter[str]]:
    """Count by `sys.monitoring`: from Python 3.12 on, whose `sys.settrace` misses instructions."""
    monitoring = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    counts: Counter[str] = Counter()
    events = {
        monitoring.events.PY_START: "call",
        monitoring.events.PY_RESUME: "call",
        monitoring.events.INSTRUCTION: "opcode",
    }

    def counter(event: str) -> Callable[[CodeType, int], object]:
        def note(code: CodeType, _: int) -> object:
            if not _ours(code):
                return monitoring.DISABLE
            counts[event] += 1
            return None

        return note

    monitoring.use_tool_id(monitoring.PROFILER_ID, "guard")
    for event, name in events.items():
        monitoring.register_callback(monitoring.PROFILER_ID, event, counter(name))
    monitoring.set_events(monitoring.PROFILER_ID, sum(events))
    try:
        yield counts
    finally:
        monitoring.set_events(monitoring.PROFILER_ID, 0)
        monitoring.free_tool_id(monitoring.PROFILER_ID)


async def count(operation: Callable[[], Awaitable[object]]) -> dict[str, int]:
    """Count the instructions and calls of one operation, and the blocks that its result keeps."""
    for _ in range(3):
        await operation()  # fills the caches
    with monitored() if sys.version_info >= (3, 12) else traced() as counts:
        await operation()
    return {"instructions": counts["opcode"], "calls": counts["call"], "blocks": await _blocks(operation)}


async def _blocks(operation: Callable[[], Awaitable[object]]) -> int:
    kept: list[object] = [None] * KEPT
    gc.collect()
    before = sys.getallocatedblocks()
    for index in range(KEPT):
        kept[index] = await operation()
    gc.collect()
    return round((sys.getallocatedblocks() - before) / KEPT)


async def operations() -> AsyncIterator[tuple[str, Callable[[], Awaitable[object]]]]:
    """The hot paths."""
    one, twenty = body_of(1), body_of(20)
    request, wire_format = CurrentCallsRequest(organization=ORGANIZATION), WireFormat()
    bucket = TokenBucket(rate=1e9, burst=1e9)
    last = listing.read(twenty, None, strict=False)
    call = structure_calls(one, strict=False)[0][0]

    def plain(work: Callable[[], object]) -> Callable[[], Awaitable[object]]:
        async def operation() -> object:
            return work()

        return operation

    yield "wire", plain(lambda: request.wire(wire_format))
    yield "structure, 1 call", plain(lambda: structure_calls(one, strict=False))
    yield "structure, 20 calls", plain(lambda: structure_calls(twenty, strict=False))
    yield "custom data", plain(lambda: Call.from_payload(call.raw_json).custom_data)
    yield "try_acquire", plain(bucket.try_acquire)
    yield "acquire", bucket.acquire
    yield "poll, nothing changed, 20 calls", plain(lambda: listing.read(bytes(bytearray(twenty)), last, strict=False))
    with mock.patch.object(Connections, "_take", connect_in_memory(one)):
        async with CallsInProgressClient(token="token", rate_limit=RateLimit(rate=1e9)) as client:
            yield "find, 1 call", lambda: client.find(ORGANIZATION)


async def count_all() -> dict[str, dict[str, int]]:
    """The counts of every hot path."""
    return {name: await count(operation) async for name, operation in operations()}


def main() -> None:
    """Print the counts, or store them."""
    counts = asyncio.run(count_all())
    if "--renew" in sys.argv:
        stored = json.loads(STORED.read_text()) if STORED.exists() else {}
        STORED.write_text(json.dumps({**stored, PYTHON: counts}, indent=2, sort_keys=True) + "\n")
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
