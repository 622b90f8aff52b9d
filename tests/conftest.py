"""Fixtures shared by all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A property holds on a slow machine too: neither an example nor the making of one has a time limit.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest_plugins = ["pytest_calls_in_progress", "pytester"]


@pytest.fixture(params=["pooled", "session"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test through the pool and through a session, chosen as if aiohttp lacked an internal."""
    if request.param == "session":
        monkeypatch.setattr("calls_in_progress_async.transport.pooled.is_supported", lambda: False)
    return str(request.param)
