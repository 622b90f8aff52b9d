"""Stand-ins on the PATH for some commands of the documentation's shell blocks.

Installing needs a network, a server never ends, and the test suite would run itself. A stand-in checks the arguments,
and runs the real program where there is one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = ("calls-in-progress", "gunicorn", "nats", "nox", "pip", "pytest", "python", "python3", "uvicorn")
SHORTER = {"demo": ["--seconds", "0.5"], "fleet demo": ["--seconds", "6"]}
"""Options of commands that end by themselves, after more seconds than a test has."""
READY = re.compile(r"Ctrl-C stops it|once a NATS server responds|Application startup complete")
"""The line after which a server waits for its end."""


def main() -> None:
    """Stand in for the command that this process was started as."""
    name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    print("$", name, *arguments)
    match name:
        case "calls-in-progress":
            run_ours(arguments)
        case "python" | "python3":
            run_python(arguments)
        case "pip":
            check_requirements(arguments)
        case "nox":
            check_sessions(arguments)
        case "uvicorn":
            serve([name, *arguments, "--port", "0"], signal.SIGTERM)
        case "gunicorn":
            serve([name, *arguments, "--bind", "127.0.0.1:0"], signal.SIGTERM)


def run_ours(arguments: list[str]) -> None:
    """Run the command line; a server of it at any free port, until Ctrl-C."""
    if "CALLS_IN_PROGRESS_TOKEN_FILE" in os.environ:
        del os.environ["CALLS_IN_PROGRESS_TOKEN"]
    command = ["calls_in_progress_async", *arguments]
    if arguments[0] in ("wallboard", "replay"):
        serve([*command, "--port", "0"], signal.SIGINT)
    else:
        options = SHORTER.get(" ".join(arguments), [])
        sys.exit(subprocess.call([sys.executable, "-m", *command, *options]))


def run_python(arguments: list[str]) -> None:
    """Run Python. The environment is there already, and a benchmark takes minutes."""
    match arguments:
        case ["-m", "venv", ".venv"]:
            pass
        case [file, *_] if file.startswith("benchmarks/"):
            assert (ROOT / file).exists(), file
        case _:
            sys.exit(subprocess.call([sys.executable, *arguments]))


def check_requirements(arguments: list[str]) -> None:
    """Check that each extra exists, in the project's metadata."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert arguments[0] == "install", arguments
    for requirement in (each for each in arguments[1:] if not each.startswith("-")):
        found = re.fullmatch(r"(\.|[\w-]+)(?:\[([\w,]+)\])?", requirement)
        assert found, requirement
        if found[2]:
            assert found[1] in (".", project["name"]), requirement
            assert set(found[2].split(",")) <= set(project["optional-dependencies"]), requirement


def check_sessions(arguments: list[str]) -> None:
    """Check that each session of nox exists."""
    sessions = re.findall(r"@nox\.session.*?\ndef (\w+)", (ROOT / "noxfile.py").read_text(encoding="utf-8"))
    assert arguments[0] == "-s", arguments
    assert set(arguments[1:]) <= set(sessions), arguments


def serve(arguments: list[str], end: signal.Signals) -> None:
    """Run a server, with two workers if it has workers, until it is ready; end it, and check its exit status."""
    os.environ["WEB_CONCURRENCY"] = "2"
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    was_ready = False
    for line in process.stdout:
        print(line, end="")
        if not was_ready and READY.search(line):
            was_ready = True
            process.send_signal(end)
    assert was_ready
    assert process.wait() in (0, 128 + end, -end), process.returncode
