"""Fixtures that tests of all rooms share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["pooled", "session"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test through both transports: the pooled one, and the session that stands in where aiohttp differs."""
    if request.param == "session":
        monkeypatch.setattr("calls_in_progress_async.transport.pooled.is_supported", lambda: False)
    return str(request.param)
