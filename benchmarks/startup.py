"""Measure the import, the first request, their memory, and the modules imported for them.

    python benchmarks/startup.py [--quick] [--json FILE]

Every figure comes from a fresh process, and contenders take turns. The script reports targets and asserts nothing.
"""

from __future__ import annotations

import compileall
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loopback import Server, Workload
from measuring import Table, Verdict, command_line, finish, interleave

import calls_in_progress_async

HEAVY = ("phonenumbers", "rich", "click", "pydantic", "redis", "opentelemetry", "calls_in_progress_async.sandbox",
         "calls_in_progress_async.cli", "aiohttp.web")  # fmt: skip
OURS, AIOHTTP = "import calls_in_progress_async", "import aiohttp"

_IMPORT = """
import sys, time
start = time.perf_counter()
{statement}
took = time.perf_counter() - start
import json, psutil
memory = psutil.Process().memory_info().rss
print(json.dumps({{"seconds": took, "memory": memory, "heavy": [name for name in {heavy!r} if name in sys.modules]}}))
"""

_FIRST_REQUEST = {
    "ours": """
import asyncio, json, psutil, time
from calls_in_progress_async import CallsInProgressClient, Organization, RateLimit

async def main():
    start = time.perf_counter()
    async with CallsInProgressClient(token="token", base_url={url!r}, rate_limit=RateLimit(rate=1000)) as client:
        await client.find(Organization.advertiser(25))
        took = time.perf_counter() - start
        print(json.dumps({{"seconds": took, "memory": psutil.Process().memory_info().rss}}))

asyncio.run(main())
""",
    "plain aiohttp": """
import asyncio, json, psutil, time
import aiohttp

async def main():
    start = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        async with session.get({url!r} + "/calls.json", headers={{"Authorization": "token"}}) as response:
            json.loads(await response.read())
        took = time.perf_counter() - start
        print(json.dumps({{"seconds": took, "memory": psutil.Process().memory_info().rss}}))

asyncio.run(main())
""",
}


def in_fresh_process(program: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def imports(quick: bool) -> Iterator[Table]:
    time = Table("Import", "ms")
    memory = Table("Memory after the import", "MB")
    heavy: set[str] = set()

    def note(name: str, figures: dict[str, Any]) -> None:
        time.add(name, "", figures["seconds"] * 1000)
        memory.add(name, "", figures["memory"] / 1e6)
        if name == OURS:
            heavy.update(figures["heavy"])

    statements = {
        statement: (lambda statement=statement: in_fresh_process(_IMPORT.format(statement=statement, heavy=HEAVY)))
        for statement in (AIOHTTP, OURS, "import aiohttp, attrs, cattrs, msgspec, tenacity")
    }
    interleave(3 if quick else 21, statements, note)
    time.judge("ours / aiohttp", OURS, AIOHTTP, 1.25)
    time.verdicts.append(Verdict(f"heavy modules imported{f' ({sorted(heavy)})' * bool(heavy)}", len(heavy), 0))
    yield time
    yield memory


def first_request(quick: bool) -> Iterator[Table]:
    time = Table("First request: client, connection and response", "ms")
    memory = Table("Memory after the first request", "MB")

    def note(name: str, figures: dict[str, Any]) -> None:
        time.add(name, "", figures["seconds"] * 1000)
        memory.add(name, "", figures["memory"] / 1e6)

    with Server(Workload()) as (url,):
        programs = {
            name: (lambda program=program: in_fresh_process(program.format(url=url)))
            for name, program in _FIRST_REQUEST.items()
        }
        interleave(3 if quick else 21, programs, note)
    yield time
    yield memory


def tables(quick: bool) -> Iterator[Table]:
    # Compile first, like an installer. Otherwise each import compiles again if Python cannot write its cache.
    compileall.compile_dir(Path(calls_in_progress_async.__file__).parent, quiet=1)
    yield from imports(quick)
    yield from first_request(quick)


if __name__ == "__main__":
    options = command_line(__doc__)
    finish(tables(options.quick), options)
