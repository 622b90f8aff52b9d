"""A scripted server."""

from __future__ import annotations

import pytest
from watch.scripted_calls import ScriptedCalls


@pytest.fixture
def server() -> ScriptedCalls:
    """Make a server without calls."""
    return ScriptedCalls()
