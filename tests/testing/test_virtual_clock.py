"""The loop of the tests jumps over waiting, and still serves sockets and threads."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from calls_in_progress_async import ClientStateError, clock
from calls_in_progress_async.testing import virtual_clock


def test_an_hour_takes_no_time() -> None:
    """Both clocks move by the hour; in real time the test would reach its timeout."""

    async def main() -> tuple[float, float]:
        now, unix_time = clock.now(), clock.unix_time()
        await asyncio.sleep(3600)
        return clock.now() - now, clock.unix_time() - unix_time

    assert virtual_clock.run(main) == (3600.0, 3600.0)


def test_a_seed_repeats_a_run() -> None:
    """Two runs with one seed draw the same numbers, and another seed draws others."""

    async def draw() -> float:
        return clock.randomness.random()

    assert virtual_clock.run(draw(), seed=1) == virtual_clock.run(draw, seed=1) != virtual_clock.run(draw, seed=2)


def test_sockets_and_threads_come_before_timers() -> None:
    """An exchange over a socket and work in a thread take no virtual time, though a timer waits."""

    async def main() -> float:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        async with asyncio.timeout(0.001), await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            assert await reader.read() == b"hello\n"
            writer.close()
            await asyncio.to_thread(time.sleep, 0.05)
        return clock.now()

    assert virtual_clock.run(main) == virtual_clock.START


def test_the_clock_is_turned_by_hand() -> None:
    """Moving the clock fires the timers due by then."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual_clock.VirtualLoop)
        loop.call_soon(loop.advance, 6)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(5.5), 5)
        assert clock.now() == virtual_clock.START + 6

    virtual_clock.run(main)


def test_a_wait_for_nothing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test whose tasks wait forever ends with an error instead of hanging."""
    monkeypatch.setattr(virtual_clock, "_PATIENCE", 0.01)
    with pytest.raises(AssertionError, match="every task waits forever"):
        virtual_clock.run(asyncio.Event().wait)


def test_a_loop_without_a_selector_is_refused() -> None:
    """The message names the loop."""
    loop: Any = object()
    with (
        pytest.raises(ClientStateError, match=r"needs an asyncio.SelectorEventLoop, got builtins.object"),
        virtual_clock.VirtualClock().attached(loop),
    ):
        raise AssertionError("it was attached")


async def test_a_clock_comes_and_goes() -> None:
    """A running loop's time moves by hand inside the block, and is real after the block."""
    loop = asyncio.get_running_loop()
    before, turned = loop.time(), virtual_clock.VirtualClock()
    with turned.attached(loop):
        unix_time = clock.unix_time()
        await asyncio.sleep(3600)
        assert clock.unix_time() - unix_time == 3600
        assert unix_time == virtual_clock.UNIX_START
        assert loop.time() >= before + 3600
    assert loop.time() < before + 60
