"""Cancelled after any number of steps of the loop, a request leaves nothing behind, and is cancelled."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from attrs import frozen
from faults.leaks import connector_of, granted, left_behind, settle
from raw_server import ACME, NO_CALLS, TOKEN, Exchange, RawServer, reply, say, say_and_hang

from calls_in_progress_async import CallsInProgressClient, Organization, RateLimit, RetryPolicy, clock

pytestmark = pytest.mark.usefixtures("way")

LOOPS = [pytest.param(asyncio.SelectorEventLoop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
ENOUGH = 400
"""Steps of the loop for every request here to end, or to reach its waiting place."""


def run(loop: Any, main: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(50):
            await main()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(whole())
    gc.collect()


def find(client: CallsInProgressClient) -> Any:
    return client.find(ACME)


def update(client: CallsInProgressClient) -> Any:
    return client.update(ACME, transaction_id="T", custom_data={"a": "b"})


async def slowly(exchange: Exchange) -> None:
    """Send the response in many pieces, for many steps to cancel after."""
    for start in range(0, len(NO_CALLS), 4):
        await exchange.send(NO_CALLS[start : start + 4])
        await asyncio.sleep(0)


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def others(server: RawServer) -> set[asyncio.Task[Any]]:
    """Return the tasks of others than the server."""
    return {task for task in asyncio.all_tasks() if task not in server._tasks and not task.done()}


def timers() -> int:
    """Return the pending timers of an asyncio loop."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", [])
    return sum(not each.cancelled() for each in scheduled)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
@pytest.mark.parametrize("act", [find, update])
def test_a_cancellation_after_any_step_leaves_nothing_behind(act: Any, kept: bool, loop: Any) -> None:
    """On a new and on a kept connection, cancel after k steps for every k, until the request completes."""

    async def main() -> None:
        limit = RateLimit(rate=1e6, burst=1e6)
        async with RawServer([slowly]) as server:
            for count in range(ENOUGH):
                client = server.client(rate_limit=limit)
                if kept:
                    await client.find(ACME)
                before, taken = others(server), granted(client) if kept else 0
                task = asyncio.create_task(act(client))
                await steps(count)
                done = task.done()
                task.cancel()
                if done:
                    await task
                else:
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    assert task.cancelled()
                    await settle()
                assert left_behind(client) == {}
                assert others(server) == before
                assert timers() <= 3  # this test's own, the scopes', and aiohttp's for kept connections
                assert granted(client) - taken in ((1,) if done else (0, 1))
                await client.close()
                assert len(connector_of(client)._conns if connector_of(client) else ()) == 0
                if done:
                    break
            else:
                pytest.fail("it was never done")
            await server.until(lambda: server.open == 0)
            assert count > 10  # there were steps to cancel after

    run(loop, main)


@frozen
class Stage:
    """A place to wait forever in, and the steps before it."""

    settings: dict[str, Any]
    script: list[Any]
    act: Any = find
    before: Any = None
    """An earlier request."""
    beside: Any = None
    """Another, hanging request."""
    sends: bool = False
    """True if the request reaches the wire, and spends a grant of the limit."""


async def never(_: Organization) -> str:
    await asyncio.get_running_loop().create_future()
    return ""


def stale_token() -> Any:
    """Make a callable with one token, and a search without end for another."""
    results = [TOKEN]

    async def ask(organization: Organization) -> str:
        return results.pop() if results else await never(organization)

    return ask


async def prepare(
    stage: Stage, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> tuple[CallsInProgressClient, list[asyncio.Task[Any]]]:
    """Make the client of a stage and send its earlier requests; return the client and the running ones of these."""
    settings = {**stage.settings, "attempt_timeout": None}
    if settings.get("token") is stale_token:
        settings["token"] = stale_token()
    client = server.client(**settings)
    monkeypatch.setattr(clock.randomness, "random", lambda: 1.0)
    if stage.before is not None:
        await stage.before(client)
    if stage.beside is None:
        return client, []
    task = asyncio.create_task(stage.beside(client))
    await server.until(lambda: server.seen)
    return client, [task]


PLACES = {
    "limiter": Stage({"rate_limit": RateLimit(rate=1e-6, burst=1)}, [say(NO_CALLS)], before=find),
    "limiter of the organization": Stage(
        {"rate_limit": RateLimit(rate=1e6, burst=1e6, per_organization_rate=1e-6)}, [say(NO_CALLS)], before=find
    ),
    "limiter after a 429": Stage({}, [say(reply(429, b"", "Retry-After: 20"))], sends=True),
    "gate": Stage({"max_connections": 1}, [say_and_hang()], beside=find),
    "gate after the limiter": Stage(
        {"max_connections": 1, "rate_limit": RateLimit(rate=2000, burst=1)}, [say_and_hang()], beside=find
    ),
    "backoff": Stage({"retry": RetryPolicy(initial=1e6, maximum=1e6), "timeout": None}, [say(reply(500))], sends=True),
    "backoff of an update": Stage(
        {"retry": RetryPolicy(initial=1e6, maximum=1e6), "timeout": None}, [say(reply(500))], update, sends=True
    ),
    "token callable": Stage({"token": never}, [say(NO_CALLS)]),
    "token callable after a 401": Stage({"token": stale_token}, [say(reply(401))], sends=True),
    "turn": Stage({}, [say_and_hang()], update, beside=update),
    "network": Stage({}, [say_and_hang()], update, sends=True),
    "body": Stage({}, [say_and_hang(reply(200, b"{", length=99))], sends=True),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("place", PLACES)
def test_a_cancellation_in_any_wait_leaves_nothing(place: str, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request leaves every queue and wait at once, and returns everything unused."""
    at = PLACES[place]

    async def main() -> None:
        for count in [*range(8), 20, 60]:
            async with RawServer(list(at.script)) as server:
                client, beside = await prepare(at, server, monkeypatch)
                tasks, held, taken = others(server), left_behind(client), granted(client)
                task = asyncio.create_task(at.act(client))
                await steps(count)
                assert not task.done()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await settle()
                assert left_behind(client) == held
                assert others(server) == tasks
                assert granted(client) - taken <= at.sends
                for each in beside:
                    each.cancel()
                    with suppress(asyncio.CancelledError):
                        await each
                await settle()
                assert left_behind(client) == {}
                await client.close()
                await server.until(lambda server=server: server.open == 0)

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("other", ["timeout", "close"])
@pytest.mark.parametrize("act", [find, update])
def test_a_cancellation_wins_over_a_timeout_and_closing(act: Any, other: str, loop: Any) -> None:
    """In the same step as a timeout or as close(), the task still raises CancelledError."""

    async def main() -> None:
        async with RawServer([say_and_hang()]) as server:
            for count in range(20):
                client = server.client()
                task = asyncio.create_task(act(client))
                await steps(count + 1)
                closing = None
                if other == "timeout":
                    for scope in client._pipeline._lifetime.scopes:
                        scope.cancel()
                else:
                    closing = asyncio.create_task(client.close())
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await settle()
                assert left_behind(client) == {}
                await client.close()
                if closing is not None:
                    await closing
            await server.until(lambda: server.open == 0)

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_users_own_timeout_is_a_timeout(loop: Any) -> None:
    """asyncio.timeout and asyncio.wait_for around a call work as they do anywhere."""

    async def main() -> None:
        async with RawServer([say_and_hang()]) as server, server.client() as client:
            with pytest.raises(TimeoutError) as raised:
                async with asyncio.timeout(0.01):
                    await client.find(ACME)
            assert type(raised.value) is TimeoutError
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(update(client), 0.01)
            await settle()
            assert left_behind(client) == {}

    run(loop, main)


def test_a_cancelled_waiter_for_the_gate_passes_its_slot_on() -> None:
    """A slot freed in the step of its next holder's cancellation goes to the one after."""

    async def main() -> None:
        async with RawServer([say_and_hang(), say(NO_CALLS)]) as server:
            client = server.client(max_connections=1)
            first = asyncio.create_task(client.find(ACME))
            await server.until(lambda: server.seen)
            second, third = (asyncio.create_task(client.find(ACME)) for _ in range(2))
            await steps(3)
            first.cancel()
            await steps(1)
            second.cancel()
            assert list(await third) == []
            await settle()
            assert left_behind(client) == {}
            await client.close()

    run(asyncio.SelectorEventLoop, main)
