"""Every deadline is set, kept and explained by the loop's clock alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from attrs import field, frozen
from function_calls import count_function_calls
from transport.pipelines import FIND, Rig, rig, write

import calls_in_progress_async as sdk
from calls_in_progress_async import Organization, RateLimit, RetryPolicy, clock
from calls_in_progress_async.testing import status, virtual_clock


async def slow_token(_: Organization) -> str:
    await asyncio.sleep(100)
    return "token"


def read_slowly(response: Any, attempts: Any) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, virtual_clock.VirtualLoop)
    loop.advance(100)


async def go(it: Rig) -> Any:
    return await it.go(timeout=6)


async def update(it: Rig) -> Any:
    return await it.go(write(), timeout=6)


async def read(it: Rig) -> Any:
    return await it.pipeline.execute(FIND, Organization.advertiser(1), 6, read_slowly)


async def load(it: Rig) -> Any:
    return await it.pipeline.run_until_closed(partial(asyncio.sleep, 100), 6)


@frozen
class Case:
    """A call with one place to take too long in."""

    error: type[Exception] = sdk.DeadlineExceededError
    act: Callable[[Rig], Any] = go
    before: Callable[[Rig], Any] | None = None
    script: tuple[Any, ...] = (status(200, seconds=100.0),)
    takes: float = 6.0
    """Seconds until the error, by the loop's clock."""
    settings: dict[str, Any] = field(factory=dict)


CASES = {
    "rate limit": Case(before=go, script=(200,), settings={"rate_limit": RateLimit(rate=0.001, burst=1)}),
    "connection slot": Case(before=Rig.go, settings={"max_connections": 1}),
    "network": Case(),
    "attempt timeout": Case(sdk.RequestTimeoutError, takes=2.0, settings={"attempt_timeout": 2.0}),
    "backoff": Case(script=(status(503, retry_after="4"), status(200, seconds=100.0))),
    "earlier update": Case(act=update, before=lambda it: it.go(write())),
    "token callable": Case(settings={"token": slow_token}),
    "reading": Case(act=read, script=(200,), takes=100.0),
    "loading a library": Case(act=load, script=(200,)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("monotonic", ["stands still", "races"])
def test_a_slow_call_raises_deadline_exceeded_error(name: str, monotonic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its deadline by the loop's clock (a timer may be 1 ms early), for any monotonic clock."""
    case = CASES[name]
    others = iter(range(0, 10**12, 10**6))
    monkeypatch.setattr(time, "monotonic", (lambda: 5.0) if monotonic == "stands still" else (lambda: next(others)))

    async def main() -> None:
        settings = {"attempt_timeout": None, "retry": RetryPolicy(max_attempts=2), **case.settings}
        if name == "attempt timeout":
            settings["retry"] = RetryPolicy(max_attempts=1)
        it = rig(*case.script, **settings)
        beside = None if case.before is None else asyncio.create_task(case.before(it))
        await asyncio.sleep(0.001)
        began = clock.now()
        try:
            error = await case.act(it)
        except sdk.CallsInProgressError as raised:
            error = raised
        assert type(error) is case.error
        assert clock.now() - began == pytest.approx(case.takes, abs=0.0011)
        if beside is not None:
            beside.cancel()
            await asyncio.wait([beside])
        await it.pipeline.close(None)

    virtual_clock.run(main)


def test_a_deadline_covers_reading_an_error_body() -> None:
    """The error still says if an update may have been applied: not if it was rejected, but else it may."""

    async def main(code: int) -> sdk.CallsInProgressError:
        def reject(response: Any, attempts: Any) -> None:
            read_slowly(response, attempts)
            raise sdk.ServerError("HTTP 500", status=500)

        it = rig(code, retry=RetryPolicy(max_attempts=1))
        with pytest.raises(sdk.CallsInProgressError) as raised:
            await it.pipeline.execute(write(), Organization.advertiser(1), 6, reject)
        return raised.value

    for code, applied in {400: False, 500: True, 200: True}.items():
        error = virtual_clock.run(partial(main, code))
        assert type(error) is sdk.DeadlineExceededError
        assert error.may_have_been_applied is applied
        assert len(error.attempts) == 1


def test_a_call_without_a_timeout_may_take_any_time() -> None:
    """timeout=None never cancels a response, however slow."""

    async def main() -> None:
        it = rig(200)
        assert await it.pipeline.execute(FIND, Organization.advertiser(1), None, read_slowly) is None

    virtual_clock.run(main)


def test_a_deadline_that_passes_costs_the_same_among_few_and_many() -> None:
    """Four times as many calls make about four times as many function calls: none looks through the others."""

    def cost(count: int) -> int:
        async def main() -> None:
            it = rig(status(200, seconds=1000.0), max_connections=count, attempt_timeout=None)
            calls = [it.go(timeout=1 + number / count) for number in range(count)]
            errors = await asyncio.gather(*calls)
            assert {type(error) for error in errors} == {sdk.DeadlineExceededError}

        return count_function_calls(partial(virtual_clock.run, main))

    cost(1)
    assert cost(400) < 5 * cost(100)


def test_an_update_in_the_queue_costs_the_same_among_few_and_many() -> None:
    """Four times as many updates of one call make about four times as many function calls, half of them cancelled."""

    def cost(count: int) -> int:
        async def main() -> None:
            it = rig(200)
            tasks = [asyncio.create_task(it.go(write())) for _ in range(count)]
            await asyncio.sleep(0)
            for task in tasks[1::2]:
                task.cancel()
            await asyncio.wait(tasks)
            assert not any(it.pipeline.in_use().values())

        return count_function_calls(partial(virtual_clock.run, main))

    cost(1)
    assert cost(400) < 5 * cost(100)
