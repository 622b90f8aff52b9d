"""Run every program and every shell block of the README and the documentation, each as a test of its own."""

from __future__ import annotations

import signal

from docs.programs import check_program
from docs.shell import check_commands
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser

pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", check_program), CodeBlockParser("sh", check_commands)], patterns=["*.md"]
).pytest()


def pytest_configure() -> None:
    """Let Ctrl-C end the programs under test, even if a shell has it ignored for this process, as ``nohup ... &``."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
