"""The pytest plugin: fixtures for programs that use calls_in_progress_async.

The plugin is outside the package, so that a pytest run without these fixtures imports neither the package nor aiohttp.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from calls_in_progress_async import CallsInProgressClient
    from calls_in_progress_async.testing.fixture_sandbox import FixtureSandbox
    from calls_in_progress_async.testing.virtual_clock import VirtualClock

_MARKERS = (
    "calls_in_progress_sandbox(**settings): settings of the sandbox, such as organizations=3",
    "calls_in_progress_client(**settings): settings of the client, such as timeout=5",
    "calls_in_progress_clock(seed=0): the seed of the package's random numbers",
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture
def calls_in_progress_sandbox(request: pytest.FixtureRequest) -> Iterator[FixtureSandbox]:
    """A sandbox that listens on loopback while the test's body runs: 10 organizations, scripted calls only."""
    from calls_in_progress_async.testing import fixtures  # noqa: PLC0415 - only tests with a fixture import the package

    yield from fixtures.sandbox(request)


@pytest.fixture
def calls_in_progress_client(
    request: pytest.FixtureRequest, calls_in_progress_sandbox: FixtureSandbox
) -> Iterator[CallsInProgressClient]:
    """A client of the sandbox, open while the test's body runs."""
    from calls_in_progress_async.testing import fixtures  # noqa: PLC0415

    yield from fixtures.client(request, calls_in_progress_sandbox)


@pytest.fixture
def calls_in_progress_clock(request: pytest.FixtureRequest) -> Iterator[VirtualClock]:
    """The event loop's clock while the test's body runs: it jumps to the next timer, so waiting takes no time."""
    from calls_in_progress_async.testing import fixtures  # noqa: PLC0415

    yield from fixtures.virtual_clock(request)
