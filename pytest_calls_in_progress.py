"""The pytest plugin: fixtures for programs that use calls_in_progress_async.

The plugin is outside the package, so that a pytest run without these fixtures imports neither the package nor aiohttp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from calls_in_progress_async import CallsInProgressClient
    from calls_in_progress_async.testing.fixture_sandbox import FixtureSandbox
    from calls_in_progress_async.testing.privacy import PrivacyCheck
    from calls_in_progress_async.testing.virtual_clock import VirtualClock

_MARKERS = (
    "calls_in_progress_sandbox(**settings): settings of the sandbox, such as organizations=3",
    "calls_in_progress_client(**settings): settings of the client, such as timeout=5",
    "calls_in_progress_clock(seed=0): the seed of the package's random numbers",
)
_output_observers: list[Callable[[str, str], None]] = []
"""Called with the captured stdout and stderr of a test's body."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Pass on the captured output of a test's body, before its fixtures are torn down."""
    if report.when == "call":
        for observe in _output_observers:
            observe(report.capstdout, report.capstderr)


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


@pytest.fixture
def assert_private(request: pytest.FixtureRequest) -> Iterator[PrivacyCheck]:
    """A check after the test: logs, spans, warnings, output and files hold nothing private of the sandbox."""
    from calls_in_progress_async.testing import fixtures  # noqa: PLC0415

    yield from fixtures.assert_private(request, _output_observers)
