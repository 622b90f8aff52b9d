"""Fixtures shared by all tests."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytest_calls_in_progress", "pytester"]


@pytest.fixture(params=["pooled", "session"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test through the pool and through a session, chosen as if aiohttp lacked an internal."""
    if request.param == "session":
        monkeypatch.setattr("calls_in_progress_async.transport.pooled.is_supported", lambda: False)
    return str(request.param)
