"""Run a short soak. ``nox -s soak`` runs the long one."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_every_request_is_accounted_for(loop: str) -> None:
    """64 concurrent requests with 5 % faults and random cancellations leave nothing unaccounted for."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(SOAK), "--requests", "2000", "--cancellations", "0.1", "--loop", loop),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert err.decode() == ""
    report = json.loads(out)
    assert (report["problems"], process.returncode) == ([], 0)
    assert sum(report["outcomes"].values()) == 2000
    assert report["outcomes"]["cancelled"] > 20
    assert report["on_the_wire"] > 2000 - report["outcomes"]["cancelled"]
