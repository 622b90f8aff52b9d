"""The hot paths cost no more than they did: counted in instructions, calls and memory blocks, not in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNTING = Path(__file__).with_name("counting.py")
RENEW = f"python {COUNTING.relative_to(Path(__file__).parents[2])} --renew"
STORED = json.loads(COUNTING.with_name("counts.json").read_text())
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TOLERANCE = 0.05
"""Dependencies and patch versions of Python change a little; what is worth a test changes more."""
PATHS = sorted(STORED.get(PYTHON, {}))


@pytest.fixture(scope="module")
def counts() -> dict[str, dict[str, int]]:
    """Counted in a process of its own, where no test and no coverage tool has left anything behind."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run([sys.executable, str(COUNTING)], capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("measure", ["instructions", "calls", "blocks"])
@pytest.mark.parametrize("path", PATHS)
def test_a_hot_path_costs_no_more_than_it_did(counts, path, measure):
    """More than the tolerance above the stored count is a regression, or a price to accept by renewing the counts."""
    before, now = STORED[PYTHON][path][measure], counts[path][measure]
    limit = before * (1 + TOLERANCE) + 2
    assert now <= limit, f"{path}: {now} {measure}, {before} before. If that is what it is to cost: {RENEW}"


@pytest.mark.parametrize("path", PATHS)
def test_what_is_saved_is_written_down(counts, path):
    """A path that got cheaper by a fifth has its count renewed, so that it cannot creep back."""
    before, now = STORED[PYTHON][path]["instructions"], counts[path]["instructions"]
    assert now >= before * 0.8 - 2, f"{path}: {now} instructions, {before} before. Keep the gain: {RENEW}"


@pytest.mark.skipif(not PATHS, reason=f"no counts are stored for Python {PYTHON}")
def test_every_hot_path_has_a_stored_count(counts):
    """A path that is added is guarded from the beginning."""
    assert sorted(counts) == PATHS
