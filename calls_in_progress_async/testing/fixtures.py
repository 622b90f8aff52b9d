"""The fixtures' work. The pytest plugin imports this module when a test first asks for a fixture."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from .. import clock
from ..client import CallsInProgressClient
from .fixture_sandbox import FixtureSandbox
from .privacy import PrivacyCheck
from .virtual_clock import VirtualClock

Surroundings = Callable[[], AbstractAsyncContextManager[Any]]

_CLOCK, _SANDBOX, _CLIENT = range(3)
"""The order of entering: a sandbox and a client live on the clock, and a client needs its sandbox."""
_surroundings = pytest.StashKey[dict[int, Surroundings]]()


def sandbox(request: pytest.FixtureRequest) -> Iterator[FixtureSandbox]:
    """Make a sandbox, and let it listen while the test's body runs."""
    server = FixtureSandbox(**_settings(request, "calls_in_progress_sandbox"))
    _surround(request, _SANDBOX, lambda: server)
    yield server


def client(request: pytest.FixtureRequest, server: FixtureSandbox) -> Iterator[CallsInProgressClient]:
    """Make a client, and close it after the test's body."""
    settings = {"token": server.token, "base_url": server.url, **_settings(request, "calls_in_progress_client")}
    made = CallsInProgressClient(**settings)
    _surround(request, _CLIENT, lambda: made)
    yield made


def virtual_clock(request: pytest.FixtureRequest) -> Iterator[VirtualClock]:
    """Make a clock, and replace the event loop's by it while the test's body runs."""
    randomness = clock.randomness
    virtual = VirtualClock()
    virtual.seed(_settings(request, "calls_in_progress_clock").get("seed", 0))

    @asynccontextmanager
    async def attached() -> AsyncIterator[None]:
        with virtual.attached(asyncio.get_running_loop()):
            yield

    _surround(request, _CLOCK, attached)
    yield virtual
    clock.randomness = randomness


_CAPTURES = ("capsys", "capfd", "capsysbinary", "capfdbinary")
_OBSERVED = (*_CAPTURES, "tmp_path", "calls_in_progress_sandbox")
"""Fixtures to set up before the check, so that they outlive the check."""


def assert_private(
    request: pytest.FixtureRequest, output_observers: list[Callable[[str, str], None]]
) -> Iterator[PrivacyCheck]:
    """Let a check observe the test, and fail the test afterwards if anything private has leaked."""
    used = {name: request.getfixturevalue(name) for name in _OBSERVED if name in request.fixturenames}
    check = PrivacyCheck()
    captures = [used[name] for name in _CAPTURES if name in used]
    for capture in captures:
        _observe_reading(capture, check.look_at_output)
    output_observers.append(check.look_at_output)
    try:
        with check.observing():
            yield check
    finally:
        output_observers.remove(check.look_at_output)
    for capture in captures:
        capture.readouterr()
    if "tmp_path" in used:
        check.look_at_files(used["tmp_path"])
    if "calls_in_progress_sandbox" in used:
        check.mark(*used["calls_in_progress_sandbox"].private_values())
    check.check()


def _observe_reading(capture: Any, observe: Callable[[Any, Any], None]) -> None:
    """Show the output to an observer each time a fixture of pytest's hands the output out."""
    read = capture.readouterr

    def readouterr() -> Any:
        result = read()
        observe(result.out, result.err)
        return result

    capture.readouterr = readouterr


def _settings(request: pytest.FixtureRequest, marker: str) -> dict[str, Any]:
    """Return the settings of a test's markers; the closest marker wins."""
    settings: dict[str, Any] = {}
    for each in reversed([*request.node.iter_markers(marker)]):
        settings.update(each.kwargs)
    return settings


def _surround(request: pytest.FixtureRequest, place: int, enter: Surroundings) -> None:
    """Enter something around the test's body, in the event loop of the body.

    The fixtures themselves are synchronous, so they work under every plugin that runs asynchronous tests.
    """
    item = request.node
    if _surroundings in item.stash:
        item.stash[_surroundings][place] = enter
        return
    body = item.obj
    if not inspect.iscoroutinefunction(body):
        pytest.fail(f"{request.fixturename} needs an asynchronous test: write `async def {item.name}`", pytrace=False)
    surroundings = item.stash[_surroundings] = {place: enter}

    @functools.wraps(body)
    async def surrounded(*arguments: Any, **fixtures: Any) -> None:
        async with AsyncExitStack() as stack:
            for _, each in sorted(surroundings.items()):
                await stack.enter_async_context(each())
            await body(*arguments, **fixtures)

    def restore() -> None:
        item.obj = body
        del item.stash[_surroundings]

    item.obj = surrounded
    request.addfinalizer(restore)
