"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import inspect
import os

import pytest
from hypothesis import HealthCheck, settings
from raw_server import TOKEN

from calls_in_progress_async.sandbox.api import Request, Response
from calls_in_progress_async.sandbox.handler import RequestHandler
from calls_in_progress_async.testing import PrivacyCheck
from calls_in_progress_async.testing.fixture_sandbox import private_values_in

# A property holds on a slow machine too: neither an example nor the making of one has a time limit.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest_plugins = ["pytest_calls_in_progress", "pytester"]


def pytest_xdist_auto_num_workers() -> int:
    """Run at least four tests at once: those of the fleet wait for clocks, servers and processes most of the time."""
    return max(4, os.cpu_count() or 1)


def pytest_collection_finish() -> None:
    """Let each later garbage collection look at the objects of tests only, not at thousands of modules and tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["pooled", "session"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test through the pool and through a session, chosen as if aiohttp lacked an internal."""
    if request.param == "session":
        monkeypatch.setattr("calls_in_progress_async.transport.pooled.is_supported", lambda: False)
    return str(request.param)


@pytest.fixture
def on_virtual_clock(request: pytest.FixtureRequest) -> None:
    """Run asynchronous tests of a module on the kit's clock; the others have no loop."""
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("calls_in_progress_clock")


SHOWN = {
    "test_a_killed_process_goes_on_from_its_file": "the process keeps the events of calls in a file of its own",
    "test_a_token_from_a_file": "the file holds the token",
    "test_a_day_is_served_again": "a sandbox serves the numbers of a recording",
    "test_a_replay_starts_at_any_moment": "a sandbox serves the numbers of a recording",
    "test_a_recording_is_private_unless_asked_otherwise": "a plain recording is asked for",
}
"""Tests with private values in their output or files, and the reasons."""


@pytest.fixture(autouse=True)
def everything_is_private(
    request: pytest.FixtureRequest, assert_private: PrivacyCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run every test under the kit's check: no token, and no caller of a sandbox, leaks."""
    if request.node.name.partition("[")[0] in SHOWN:
        return
    assert_private.mark(TOKEN)
    respond = RequestHandler._respond

    def respond_and_mark(handler: RequestHandler, request: Request) -> Response:
        response = respond(handler, request)
        assert_private.mark(handler._settings.token, *private_values_in(response.body))
        return response

    monkeypatch.setattr(RequestHandler, "_respond", respond_and_mark)
