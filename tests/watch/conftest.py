"""A scripted server."""

from __future__ import annotations

import pytest
from watch.scripted_server import ScriptedServer


@pytest.fixture
def server() -> ScriptedServer:
    """Make a server without calls."""
    return ScriptedServer()
