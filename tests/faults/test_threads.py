"""Several threads, with a loop and a client each, share caches, hooks and records, and nothing else."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from calls_in_progress_async import Call, CallsInProgressClient, CallStarted, Organization
from calls_in_progress_async.records.results import structure_calls
from calls_in_progress_async.sandbox import SandboxServer

ACME, GLOBEX = Organization.network(1), Organization.advertiser(2)
THREADS = 4


@pytest.fixture(autouse=True)
def _switch_threads_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(work: Callable[[int], Any]) -> list[Any]:
    """Run some work in all threads at once."""
    together = Barrier(THREADS)

    def start(number: int) -> Any:
        together.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(start, range(THREADS)))


async def use_a_client(seed: int, rounds: int) -> None:
    """Find, update and watch the calls of a sandbox, and check that no other thread's call comes up."""
    sandbox = SandboxServer(organizations=[ACME, GLOBEX], seed=seed, calls_per_organization=0)
    async with sandbox, CallsInProgressClient(token=sandbox.token, base_url=sandbox.url, rate_limit=None) as client:
        watch = client.watch([ACME], interval=0.05)
        started = [sandbox.start_call(ACME)]
        async with watch:
            for number in range(rounds):
                digits = f"530555{seed % 10}{number % 1000:03}"
                numbers = {"calling_phone_number": f"+1{digits}", "destination_phone_number": "+15305550199"}
                as_dialled = {**numbers, "calling_phone_number": f"({digits[:3]}) {digits[3:]}"}
                started.append(sandbox.start_call(ACME, **numbers))
                started_there = sandbox.start_call(GLOBEX)
                one, same, every, there = await asyncio.gather(
                    client.find(ACME, **as_dialled, max_age=60),
                    client.find(ACME, **numbers, max_age=60),
                    client.find(ACME),
                    client.find(GLOBEX),
                )
                assert [call.transaction_id for call in one] == [started[-1]]
                assert one[0] == same[0]
                assert {call.transaction_id for call in every} == set(started)
                assert started_there in {call.transaction_id for call in there}
                assert {field.value for call in every for field in (call.custom_data or {}).values()} != {None}
                await client.update(ACME, transaction_id=started[-1], new_external_unique_id=f"{seed}-{number}")
                if number % 20 == 19:
                    sandbox.end_call(ACME, started.pop(0))
            left = set(started)
            async for event in watch:
                if isinstance(event, CallStarted):
                    left.discard(event.call.transaction_id or "")
                if not left:
                    break


def test_each_client_gets_the_calls_of_its_own_loop() -> None:
    """Phone numbers, decoders, shared finds and clocks are those of each client."""
    in_threads(lambda number: asyncio.run(use_a_client(number, rounds=20)))


def test_a_list_of_calls_may_be_read_in_all_threads() -> None:
    """Each thread reads the same values, and each problem once, while the list goes."""
    entry = {
        "transaction_id": "T",
        "city": [],
        "new": {"a": [1]},
        "custom_data": {"a": 1, "b": {"value": "c"}, "demographics_data": {"age_data_append": "25-34"}},
    }
    body = json.dumps({"current_calls": [{**entry, "region": str(number)} for number in range(300)]}).encode()

    def seen(calls: tuple[Call, ...]) -> list[Any]:
        return [(call.problems, call.extra, call.demographics_data, call.raw_json, call.to_dict()) for call in calls]

    expected = seen(structure_calls(body, strict=False).calls)
    shared = [structure_calls(body, strict=False).calls]
    assert in_threads(lambda _: seen(shared[0])) == [expected] * THREADS
