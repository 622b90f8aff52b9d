"""However a client, a loop, a process or the program ends: nothing is left running, and nothing warns."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import textwrap
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from faults.leaks import connector_of, left_behind, settle
from faults.test_cancellation import LOOPS, PLACES, find, others, prepare, run, steps, timers, update
from raw_server import ACME, NO_CALLS, TOKEN, RawServer, say, say_and_hang
from transport.pipelines import rig

from calls_in_progress_async import (
    CallsInProgressClient,
    ClientClosedError,
    ConnectionLostError,
    CurrentCallsRequest,
    RequestTimeoutError,
    RetryPolicy,
    clock,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.testing import ScriptedTransport, status, virtual_clock

# Closing.


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("place", PLACES)
def test_closing_wakes_whoever_waits_at_once(place: str, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """ClientClosedError, in every queue and wait, before close() returns; then no task, timer or connection is left."""
    at = PLACES[place]

    async def main() -> None:
        before = timers()
        async with RawServer(list(at.script)) as server:
            client, tasks = await prepare(at, server, monkeypatch)
            ours = others(server) - {*tasks}
            tasks += [asyncio.create_task(at.act(client)) for _ in range(1 if at.act is update else 3)]
            await steps(60)
            assert not any(task.done() for task in tasks)
            began = asyncio.get_running_loop().time()
            await client.close()
            assert asyncio.get_running_loop().time() - began < 1
            assert all(task.done() for task in tasks)
            for task in tasks:
                with pytest.raises(ClientClosedError):
                    await task
            assert left_behind(client) == {}
            await settle()
            assert others(server) == ours
            assert timers() == before
            await server.until(lambda: server.open == 0)

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_drain_lets_running_requests_end_and_then_cancels(loop: Any) -> None:
    """Calls within the drain get their result, later ones ClientClosedError; new calls are rejected meanwhile."""

    async def main() -> None:
        gate = asyncio.Event()

        async def respond_later(exchange: Any) -> None:
            await gate.wait()
            await exchange.send(NO_CALLS)

        async with RawServer([respond_later, say_and_hang()]) as server:
            client = server.client()
            good = asyncio.create_task(client.find(ACME))
            await server.until(lambda: len(server.seen) == 1)
            bad = asyncio.create_task(client.update(ACME, transaction_id="T", custom_data={"a": "b"}))
            await server.until(lambda: len(server.seen) == 2)
            closing = asyncio.create_task(client.close(drain=0.1))
            await steps(3)
            with pytest.raises(ClientClosedError):
                await client.find(ACME)
            assert not closing.done()
            gate.set()
            assert list(await good) == []
            assert not closing.done()
            await closing
            with pytest.raises(ClientClosedError) as raised:
                await bad
            assert raised.value.may_have_been_applied
            assert left_behind(client) == {}

    run(loop, main)


async def test_a_drain_with_nothing_running_takes_no_time() -> None:
    """An idle client closes before the end of its drain."""
    async with RawServer() as server:
        client = server.client()
        await client.find(ACME)
        await client.close(drain=1000)
        await server.until(lambda: server.open == 0)


async def test_closing_while_draining_ends_it() -> None:
    """A second close() without a drain cancels at once; both return."""
    async with RawServer([say_and_hang()]) as server:
        client = server.client()
        task = asyncio.create_task(client.find(ACME))
        await server.until(lambda: server.seen)
        draining = asyncio.create_task(client.close(drain=1000))
        await steps(3)
        await asyncio.gather(client.close(), client.close())
        await draining
        with pytest.raises(ClientClosedError):
            await task


@pytest.mark.parametrize("stage", ["leaving", "finding", "finding in another task"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancelled_anyio_scope_leaves_no_socket_open(stage: str, loop: Any) -> None:
    """Anyio cancels a task again at each step of the loop, so closing must not depend on the task."""

    async def main() -> None:
        tasks = asyncio.all_tasks()
        async with RawServer([say(NO_CALLS), say_and_hang()]) as server:
            other = None
            with anyio.move_on_after(30) as scope:
                async with server.client() as client:
                    await client.find(ACME)
                    if stage == "finding in another task":
                        other = asyncio.create_task(client.find(ACME))
                        await server.until(lambda: len(server.seen) == 2)
                    scope.cancel()
                    if stage == "finding":
                        await client.find(ACME)
            await server.until(lambda: server.open == 0)
            if other is not None:
                with pytest.raises(ClientClosedError):
                    await other
            assert left_behind(client) == {}
        await settle()
        assert asyncio.all_tasks() == tasks

    run(loop, main)


async def test_a_transport_is_closed_to_the_end_in_a_cancelled_anyio_scope() -> None:
    """A cancelled anyio scope lets close() run any number of steps."""

    class Slow(ScriptedTransport):
        async def close(self) -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            self.closed = True

    transport = Slow()
    with anyio.move_on_after(30) as scope:
        async with CallsInProgressClient(token=TOKEN, transport=transport):
            scope.cancel()
    assert transport.closed


async def test_a_cancelled_close_waits_one_second_for_its_transport() -> None:
    """After that second the closing of the transport is cancelled too."""

    class Stubborn(ScriptedTransport):
        cancelled = False

        async def close(self) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise

    async def main() -> float:
        transport = Stubborn()
        began = clock.now()
        task = asyncio.create_task(CallsInProgressClient(token=TOKEN, transport=transport).close())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settle()
        assert transport.cancelled
        return clock.now() - began

    assert await asyncio.to_thread(virtual_clock.run, main) == 6.0


async def test_an_error_while_closing_the_transport_is_raised() -> None:
    """The client is closed all the same."""

    class Failing(ScriptedTransport):
        async def close(self) -> None:
            raise OSError("cannot close")

    client = CallsInProgressClient(token=TOKEN, transport=Failing())
    with pytest.raises(OSError, match="cannot close"):
        await client.close()
    await client.close()
    with pytest.raises(ClientClosedError):
        await client.find(ACME)


async def test_a_cancelled_drain_closes_at_once() -> None:
    """The cancellation goes on, running calls end, and no connection is left; closing again does nothing."""
    async with RawServer([say_and_hang()]) as server:
        client = server.client()
        task = asyncio.create_task(client.find(ACME))
        await server.until(lambda: server.seen)
        draining = asyncio.create_task(client.close(drain=1000))
        await steps(3)
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        with pytest.raises(ClientClosedError):
            await task
        await server.until(lambda: server.open == 0)
        await client.close()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("act", [find, update])
def test_closing_after_any_number_of_steps(act: Any, loop: Any) -> None:
    """A request either gets its response or ClientClosedError, whenever close() comes; nothing is left."""

    async def main() -> None:
        before = timers()
        outcomes = set()
        async with RawServer() as server:
            for count in range(40):
                client = server.client()
                task = asyncio.create_task(act(client))
                await steps(count + 1)
                await client.close()
                assert task.done()
                outcomes.add(type(task.exception()))
                assert left_behind(client) == {}
                assert (connector_of(client) is None or connector_of(client).closed, timers()) == (True, before)
            await server.until(lambda: server.open == 0)
        assert {ClientClosedError} <= outcomes <= {ClientClosedError, type(None)}

    run(loop, main)


def test_a_drain_waits_for_the_last_of_several() -> None:
    """The drain ends with the last running call, not with the first."""

    async def main() -> None:
        it = rig(status(200, seconds=1.0), status(200, seconds=3.0))
        tasks = [asyncio.create_task(it.go()) for _ in range(2)]
        await asyncio.sleep(0)
        await it.pipeline.close(10.0)
        assert await asyncio.gather(*tasks) == [200, 200]

    virtual_clock.run(main)


def test_an_attempt_ended_by_closing_is_no_timeout() -> None:
    """The attempt's error is not reported as a timeout."""

    async def main() -> None:
        it = rig(status(200, seconds=9.0), retry=RetryPolicy(max_attempts=1))
        task = asyncio.create_task(it.go())
        await asyncio.sleep(1)
        await it.pipeline.close(None)
        assert type(await task) is ClientClosedError

    virtual_clock.run(main)


def test_a_failure_in_the_very_step_of_closing_is_not_tried_again() -> None:
    """Its backoff would have begun after the end of all waits."""

    async def main() -> None:
        it = rig(status(500, seconds=1.0), retry=RetryPolicy(initial=100.0, maximum=100.0))

        async def close_at_one() -> None:
            await asyncio.sleep(1.0)
            await it.pipeline.close(None)

        closing, task = asyncio.create_task(close_at_one()), asyncio.create_task(it.go())
        await closing
        assert type(await task) is ClientClosedError
        assert (it.slept, it.transport.times, asyncio.get_running_loop().time()) == ([], [0.0], 1_000_001.0)

    virtual_clock.run(main)


def test_a_request_that_gets_its_slot_in_the_very_step_of_closing_is_not_sent() -> None:
    """The limit is closed as well, and it is asked once more after a wait for a slot."""

    async def main() -> None:
        it = rig(status(200, seconds=1.0), max_connections=1)
        tasks = [asyncio.create_task(it.go()) for _ in range(2)]

        async def close_at_one() -> None:
            await asyncio.sleep(1.0)
            await it.pipeline.close(None)

        await asyncio.create_task(close_at_one())
        first, second = await asyncio.gather(*tasks)
        assert (first, type(second), it.transport.times) == (200, ClientClosedError, [0.0])
        assert it.pipeline._lifetime.scopes.next_look is None

    virtual_clock.run(main)


# The end of the program.

PRELUDE = """
import asyncio, gc, os, signal, ssl, sys, threading
import uvloop
from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, Organization, WrongLoopError
ACME = Organization.advertiser(25)
url, ca = sys.argv[1], sys.argv[2]
context = ssl.create_default_context(cafile=ca) if ca else True

def make():
    return CallsInProgressClient(token="t", base_url=url, ssl=context, attempt_timeout=None, timeout=None)

async def use(client, background=False):
    await asyncio.gather(*(client.find(ACME) for _ in range(3)))
    if background:
        task = asyncio.create_task(client.update(ACME, external_unique_id="hang", custom_data={"a": "b"}))
        while not client._pipeline.in_use()['slots'] == 1:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        return task
"""

ENDINGS = {
    "asyncio.run": "asyncio.run(use(make()))",
    "asyncio.run, a client that lives on": "client = make()\nasyncio.run(use(client))",
    "asyncio.run, a request running": "asyncio.run(use(make(), True))",
    "asyncio.run, debug": "asyncio.run(use(make(), True), debug=True)",
    "uvloop.run": "uvloop.run(use(make()))",
    "uvloop.run, a request running": "client = make()\nuvloop.run(use(client, True))",
    "KeyboardInterrupt": """
        async def main():
            await use(make(), True)
            raise KeyboardInterrupt
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            pass
    """,
    "SIGINT": """
        async def main():
            task = await use(make(), True)
            os.kill(os.getpid(), signal.SIGINT)
            await task
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored under nohup and in shell jobs
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            pass
    """,
    "an exception": """
        client = make()
        async def main():
            await use(client, True)
            raise LookupError
        try:
            asyncio.run(main())
        except LookupError:
            pass
    """,
    "sys.exit": """
        async def main():
            await use(make(), True)
            print("fine", flush=True)
            sys.exit(0)
        asyncio.run(main())
    """,
    "a loop by hand": """
        client = make()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(use(client))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    """,
    "collected": """
        async def main():
            client = make()
            await use(client)
            del client
            gc.collect()
            await asyncio.sleep(0.01)
            gc.collect()
        asyncio.run(main())
    """,
    "async with, and an exception": """
        async def main():
            async with make() as client:
                await use(client)
                raise LookupError
        try:
            asyncio.run(main())
        except LookupError:
            pass
    """,
    "asyncio.run twice": """
        client = make()
        asyncio.run(use(client))
        asyncio.run(use(client))
    """,
    "made in one loop, closed in another": """
        client = make()
        asyncio.run(use(client))
        asyncio.run(client.close())
    """,
    "another thread": """
        client = make()
        async def main():
            await use(client)
            rejected = []
            def elsewhere():
                try:
                    asyncio.run(use(client))
                except WrongLoopError:
                    rejected.append(True)
            thread = threading.Thread(target=elsewhere)
            thread.start()
            while thread.is_alive():
                await asyncio.sleep(0.001)
            thread.join()
            assert rejected
            await use(client)
            await client.close()
        asyncio.run(main())
    """,
    "preloaded, as by gunicorn": """
        client = make()  # before the fork, and not used
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                asyncio.run(use(client))
                sys.exit(7)  # an ordinary end, with all that runs then
            children.append(child)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert statuses == [7, 7], statuses
        asyncio.run(use(client))
    """,
    "used, and then forked": """
        client = make()
        asyncio.run(use(client))
        if os.fork() == 0:
            try:
                asyncio.run(use(client))
            except WrongLoopError:
                asyncio.run(client.close())
                del client
                gc.collect()
                sys.exit(7)
            sys.exit(1)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    """,
}  # fmt: skip


async def hang_if_asked(exchange: Any) -> None:
    await (say_and_hang() if b"hang" in exchange.request.head else say(NO_CALLS))(exchange)


ALSO_PLAIN = ["asyncio.run, a request running", "uvloop.run, a request running", "KeyboardInterrupt", "collected"]


@pytest.mark.parametrize(
    ("ending", "tls"), [*((each, True) for each in ENDINGS), *((each, False) for each in ALSO_PLAIN)]
)
async def test_no_end_of_a_program_warns(ending: str, tls: bool, tmp_path: Path) -> None:
    """With -X dev and warnings as errors: not a word, for any end of the program with an open client."""
    if "fork" in ENDINGS[ending] and not hasattr(os, "fork"):
        pytest.skip("no fork here")
    program = textwrap.dedent(ENDINGS[ending]).strip() + "\nprint('fine')\n"
    context = None
    if tls:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    async with RawServer([hang_if_asked], ssl=context) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + program),
            *(server.url, str(tmp_path / "ca.pem") if tls else ""),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(40):
            out, err = await process.communicate()
    # A slow step on a busy machine is no fault of the program.
    warnings = [line for line in err.decode().splitlines() if not line.startswith("Executing <")]
    assert (warnings, out.decode(), process.returncode) == ([], "fine\n", 0)
    assert server.seen


# The gate.


def finds(count: int) -> list[Any]:
    return [CurrentCallsRequest(organization=ACME, transaction_id=f"T{n}").wire(WireFormat()) for n in range(count)]


def test_the_gate_is_fair() -> None:
    """First come, first served, however many were cancelled in between."""

    async def main() -> None:
        it = rig(status(200, seconds=1.0), max_connections=2)
        tasks = [asyncio.create_task(it.go(request)) for request in finds(40)]
        await asyncio.sleep(2.5)
        for task in tasks[10::3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        kept = [f"T{n}" for n in range(40) if n < 10 or (n - 10) % 3]
        assert [each.query["transaction_id"] for each in it.transport.requests] == kept
        assert it.transport.most == 2

    virtual_clock.run(main)


def test_time_in_the_gate_is_not_time_on_the_network() -> None:
    """Twenty requests of 1 s each, one at a time, with attempt_timeout=1.5: none times out, and each knows its wait."""

    async def main() -> None:
        it = rig(status(200, seconds=1.0), max_connections=1, attempt_timeout=1.5)
        calls = [it.deliver(request, ACME, None) for request in finds(20)]
        all_attempts = [attempts for _, attempts in await asyncio.gather(*calls)]
        assert [round(attempts[0].pool_wait) for attempts in all_attempts] == list(range(20))
        assert {round(attempts[0].network, 3) for attempts in all_attempts} == {1.0}

    virtual_clock.run(main)


def test_time_on_the_network_is_counted_from_the_slot_on() -> None:
    """After 1 s in the queue for a slot, attempt_timeout begins with its whole length."""

    async def main() -> None:
        it = rig(
            *(status(200, seconds=1.0), status(200, seconds=99.0)),
            max_connections=1, attempt_timeout=1.5, retry=RetryPolicy(max_attempts=1),
        )  # fmt: skip
        first, second = await asyncio.gather(it.go(), it.go())
        assert first == 200
        assert type(second) is RequestTimeoutError
        assert [(round(a.pool_wait, 2), round(a.network, 2)) for a in second.attempts] == [(1.0, 1.5)]

    virtual_clock.run(main)


async def test_the_gate_holds_on_the_wire() -> None:
    """Never more connections than max_connections, with faults among the responses."""
    most = 0

    async def watched(exchange: Any) -> None:
        nonlocal most
        most = max(most, server.open)
        await asyncio.sleep(0)
        await (say(NO_CALLS) if len(server.seen) % 3 else say_and_hang())(exchange)

    async with RawServer([watched]) as server:
        settings = {"max_connections": 3, "attempt_timeout": 0.02, "retry": RetryPolicy(max_attempts=1)}
        async with server.client(**settings) as client:
            results = await asyncio.gather(*(client.find(ACME) for _ in range(30)), return_exceptions=True)
    assert len(results) == 30
    assert not any(isinstance(each, ConnectionLostError) for each in results)
    assert most <= 3 + 1  # a cancelled one may not have noticed yet
    assert TOKEN not in str(results)


# aiohttp's parser.


@pytest.mark.parametrize(("extensions", "warned"), [("", False), ("1", True)])
async def test_a_missing_c_parser_is_logged_once(extensions: str, warned: bool) -> None:
    """The first session warns if aiohttp has only its pure-Python parser; the requests are made."""
    program = PRELUDE + textwrap.dedent("""
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            for _ in range(2):
                asyncio.run(use(make()))
        print([str(each.message) for each in caught if issubclass(each.category, RuntimeWarning)])
    """)
    async with RawServer() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, server.url, ""),
            env={**os.environ, "AIOHTTP_NO_EXTENSIONS": extensions},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    text = "aiohttp runs without its C parser: slower, and it accepts HTTP that it should reject."
    assert out.decode() == f"{[text] if warned else []}\n"
