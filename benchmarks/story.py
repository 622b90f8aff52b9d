"""Measure the test of a user's program: a call found on the third look, after one 503 and one 429.

    python benchmarks/story.py [--quick] [--json FILE]

The test is the one in ``docs/testing.md`` and ``tests/testing/test_user_story.py``: its retries and looks would wait
for seconds, and the virtual clock jumps over them. The clock on the wall counts, because a test has to be short.
"""

from __future__ import annotations

import time

from measuring import Table, Verdict, command_line, finish

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.testing import ScriptedTransport, calls, make_call, run, status


async def screen_pop(transport: ScriptedTransport) -> str | None:
    async with CallsInProgressClient(token="any", transport=transport) as client:
        return (await client.wait_for_call(Organization.advertiser(25), transaction_id="ABCD-1")).city


def story() -> None:
    call = make_call(transaction_id="ABCD-1", city="Boston")
    transport = ScriptedTransport(503, calls(), status(429, retry_after=2), calls(), calls(call))
    assert run(screen_pop(transport)) == "Boston"
    transport.assert_done()


def measure(quick: bool) -> Table:
    table = Table("The test of a screen pop", "ms")
    for _ in range(20 if quick else 200):
        began = time.perf_counter()
        story()
        table.add("one test, with its event loop", "", (time.perf_counter() - began) * 1e3)
    table.verdicts.append(Verdict("the test in ms", table.median("one test, with its event loop", ""), 50))
    return table


def main() -> None:
    arguments = command_line(__doc__)
    finish([measure(arguments.quick)], arguments)


if __name__ == "__main__":
    main()
