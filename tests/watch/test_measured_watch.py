"""Run the benchmark of watching many organizations for a second, with few of them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "watch_many.py"


async def test_the_watch_agrees_with_the_sandbox(tmp_path: Path) -> None:
    """Every event is in the sandbox's log, and the script writes its figures."""
    figures = tmp_path / "figures"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), "--organizations", "5", "--interval", "0.2", "--seconds", "1"),
        *("--call-seconds", "3", "--json", str(figures)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert (err.decode(), process.returncode) == ("", 0)
    found = json.loads(figures.read_text())
    assert sum(found["faults"].values()) == 0
    assert found["events"]["started"] > 25
    assert found["throttled"] == 0
