"""The command line against a sandbox: in this process, on a terminal, or as a real program."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from calls_in_progress_async.cli.program import program
from calls_in_progress_async.sandbox import SandboxServer

TOKEN = "sandbox-token"
PROGRAM = (sys.executable, "-W", "error", "-m", "calls_in_progress_async")


@attrs.frozen
class Done:
    """The exit code and the output of a program."""

    code: int
    stdout: str
    stderr: str


@attrs.frozen
class Terminal:
    """The exit code and the output on a terminal."""

    code: int
    output: str


@attrs.define
class CommandLine:
    """Runs commands against one sandbox, which keeps responding meanwhile."""

    sandbox: SandboxServer
    environment: dict[str, str]

    async def invoke(self, *arguments: str, stdin: str | bytes | None = None, **environment: str) -> Result:
        """Run a command in this process."""
        variables: dict[str, str | None] = {**self.environment, **environment}
        return await asyncio.to_thread(CliRunner().invoke, program, arguments, input=stdin, env=variables)

    async def start(self, *arguments: str, **options: Any) -> asyncio.subprocess.Process:
        """Start a real program."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        # Without a buffer, Python drops output that a pipe does not take at once.
        environment = os.environ | self.environment | {"PYTHONUNBUFFERED": ""}
        return await asyncio.create_subprocess_exec(*PROGRAM, *arguments, env=environment, **options)

    async def finish(self, process: asyncio.subprocess.Process) -> Done:
        """Wait for a program's end."""
        async with asyncio.timeout(30):
            stdout, stderr = await process.communicate()
        assert process.returncode is not None
        return Done(process.returncode, (stdout or b"").decode(), (stderr or b"").decode())

    async def execute(self, *arguments: str) -> Done:
        """Run a real program."""
        return await self.finish(await self.start(*arguments))

    async def in_shell(self, script: str, *arguments: str) -> Done:
        """Run a real program, as ``"$@"`` of a shell's script."""
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", script, "sh", *PROGRAM, *arguments),
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return await self.finish(shell)

    async def into_closed_pipe(self, *arguments: str) -> int:
        """Run a command in this process with a closed pipe as stdout. Return the exit code."""
        return await asyncio.to_thread(_run_into_closed_pipe, self.environment, arguments)

    async def on_terminal(
        self, monkeypatch: pytest.MonkeyPatch, *arguments: str, columns: int = 110, lines: int = 30
    ) -> Terminal:
        """Run a command in this process with a terminal in place of stdout and stderr."""
        size = {"COLUMNS": str(columns), "LINES": str(lines)}
        for name, value in {**self.environment, **size, "TERM": "xterm"}.items():
            monkeypatch.setenv(name, value)
        return await asyncio.to_thread(_run_on_terminal, monkeypatch, arguments)


def _run_on_terminal(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> Terminal:
    screen, keyboard = pty.openpty()
    sent: list[bytes] = []
    reading = threading.Thread(target=_read_all, args=(screen, sent))
    reading.start()
    with open(keyboard, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        patch.setattr(sys, "stderr", terminal)
        code = program.run(arguments)
    reading.join()
    os.close(screen)
    return Terminal(code, b"".join(sent).decode())


def _run_into_closed_pipe(environment: dict[str, str], arguments: tuple[str, ...]) -> int:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as pipe, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        for name, value in environment.items():
            patch.setenv(name, value)
        return program.run(arguments)


def _read_all(screen: int, sent: list[bytes]) -> None:
    try:
        while data := os.read(screen, 65536):
            sent.append(data)
    except OSError:  # Linux: the other end is closed
        pass


@pytest.fixture(autouse=True)
def sigint() -> Iterator[None]:
    """Restore Ctrl-C, here and in child processes, in case the tests run where SIGINT is ignored (``nohup ... &``)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


Opening = Callable[..., AbstractAsyncContextManager[CommandLine]]


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Opening:
    """Open a sandbox with these settings (scripted calls only, by default) and a command line for it."""
    for name in [name for name in os.environ if name.startswith("CALLS_IN_PROGRESS_")]:
        monkeypatch.delenv(name)

    @asynccontextmanager
    async def open_command_line(**settings: Any) -> AsyncIterator[CommandLine]:
        settings = {"organizations": 3, "calls_per_organization": 0, **settings}
        async with SandboxServer(**settings) as sandbox:
            environment = {"CALLS_IN_PROGRESS_BASE_URL": sandbox.url, "CALLS_IN_PROGRESS_TOKEN": TOKEN}
            yield CommandLine(sandbox, environment)

    return open_command_line
