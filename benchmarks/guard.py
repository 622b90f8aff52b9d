"""Compare what the hot paths cost in the working tree with the merge base: memory, and instructions under valgrind.

    python benchmarks/guard.py [--base REF] [PATH ...]

Each path runs in a process of its own. Memory is the number of blocks of one kept result. Instructions are
callgrind's count, without the interpreter's start; they are left out if valgrind is not installed. Unlike seconds,
both are nearly the same in every run, so a change beyond the tolerance has a cause in the code. Exits 1 if a path
became more expensive than `TOLERANCE` allows.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bodies

from calls_in_progress_async import CallsInProgressClient, Organization, RateLimit, WireRequest, WireResponse

ROOT = Path(__file__).parents[1]
TOLERANCE = 0.25
"""The share by which a path may become more expensive: new dependencies and memory layouts stay below it."""
SLACK = {"blocks": 4, "instructions": 0}
"""Absolute amounts added to the limit, because 25 % of a few blocks is less than one object."""
COUNT = 300
"""Repetitions of a path."""
ORGANIZATION = Organization.advertiser(25)


class InMemory:
    """A transport without a network; every response has the same body."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.requests = 0

    async def send(self, request: WireRequest, token: str, state: Any) -> WireResponse:
        """Return a copy of the body, because a network never returns the same object twice."""
        self.requests += 1
        await asyncio.sleep(0)
        return WireResponse(200, {}, bytes(bytearray(self._body)))

    async def close(self) -> None:
        """Do nothing: there is no connection."""


def make_client(calls: int) -> tuple[CallsInProgressClient, InMemory]:
    """Make a client and its transport; every response has ``calls`` calls."""
    transport = InMemory(bodies.body(calls))
    return CallsInProgressClient(token="token", transport=transport, rate_limit=RateLimit(rate=1e9)), transport


async def find(count: int, calls: int) -> list[Any]:
    """Find calls and keep every result."""
    client, _ = make_client(calls)
    async with client:
        return [await client.find(ORGANIZATION) for _ in range(count)]


async def read(count: int) -> list[Any]:
    """Find 20 calls, read their custom data, and keep every result."""
    kept = await find(count, 20)
    for calls in kept:
        for call in calls:
            call.custom_value("channel")
    return kept


async def update(count: int) -> list[Any]:
    """Update one call again and again."""
    client, _ = make_client(1)
    async with client:
        return [
            await client.update(ORGANIZATION, transaction_id="A-1", custom_data={"a": str(number)})
            for number in range(count)
        ]


async def poll(count: int) -> list[Any]:
    """Watch an organization with 20 unchanging calls for about ``count`` polls."""
    client, transport = make_client(20)
    async with client, client.watch([ORGANIZATION], interval=0.0005):
        while transport.requests < count:
            await asyncio.sleep(0.0005)
    return []


PATHS: dict[str, Callable[[int], Awaitable[list[Any]]]] = {
    "find, 1 call": lambda count: find(count, 1),
    "find, 20 calls": lambda count: find(count, 20),
    "find, 20 calls, custom data read": read,
    "update": update,
    "poll, 20 calls, nothing changed": poll,
}


def run_path(name: str, count: int) -> None:
    """Run one path in this process and print the memory blocks of one kept result."""
    asyncio.run(PATHS[name](20))  # fills the caches
    gc.collect()
    before = sys.getallocatedblocks()
    kept = asyncio.run(PATHS[name](count))
    gc.collect()
    print(json.dumps({"blocks": round((sys.getallocatedblocks() - before) / max(count, 1)), "kept": len(kept)}))


def measure(tree: Path, name: str) -> dict[str, int] | None:
    """Measure one path of the package in ``tree``; None if this version of the package cannot run the path."""
    command = [sys.executable, __file__, "--run", name, "--count"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, str(COUNT)], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        print(f"{name}: skipped in {tree}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    found = {"blocks": int(json.loads(done.stdout)["blocks"])}
    if shutil.which("valgrind"):
        with ThreadPoolExecutor() as pool:
            few, many = pool.map(lambda count: instructions([*command, str(count)], environment), (0, COUNT))
        found["instructions"] = (many - few) // COUNT
    return found


def instructions(command: list[str], environment: dict[str, str]) -> int:
    """Count the instructions of a whole process."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run([*valgrind, *command], capture_output=True, text=True, env=environment, check=True)
    (collected,) = re.findall(r"Collected : (\d+)", done.stderr)
    return int(collected)


def unpack(reference: str, directory: Path) -> None:
    """Write the package of a commit into a directory."""
    archive = subprocess.run(
        ["git", "archive", reference, "calls_in_progress_async"], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(directory, filter="data")


def git(*arguments: str) -> str:
    """Run a git command and return its output."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def base_of(reference: str) -> str:
    """Return the merge base with ``reference``, or the commit before HEAD if HEAD is the merge base."""
    base, head = git("merge-base", reference, "HEAD"), git("rev-parse", "HEAD")
    is_clean = not git("status", "--porcelain", "--", "calls_in_progress_async")
    return git("rev-parse", "HEAD~1") if base == head and is_clean else base


def failures(before: Path, now: Path, names: Iterable[str]) -> Iterator[str]:
    """Compare each path in both trees; print the figures and yield a line for each failure."""
    for name in names:
        was, is_now = measure(before, name), measure(now, name)
        if is_now is None:
            yield f"{name}: does not run in the working tree"
            continue
        for unit, figure in is_now.items():
            if was is None:
                print(f"{name}: {figure:,} {unit}, nothing to compare with")
                continue
            print(f"{name}: {figure:,} {unit}, {was[unit]:,} in the base")
            if figure > was[unit] * (1 + TOLERANCE) + SLACK[unit]:
                yield f"{name}: {figure:,} {unit}, at most {was[unit]:,} + {TOLERANCE:.0%} expected"


def main() -> int:
    """Compare the trees, or run one path for the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="PATH", help=f"any of {'; '.join(PATHS)}. All by default")
    parser.add_argument("--base", default="main", metavar="REF", help="branch to find the merge base with")
    parser.add_argument("--run", choices=sorted(PATHS), help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=COUNT, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - set(PATHS):
        parser.error(f"PATH must be one of {'; '.join(PATHS)}, got {', '.join(sorted(unknown))}")
    if options.run:
        run_path(options.run, options.count)
        return 0
    with tempfile.TemporaryDirectory() as directory:
        unpack(base_of(options.base), Path(directory))
        found = list(failures(Path(directory), ROOT, options.names or PATHS))
    print("\n".join(found) or "No path became more expensive than allowed.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
