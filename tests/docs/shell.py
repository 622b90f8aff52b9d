"""Run a shell block of the documentation as it stands, with a few files beside it and some stand-ins on the PATH."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from docs.blocks import ROOT, blocks
from docs.programs import run, skip_without
from docs.stand_ins import COMMANDS
from fleet.nats_server import find_server
from sybil import Example

from calls_in_progress_async.sandbox import SandboxSettings

ACME = {"type": "advertiser", "id": 2}
RECORDING = (
    {"format": "calls-in-progress recording 1", "time": 1_800_000_000, "numbers": "hashed"},
    {"time": 1_800_000_000, "kind": "call_started", "organization": ACME, "call": {"transaction_id": "A-1"}},
)


def check_commands(block: Example) -> None:
    """Check that every command of a block exits with 0."""
    source = str(block.parsed)
    skip_unless_possible(source)
    with TemporaryDirectory() as folder:
        commands = Path(folder, ".venv", "bin")
        commands.mkdir(parents=True)
        for name in COMMANDS:
            add_stand_in(commands / name)
        (commands / "activate").touch()
        write_files(Path(folder), Path(block.path))
        run(
            ["bash", "-euo", "pipefail", "-c", source.replace("/run/secrets/invoca", "secret")],
            Path(folder),
            PATH=f"{commands}{os.pathsep}{os.environ['PATH']}",
            PYTHONPATH=os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
        )


def skip_unless_possible(source: str) -> None:
    """Skip the test if this machine lacks something that the block needs."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    if "fleet demo" in source and find_server() is None:
        pytest.skip("there is no nats-server")
    servers = {"uvicorn app": ("uvicorn", "fastapi", "httpx2"), "gunicorn app": ("gunicorn", "uvicorn_worker")}
    skip_without(*(module for name, modules in servers.items() if name in source for module in modules))


def add_stand_in(command: Path) -> None:
    """Write an executable file that stands in for a command."""
    command.write_text(f"#!{sys.executable}\nfrom docs.stand_ins import main\nmain()\n", encoding="utf-8")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)


def write_files(directory: Path, page: Path) -> None:
    """Write the files that blocks name: the first program of their page, a program of one's own, and others."""
    for program in blocks(page, "python")[:1]:
        (directory / "app.py").write_text(str(program.parsed), encoding="utf-8")
    (directory / "your_program.py").touch()
    (directory / "tuesday.jsonl").write_text("\n".join(map(json.dumps, RECORDING)), encoding="utf-8")
    (directory / "secret").write_text(SandboxSettings().token, encoding="utf-8")
