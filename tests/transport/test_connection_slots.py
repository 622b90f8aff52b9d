"""Connection slots pass from request to request in order, and none is lost by cancellations."""

from __future__ import annotations

import asyncio
import random

import pytest

from calls_in_progress_async.testing import virtual_clock
from calls_in_progress_async.transport.connection_slots import ConnectionSlots

pytestmark = pytest.mark.usefixtures("on_virtual_clock")


async def test_a_free_slot_takes_no_waiting() -> None:
    """max_connections slots are granted at once, and no more."""
    slots = ConnectionSlots(2)
    assert [slots.try_acquire() for _ in range(3)] == [True, True, False]
    slots.release()
    await slots.acquire()
    assert (slots.taken, slots.waiting) == (2, 0)


async def test_a_slot_passes_to_the_first_in_the_queue() -> None:
    """A newcomer cannot take it in between."""
    slots, order = ConnectionSlots(1), []

    async def take(name: str) -> None:
        await slots.acquire()
        order.append(name)

    assert slots.try_acquire()
    tasks = [asyncio.create_task(take(name)) for name in "abc"]
    await asyncio.sleep(0)
    assert slots.waiting == 3
    for _ in tasks:
        slots.release()
        assert not slots.try_acquire()
        await asyncio.sleep(0)
    assert order == ["a", "b", "c"]
    slots.release()
    assert (slots.taken, slots.waiting) == (0, 0)


@pytest.mark.parametrize("before", [True, False])
async def test_cancellations_in_the_step_of_a_release_lose_no_slot(before: bool) -> None:
    """Cancelling one waiter or several, before or after the grant, loses no slot."""
    for cancelled in range(1, 5):
        slots = ConnectionSlots(1)
        assert slots.try_acquire()
        tasks = [asyncio.create_task(slots.acquire()) for _ in range(4)]
        await asyncio.sleep(0)
        if not before:
            slots.release()
        for task in tasks[:cancelled]:
            task.cancel()
        if before:
            slots.release()
        await asyncio.wait(tasks, timeout=1)
        assert [task.cancelled() for task in tasks[:cancelled]] == [True] * cancelled
        assert (slots.taken, slots.waiting) == ((1, 3 - cancelled) if cancelled < 4 else (0, 0))
        for task in tasks:
            slots.release() if task.done() and not task.cancelled() else task.cancel()
        await asyncio.wait(tasks)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_every_slot_comes_back(seed: int) -> None:
    """Hundreds of requests with random lengths and cancellations."""
    chance = random.Random(seed)

    async def main() -> None:
        slots, running = ConnectionSlots(3), 0

        async def use() -> None:
            nonlocal running
            await slots.acquire()
            running += 1
            assert running <= 3
            try:
                await asyncio.sleep(chance.random())
            finally:
                running -= 1
                slots.release()

        tasks = []
        for _ in range(300):
            tasks.append(asyncio.create_task(use()))
            await asyncio.sleep(chance.choice([0, 0.1]))
            chance.choice(tasks).cancel()
        await asyncio.wait(tasks)
        assert (slots.taken, slots.waiting) == (0, 0)

    virtual_clock.run(main)
