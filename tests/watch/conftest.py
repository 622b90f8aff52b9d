"""A server whose responses a test sets."""

from __future__ import annotations

import pytest
from watch.scripted_server import ScriptedServer


@pytest.fixture
def server() -> ScriptedServer:
    """Make a server without calls."""
    return ScriptedServer()
