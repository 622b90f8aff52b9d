"""Run a Python block of the documentation: a whole program, or tests for pytest."""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib.util
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sybil import Example

from calls_in_progress_async.sandbox import SandboxServer

PYTEST = ("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "pytest_calls_in_progress", "-W", "error")
MOST_SECONDS = 50.0
"""Seconds after which a block fails, before the suite's own limit stops the test without its output."""


def check_program(block: Example) -> None:
    """Check that a program exits 0 against a sandbox, and prints the output shown below it.

    Three dots stand for any text, as in doctest.
    """
    source = str(block.parsed)
    skip_without(*imported(source))
    below = re.match(r"\n\n```text\n(.*?)^```$", block.document.text[block.region.end :], re.MULTILINE | re.DOTALL)
    with TemporaryDirectory() as folder:
        command = ["-W", "error", "-c", source]
        if "def test_" in source and "print(" not in source:
            file = Path(folder, "test_program.py")
            file.write_text(source, encoding="utf-8")
            settings = ("-c", os.devnull, "--rootdir", folder, "-o", "asyncio_default_fixture_loop_scope=function")
            command = [*PYTEST, *settings, str(file)]
        output = run([sys.executable, *command])
    assert output
    assert below is None or doctest.OutputChecker().check_output(below[1], output, doctest.ELLIPSIS), output


def imported(source: str) -> Iterator[str]:
    """Name the top-level modules that a program imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.partition(".")[0]


def skip_without(*modules: str) -> None:
    """Skip the test if a module is not installed."""
    if missing := sorted({name for name in modules if importlib.util.find_spec(name) is None}):
        pytest.skip(f"not installed: {', '.join(missing)}")


def run(command: list[str], directory: Path | None = None, **environment: str) -> str:
    """Run a command beside a sandbox, check that it exits with 0, and return its output."""
    status, output = asyncio.run(_run(command, directory, environment))
    assert status == 0, output
    return output


async def _run(command: list[str], directory: Path | None, environment: dict[str, str]) -> tuple[int | None, str]:
    async with SandboxServer(organizations=10, seed=7, mean_call_seconds=20, speed=20) as sandbox:
        variables = {"CALLS_IN_PROGRESS_BASE_URL": sandbox.url, "CALLS_IN_PROGRESS_TOKEN": sandbox.token}
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env={**os.environ, **variables, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), MOST_SECONDS)
        finally:
            with suppress(ProcessLookupError):  # a hanging block, and all that it started
                os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, output.decode()
