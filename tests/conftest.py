"""What tests of all rooms share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["connections", "session"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of the transport to the wire, held to the same tests: its own connections, and an aiohttp session."""
    if request.param == "session":
        monkeypatch.setattr("calls_in_progress_async.transport.session.is_patched", lambda: True)
    return str(request.param)
