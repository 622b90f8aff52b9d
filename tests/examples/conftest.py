"""The examples are stopped with signals."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def signals() -> None:
    """Skip a test on Windows, which has no SIGTERM to handle."""
    if sys.platform == "win32":
        pytest.skip("the examples are stopped with signals, which Windows lacks")
