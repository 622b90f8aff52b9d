"""Examples as a user runs them: processes of their own, with warnings as errors."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
MOST_SECONDS = 30.0
"""Seconds after which a test stops to wait for a process, and fails."""


@asynccontextmanager
async def running(
    program: str, *arguments: str | Path, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an example, and kill it at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-u", EXAMPLES / program, *arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        output, _ = await process.communicate()
        print(f"{program}: {output.decode()}")  # for a failing test's report


async def finish(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Wait for the end of a process; return its exit status and the rest of its output."""
    output, _ = await asyncio.wait_for(process.communicate(), MOST_SECONDS)
    return process.returncode, output.decode()


async def read_until(process: asyncio.subprocess.Process, text: str) -> str:
    """Read the output up to a line with a text, and return the line."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(MOST_SECONDS):
        while line := (await process.stdout.readline()).decode():
            if text in line:
                return line
            lines.append(line)
    raise AssertionError(f"the process ended without {text!r}: {''.join(lines)}")


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(MOST_SECONDS):
        while not holds():
            await asyncio.sleep(0.02)
