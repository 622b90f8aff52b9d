"""The client's life: made anywhere, open on first use, closed once; its tokens, its session, its sandbox."""

from __future__ import annotations

import asyncio
import gc
import gzip
import inspect
import json
import os
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, get_type_hints

import aiohttp
import pytest
from attrs import frozen
from raw_server import ACME, AT_ONCE, DONE, NO_CALLS, ONCE, TOKEN, Act, Exchange, RawServer, hang, reply
from transport.pipelines import rig

import calls_in_progress_async as sdk
from calls_in_progress_async import (
    CallsInProgressClient,
    CurrentCallsRequest,
    Organization,
    RateLimit,
    RetryPolicy,
    UpdateCallRequest,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.environment import ClientSettings
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.testing import ScriptedTransport, status, virtual_clock
from calls_in_progress_async.transport.wire import WireRequest, WireResponse

OTHER = Organization.network(1)


async def update(client: CallsInProgressClient, organization: Organization = ACME, **changes: Any) -> sdk.CallUpdate:
    return await client.update(organization, **{"transaction_id": "T", "custom_data": {"a": "b"}, **changes})


# Against the sandbox: the main job.


@pytest.mark.parametrize("revision", ["2022-09-beta", "2022-09-20", "2022-09-28", "2023-04", "2024-02"])
async def test_a_call_is_found_and_updated(revision: Any) -> None:
    """Every revision of the API finds a call by each filter, updates it, and finds it by its new id."""
    async with SandboxServer(
        organizations=[(25, "advertiser")], calls_per_organization=0, revision=revision
    ) as sandbox:
        first = sandbox.start_call((25, "advertiser"), calling_phone_number="+15309999999",
                                   destination_phone_number="+18555595599")  # fmt: skip
        second = sandbox.start_call((25, "advertiser"))
        async with CallsInProgressClient(token=sandbox.token, base_url=sandbox.url, strict=True) as client:
            assert {call.transaction_id for call in await client.find(ACME)} == {first, second}
            assert [call.transaction_id for call in await client.find(ACME, transaction_id=first)] == [first]
            assert [call.transaction_id for call in await client.find(
                ACME, calling_phone_number="(530) 999-9999",
                destination_phone_number="855-559-5599")] == [first]  # fmt: skip
            assert list(await client.find(ACME, external_unique_id="mine")) == []
            done = await client.update(ACME, transaction_id=first, new_external_unique_id="mine",
                                       custom_data={"Call Disposition": "CUSTOMER_HANGUP"})  # fmt: skip
            assert not done.accepted_only
            (found,) = await client.find(ACME, external_unique_id="mine")
            assert (found.transaction_id, found.custom_value("Call Disposition")) == (first, None)
            assert found.bridged_at
            sandbox.end_call((25, "advertiser"), first)
            with pytest.raises(sdk.CallNotFoundError):
                await update(client, transaction_id=first)
            assert (
                list(await client.find(ACME, calling_phone_number="5309999999", destination_phone_number="8555595599"))
                == []
            )
        assert sandbox.written((25, "advertiser"), second) == {}
        assert [each.custom_data for each in sandbox.updates] == [{"Call Disposition": "CUSTOMER_HANGUP"}]


async def test_a_202_is_accepted_only() -> None:
    """An update with a 202 returns accepted_only=True."""
    async with SandboxServer(organizations=1, accept_only=True, calls_per_organization=0) as sandbox:
        call = sandbox.start_call((1, "network"))
        async with CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client:
            assert (await update(client, OTHER, transaction_id=call)).accepted_only


async def test_send_takes_either_request() -> None:
    """Find and update are shorthands for it."""
    async with RawServer([NO_CALLS, NO_CALLS, DONE, DONE]) as server, server.client() as client:
        assert list(await client.send(CurrentCallsRequest(organization=ACME, transaction_id="T"))) == []
        await client.find(ACME, transaction_id="T")
        await client.send(UpdateCallRequest(organization=ACME, transaction_id="T", custom_data={"a": "b"}))
        await update(client)
        raw = [(seen.line, seen.body) for seen in server.seen]
        assert raw[0] == raw[1]
        assert raw[2] == raw[3]


async def test_a_wrong_spelling_of_the_type_is_explained() -> None:
    """The strict sandbox rejects "advertiser"; the error's note names the setting."""
    async with SandboxServer(organizations=[(25, "advertiser")], organization_type_spelling="capitalized") as sandbox:
        async with CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client:
            with pytest.raises(sdk.RequestRejectedError) as raised:
                await client.find(ACME)
        assert "organization_type_case" in raised.value.__notes__[0]
        async with CallsInProgressClient(
            token=sandbox.token, base_url=sandbox.url, organization_type_case="capitalized"
        ) as client:
            assert await client.find(ACME)


async def test_no_more_connections_than_allowed() -> None:
    """max_connections requests at once, the others queue."""
    async with SandboxServer(organizations=1, latency=0.001) as sandbox:
        async with CallsInProgressClient(token=sandbox.token, base_url=sandbox.url, max_connections=3) as client:
            await asyncio.gather(*(client.find(OTHER) for _ in range(30)))
        assert (sandbox.stats.peak_in_flight, sandbox.stats.requests) == (3, 30)


@pytest.mark.usefixtures("way")
async def test_as_many_connections_as_allowed() -> None:
    """More than the 100 of aiohttp's pools: all arrive before the first response."""
    all_there = asyncio.Event()

    async def respond(exchange: Exchange) -> None:
        if len(server.seen) == 101:
            all_there.set()
        await all_there.wait()
        await exchange.send(NO_CALLS)

    async with RawServer([respond]) as server, server.client(max_connections=101, retry=ONCE) as client:
        await asyncio.gather(*(client.find(ACME) for _ in range(101)))


async def test_a_response_up_to_max_response_size_is_read() -> None:
    """max_response_size limits the decoded body, so compression cannot get around it."""
    body = b'{"current_calls": []}'.ljust(1000)
    bomb = gzip.compress(body.ljust(10_000_000))
    async with RawServer([reply(200, body)]) as server, server.client(max_response_size=1000) as client:
        assert list(await client.find(ACME)) == []
        server.script = [reply(200, body + b" ")]
        with pytest.raises(sdk.ResponseTooLargeError, match="1000 bytes") as raised:
            await client.find(ACME)
        assert (raised.value.status, len(raised.value.attempts)) == (200, 1)
        server.script = [reply(200, gzip.compress(body), Content_Encoding="gzip")]
        assert list(await client.find(ACME)) == []
        server.script = [reply(200, bomb, Content_Encoding="gzip")]
        with pytest.raises(sdk.ResponseTooLargeError):
            await client.find(ACME)
        server.script = [NO_CALLS]
        assert list(await client.find(ACME)) == []


@pytest.mark.usefixtures("way")
async def test_a_limit_of_a_few_bytes_is_a_limit_as_any_other() -> None:
    """An eighth of it is read ahead, but a byte at least: with none aiohttp reads nothing at all."""
    async with RawServer([reply(200, "{}"), reply(200, "{ }")]) as server:
        async with server.client(max_response_size=2, retry=ONCE) as client:
            await update(client)
            with pytest.raises(sdk.ResponseTooLargeError, match="2 bytes"):
                await update(client)
        async with server.client(max_response_size=1, retry=ONCE) as client:
            server.script = [reply(200, "{}")]
            with pytest.raises(sdk.ResponseTooLargeError, match="1 bytes"):
                await update(client)


async def test_a_chunked_response_is_read_whole() -> None:
    """A body in many chunks is joined and decoded."""
    body = b'{"current_calls": []}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    async with RawServer([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks]) as server:  # noqa: SIM117
        async with server.client() as client:
            assert list(await client.find(ACME)) == []


# Life.


def test_a_client_is_made_outside_a_loop_without_io(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket, no session, no file; it can be made and dropped."""
    with monkeypatch.context() as no_io:
        for name in ("socket.socket", "builtins.open", "asyncio.get_running_loop"):
            no_io.setattr(name, None)
        client = CallsInProgressClient(token=TOKEN)
    assert client.base_url == "https://invoca.net"
    assert repr(client) == "<CallsInProgressClient https://invoca.net>"
    asyncio.run(client.close())
    assert repr(client) == "<CallsInProgressClient https://invoca.net closed>"


def test_the_constructor_is_the_documented_one() -> None:
    """The signature holds the documented settings and defaults."""
    defaults = CallsInProgressClient.__init__.__kwdefaults__
    assert defaults == {
        "base_url": "https://invoca.net", "network": None, "api_version": "2022-08-01",
        "organization_type_case": "lower",
        "default_region": "US", "validate_phone_numbers": "possible", "strict": False, "retry": RetryPolicy(),
        "rate_limit": None, "timeout": 30.0, "attempt_timeout": 10.0, "connect_timeout": 5.0, "max_connections": 100,
        "max_response_size": 32 * 2**20, "ssl": True, "proxy": None, "trust_env": False, "session": None,
        "transport": None, "instrumentation": (),
    }  # fmt: skip


async def test_nobody_learns_a_token_from_a_repr() -> None:
    """The client's, its parts' and their contents'."""
    async with RawServer() as server, server.client(proxy=None) as client:
        await client.find(ACME)
        for each in (client, *vars(client).values()):
            assert TOKEN not in repr(each)


async def test_closing_is_idempotent() -> None:
    """close() may be called twice, before the first use, and with calls running."""
    async with RawServer() as server:
        unused = server.client()
        await unused.close()
        await unused.close()
        used = server.client()
        await used.find(ACME)
        await used.close(drain=1)
        await used.close()
        async with server.client() as client:
            await client.close()


async def test_a_closed_client_raises_client_closed_error() -> None:
    """find, update, send and async with raise ClientClosedError; nothing is sent."""
    async with RawServer() as server:
        client = server.client()
        await client.close()
        for use in (client.find(ACME), update(client), client.__aenter__()):
            with pytest.raises(sdk.ClientClosedError, match="closed"):
                await use
        assert server.connections == 0


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("script", "settings", "ready"),
    [
        ([hang], {}, lambda server: len(server.seen) == 3),
        ([hang], {"max_connections": 1}, lambda server: len(server.seen) == 1),
        ([NO_CALLS], {"rate_limit": RateLimit(rate=1e-6, burst=1)}, lambda server: len(server.seen) == 1),
        ([reply(500)], {"retry": RetryPolicy(initial=1e6, maximum=1e6), "timeout": None}, lambda it: len(it.seen) > 2),
    ],
    ids=["on the network", "in the pool", "in the limiter", "in a pause"],
)  # fmt: skip
async def test_closing_cancels_running_calls(script: Any, settings: Any, ready: Any) -> None:
    """A running call raises ClientClosedError at any stage, and close() returns."""
    async with RawServer(script) as server:
        client = server.client(**settings)
        tasks = [asyncio.create_task(each) for each in (client.find(ACME), client.find(ACME), update(client))]
        await until(lambda: ready(server))
        await client.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in results} <= {
            sdk.ClientClosedError,
            sdk.CurrentCalls,
            sdk.CallUpdate,
            sdk.ServerError,
        }
        closed = [each for each in results if isinstance(each, sdk.ClientClosedError)]
        assert len(closed) >= 2
        assert all(task.done() for task in tasks)


async def test_closing_may_let_calls_end_first() -> None:
    """close(drain=) waits for them, rejects new ones, and then has nothing to end."""
    gate = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await gate.wait()
        await exchange.send(NO_CALLS)

    async with RawServer([slow]) as server:
        client = server.client()
        call = asyncio.create_task(client.find(ACME))
        await until(lambda: server.seen)
        closing = asyncio.create_task(client.close(drain=60))
        await asyncio.sleep(0)
        with pytest.raises(sdk.ClientClosedError):
            await client.find(ACME)
        gate.set()
        assert list(await call) == []
        await closing


async def test_a_drain_ends_after_its_seconds() -> None:
    """After the seconds of the drain the remaining calls are cancelled."""
    async with RawServer([hang]) as server:
        client = server.client()
        call = asyncio.create_task(client.find(ACME))
        await until(lambda: server.seen)
        await client.close(drain=0.001)
        with pytest.raises(sdk.ClientClosedError):
            await call
        with pytest.raises(sdk.InvalidRequestError, match=r"^drain "):
            await client.close(drain=-1)


def test_a_client_belongs_to_one_open_loop() -> None:
    """WrongLoopError in a second loop while the first is open."""

    async def find() -> None:
        await client.find(ACME)

    client = CallsInProgressClient(token=TOKEN, transport=Responding())
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(find())
        with pytest.raises(sdk.WrongLoopError, match="another event loop"):
            second.run(find())
        first.run(client.close())
        with pytest.raises(sdk.ClientClosedError):
            first.run(find())


@pytest.mark.parametrize("limit", [None, RateLimit(rate=500, burst=1), RateLimit(rate=500, per_organization_rate=400)])
def test_a_client_goes_on_in_the_next_loop(limit: RateLimit | None) -> None:
    """asyncio.run three times: slots, timers, queues and shared responses of the closed loop are forgotten."""

    async def find_at_once() -> None:
        calls = [client.find(ACME, timeout=5) for _ in range(3)]
        slow = asyncio.create_task(client.find(ACME, timeout=5))
        await asyncio.gather(*calls, client.find(ACME, max_age=100), client.update(ACME, transaction_id="T", **CHANGE))
        slow.cancel()

    transport = Responding()
    client = CallsInProgressClient(token=lambda _: TOKEN, transport=transport, max_connections=1, rate_limit=limit)
    for count in (1, 2, 3):
        asyncio.run(find_at_once())
        assert transport.count >= 5 * count
    asyncio.run(client.close())


CHANGE: Any = {"custom_data": {"a": "b"}}


class Responding:
    """A transport of the user's own: no calls, after a step of the loop.

    It has the two methods of `Transport` alone. The kit's `ScriptedTransport` is the package's own, and has more.
    """

    def __init__(self) -> None:
        self.count = self.closed = 0

    async def send(self, request: sdk.WireRequest, token: str, state: sdk.SendState) -> sdk.WireResponse:
        self.count += 1
        await asyncio.sleep(0)
        return sdk.WireResponse(200, {}, b'{"current_calls": []}')

    async def close(self) -> None:
        self.closed += 1


async def test_an_abandoned_client_warns_of_nothing() -> None:
    """The connections of a client are closed when it is garbage-collected."""
    async with RawServer() as server:
        client = server.client()
        await client.find(ACME)
        del client
        gc.collect()
        await until(lambda: not server._tasks)


def test_a_forked_child_needs_another_client() -> None:
    """The child gets WrongLoopError in any loop; the parent's connections stay open."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    script = textwrap.dedent("""
        import asyncio, gc, os, sys
        sys.path.insert(0, sys.argv[1])
        from raw_server import ACME, RawServer
        from calls_in_progress_async import WrongLoopError

        def rejected(client):
            coroutine = client.find(ACME)
            try:
                coroutine.send(None)
            except WrongLoopError as error:
                return "forked" in str(error)

        async def main():
            async with RawServer() as server:
                client = server.client()
                await client.find(ACME)
                child = os.fork()
                if child == 0:
                    ok = rejected(client)
                    del client
                    gc.collect()
                    os._exit(0 if ok else 1)
                _, status = os.waitpid(child, 0)
                assert status == 0, status
                await client.find(ACME)
                assert server.connections == 1, server.connections
                await client.close()
        asyncio.run(main())
        print("fine")
    """)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(Path(__file__).parent.parent)],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == ("fine\n", "")


# The session.


async def test_an_injected_session_is_used_and_never_closed() -> None:
    """The headers and cookies of the session go with the requests, and the client's own headers win."""
    async with RawServer() as server, aiohttp.ClientSession(headers={"X-Mine": "1", "User-Agent": "me"}) as session:
        async with server.client(session=session) as client:
            await client.find(ACME)
            await update(client)
        assert not session.closed
        for seen in server.seen:
            assert (seen.header("X-Mine"), seen.header("Authorization")) == ("1", TOKEN)
            assert seen.header("User-Agent") == f"calls-in-progress-async/{sdk.__version__}"
            assert seen.header("Accept") == "application/json"
        dropped = server.client(session=session)
        await dropped.find(ACME)
        del dropped
        gc.collect()
        assert not session.closed


async def test_a_redirect_is_rejected_with_an_injected_session_too() -> None:
    """With an injected session too, a lost connection is one attempt."""
    async with RawServer() as other, RawServer([reply(302, Location=other.url), None]) as server:
        async with aiohttp.ClientSession() as session, server.client(session=session, retry=ONCE) as client:
            with pytest.raises(sdk.RedirectRefusedError):
                await client.find(ACME)
            with pytest.raises(sdk.ConnectionLostError):
                await client.find(ACME)
        assert (other.connections, len(server.seen)) == (0, 2)


async def test_a_closed_session_is_named_in_the_error() -> None:
    """ClientClosedError names session=."""
    session = aiohttp.ClientSession()
    await session.close()
    async with RawServer() as server, server.client(session=session) as client:
        with pytest.raises(sdk.ClientClosedError, match="session="):
            await client.find(ACME)


def test_a_session_of_another_event_loop_is_a_clear_error() -> None:
    """WrongLoopError, before anything is sent, and the update surely was not applied."""

    async def main() -> None:
        async with RawServer() as server, server.client(session=session, retry=ONCE) as client:
            with pytest.raises(sdk.WrongLoopError, match="session=") as raised:
                await client.update(ACME, transaction_id="T", custom_data={"a": "b"})
            assert (raised.value.may_have_been_applied, server.connections) == (False, 0)

    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    with asyncio.Runner() as other:
        session = other.run(make())
        asyncio.run(main())
        other.run(session.close())


# Tokens.


def bearer(good: set[str]) -> Act:
    """Respond by the token of the request."""

    async def respond(exchange: Exchange) -> None:
        assert exchange.request is not None
        accepted = exchange.request.header("Authorization") in good
        await exchange.send(NO_CALLS if accepted else reply(401, '{"error": "NotAuthorized"}'))

    return respond


@pytest.mark.parametrize("max_attempts", [1, 2])
async def test_a_new_token_gets_one_attempt_beyond_the_last(max_attempts: int) -> None:
    """A rotated token costs no caller a 401, even without retries; a second 401 is final."""
    tokens = iter(["old", "new", "newer"])
    retry = RetryPolicy(max_attempts=max_attempts, initial=0)
    before = [reply(503)] * (max_attempts - 1)
    settings: dict[str, Any] = {"token": lambda _: next(tokens), "retry": retry}
    async with RawServer([*before, reply(401), NO_CALLS]) as server, server.client(**settings) as client:
        assert [each.status for each in (await client.find(ACME)).attempts][-2:] == [401, 200]
    tokens = iter(["old", "new", "newer"])
    async with RawServer([*before, reply(401)]) as server, server.client(**settings) as client:
        with pytest.raises(sdk.AuthenticationError) as raised:
            await client.find(ACME)
    assert [each.status for each in raised.value.attempts][-2:] == [401, 401]
    assert len(raised.value.attempts) == max_attempts + 1


@pytest.mark.parametrize("sync", [True, False])
async def test_a_callable_gives_each_organization_its_token(sync: bool) -> None:
    """Asked once for each, however many requests there are at once."""
    asked: list[Organization] = []

    def ask(organization: Organization) -> str:
        asked.append(organization)
        return f"token-of-{organization}"

    async def ask_later(organization: Organization) -> str:
        await asyncio.sleep(0)
        return ask(organization)

    async with RawServer() as server, server.client(token=ask if sync else ask_later) as client:
        for _ in range(2):
            await asyncio.gather(*(client.find(each) for each in (ACME, OTHER) * 10))
        assert sorted(map(str, asked)) == ["advertiser:25", "network:1"]
        for seen in server.seen:
            organization = f"{seen.arguments['organization_type'][0]}:{seen.arguments['id'][0]}"
            assert seen.header("Authorization") == f"token-of-{organization}"


async def test_a_rejected_token_is_fetched_once_more() -> None:
    """Many requests with a revoked token call the callable once, and each is sent again with the new token."""
    results = iter(["old", "new"])
    async with RawServer([bearer({"new"})]) as server, server.client(token=lambda _: next(results)) as client:
        results = await asyncio.gather(*(client.find(ACME) for _ in range(20)))
        assert [[each.status for each in result.attempts] for result in results] == [[401, 200]] * 20
        assert [each.status for each in (await client.find(ACME)).attempts] == [200]
        assert len(server.seen) == 41


async def test_a_second_rejection_is_final() -> None:
    """If the new token is rejected too, the call raises AuthenticationError; the next call fetches a token again."""
    asked: list[int] = []

    def ask(_: Organization) -> str:
        asked.append(1)
        return f"token{len(asked)}"

    async with RawServer([bearer({"token3"})]) as server, server.client(token=ask) as client:
        with pytest.raises(sdk.AuthenticationError) as raised:
            await client.find(ACME)
        assert [each.status for each in raised.value.attempts] == [401, 401]
        assert len((await client.find(ACME)).attempts) == 1
        assert len(asked) == 3


async def test_a_callable_that_has_no_other_token_is_not_tried_again() -> None:
    """An unchanged token, or a token as text: one request."""
    for token in (lambda _: "same", "same"):
        async with RawServer([bearer(set())]) as server, server.client(token=token) as client:
            with pytest.raises(sdk.AuthenticationError) as raised:
                await client.find(ACME)
            assert (len(server.seen), len(raised.value.attempts)) == (1, 1)


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_rejected_update_is_sent_again_with_the_new_token(method: Any) -> None:
    """A 401 means not carried out, so even a POST is sent again."""
    results = iter(["old", "new"])
    async with RawServer([bearer({"new"})]) as server, server.client(token=lambda _: next(results)) as client:
        assert len((await update(client, method=method)).attempts) == 2
        assert server.seen[0].body == server.seen[1].body


@pytest.mark.parametrize("bad", ["", "a b", "a\n", None, 5, b"x"])
async def test_a_token_of_a_callable_is_checked(bad: Any) -> None:
    """Nothing is sent with it, and the error names the token without showing it."""
    async with RawServer() as server, server.client(token=lambda _: bad) as client:
        with pytest.raises(sdk.InvalidRequestError, match=r"^token "):
            await client.find(ACME)
        assert server.connections == 0


async def test_a_failing_callable_is_called_again_by_the_next_request() -> None:
    """The callable's exception reaches the caller unchanged."""
    results: list[Any] = [KeyError("vault"), "good"]

    def ask(_: Organization) -> str:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return str(result)

    async with RawServer() as server, server.client(token=ask) as client:
        with pytest.raises(KeyError, match="vault"):
            await client.find(ACME)
        assert list(await client.find(ACME)) == []


async def test_a_cancelled_call_does_not_take_the_token_from_the_others() -> None:
    """One question, one cancelled waiter, one result for the rest."""
    gate = asyncio.Event()
    asked: list[Organization] = []

    async def ask(organization: Organization) -> str:
        asked.append(organization)
        await gate.wait()
        return "good"

    async with RawServer() as server, server.client(token=ask) as client:
        tasks = [asyncio.create_task(client.find(ACME)) for _ in range(3)]
        await until(lambda: asked)
        tasks[0].cancel()
        await asyncio.sleep(0)
        gate.set()
        assert [list(each) for each in await asyncio.gather(*tasks[1:])] == [[], []]
        assert (tasks[0].cancelled(), len(asked)) == (True, 1)


async def test_a_question_for_a_token_ends_with_the_client() -> None:
    """Closing cancels it; the waiting call raises ClientClosedError."""
    cancelled = asyncio.Event()
    asked = asyncio.Event()

    async def ask(_: Organization) -> str:
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()
        return ""

    async with RawServer() as server:
        client = server.client(token=ask)
        task = asyncio.create_task(client.find(ACME))
        await asked.wait()
        await client.close()
        with pytest.raises(sdk.ClientClosedError):
            await task
        await cancelled.wait()


async def test_a_failure_nobody_waited_for_is_no_warning() -> None:
    """All callers were cancelled before the callable failed."""
    gate = asyncio.Event()
    asked = asyncio.Event()

    async def ask(_: Organization) -> str:
        asked.set()
        await gate.wait()
        raise ValueError

    async with RawServer() as server, server.client(token=ask) as client:
        task = asyncio.create_task(client.find(ACME))
        await asked.wait()
        task.cancel()
        await asyncio.sleep(0)
        gate.set()
        await until(lambda: len(client._pipeline._tokens._asking) == 0)
        assert task.cancelled()
    gc.collect()


# The environment.

NAMES = ["TOKEN", "TOKEN_FILE", "BASE_URL", "NETWORK", "ORGANIZATION_TYPE_CASE"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets CALLS_IN_PROGRESS_* variables; none is set at first."""
    for name in NAMES:
        monkeypatch.delenv(f"CALLS_IN_PROGRESS_{name}", raising=False)
    return lambda **names: [monkeypatch.setenv(f"CALLS_IN_PROGRESS_{name}", value) for name, value in names.items()]


async def token_of(client: CallsInProgressClient) -> str:
    return await client._pipeline._tokens.get(ACME)


async def test_a_client_is_made_from_the_environment(environment: Any, tmp_path: Path) -> None:
    """Token or file, host or network, spelling."""
    file = tmp_path / "token"
    file.write_text("from-file\n")
    environment(TOKEN=" from-env\n", NETWORK="acme", ORGANIZATION_TYPE_CASE="capitalized")
    client = CallsInProgressClient.from_env(timeout=None)
    assert (client.base_url, await token_of(client)) == ("https://acme.invoca.net", "from-env")
    assert client._wire_format.organization_type_case == "capitalized"
    environment(TOKEN="", TOKEN_FILE=str(file), NETWORK="", BASE_URL="https://example.com")
    client = CallsInProgressClient.from_env()
    assert (client.base_url, await token_of(client)) == ("https://example.com", "from-file")


async def test_an_argument_wins_over_the_environment(environment: Any) -> None:
    """Each argument of from_env replaces the variable of the same setting."""
    environment(TOKEN="from-env", BASE_URL="https://env.example", ORGANIZATION_TYPE_CASE="capitalized")
    client = CallsInProgressClient.from_env(token="mine", base_url="https://my.example", organization_type_case="lower")
    assert (client.base_url, await token_of(client)) == ("https://my.example", "mine")
    assert client._wire_format.organization_type_case == "lower"


@pytest.mark.parametrize(
    ("names", "parameter", "words"),
    [
        ({}, "token", "CALLS_IN_PROGRESS_TOKEN"),
        ({"TOKEN": "a", "TOKEN_FILE": "b"}, "token", "is set twice"),
        ({"TOKEN": " "}, "token", "is missing"),
        ({"TOKEN": "se cret"}, "token", "is malformed"),
        ({"TOKEN_FILE": "/no/such/file"}, "token", "CALLS_IN_PROGRESS_TOKEN_FILE names: No such file"),
        ({"TOKEN_FILE": "/"}, "token", "CALLS_IN_PROGRESS_TOKEN_FILE names: Is a directory"),
        ({"TOKEN": "a", "NETWORK": "a.b"}, "network", "must be a subdomain"),
        ({"TOKEN": "a", "NETWORK": "a", "BASE_URL": "https://b"}, "network", "comes with base_url"),
        ({"TOKEN": "a", "BASE_URL": "http://b"}, "base_url", "use https://"),
        ({"TOKEN": "a", "ORGANIZATION_TYPE_CASE": "upper"}, "organization_type_case", 'must be "lower" or'),
    ],
)
def test_a_bad_environment_is_rejected(environment: Any, names: Any, parameter: str, words: str) -> None:
    """The error names the variable or the setting, and never shows a token."""
    environment(**names)
    with pytest.raises(sdk.InvalidRequestError, match=words) as raised:
        CallsInProgressClient.from_env()
    assert raised.value.parameter == parameter
    assert str(raised.value).isprintable()
    assert "se cret" not in str(raised.value)


@pytest.mark.parametrize("max_attempts", [1, 3])
async def test_a_rotated_token_file_is_read_again(environment: Any, tmp_path: Path, max_attempts: int) -> None:
    """A 401 makes the client read the file once more, whatever retries are left: a rotated secret needs no restart."""
    file = tmp_path / "token"
    file.write_text("old")
    async with RawServer([NO_CALLS, reply(401), NO_CALLS]) as server:
        environment(TOKEN_FILE=f"{file}\r", BASE_URL=server.url)
        async with CallsInProgressClient.from_env(retry=RetryPolicy(max_attempts=max_attempts)) as client:
            await client.find(ACME)
            file.write_text("new\r\n")
            await client.find(ACME)
    assert [seen.header("Authorization") for seen in server.seen] == ["old", "old", "new"]


async def test_a_line_end_of_windows_is_no_part_of_a_variable(environment: Any) -> None:
    """``docker --env-file`` passes the carriage returns of its file."""
    environment(TOKEN="t\r", NETWORK="acme\r", ORGANIZATION_TYPE_CASE="capitalized\r")
    client = CallsInProgressClient.from_env()
    assert (await token_of(client), client.base_url) == ("t", "https://acme.invoca.net")


def test_the_settings_of_the_environment_are_the_clients() -> None:
    """A type checker sees a misspelt setting of from_env."""
    parameters = inspect.signature(CallsInProgressClient).parameters
    assert list(ClientSettings.__annotations__) == list(parameters)
    hints = get_type_hints(CallsInProgressClient.__init__)
    assert get_type_hints(ClientSettings) == {name: hints[name] for name in parameters}


@pytest.mark.parametrize("content", [b"\xff\xfe", b" \n", b"se cret"], ids=["binary", "empty", "malformed"])
def test_a_token_file_without_a_token_is_rejected(environment: Any, tmp_path: Path, content: bytes) -> None:
    """The error names the variable that is set, and does not show the content of the file."""
    file = tmp_path / "token"
    file.write_bytes(content)
    environment(TOKEN_FILE=str(file))
    with pytest.raises(sdk.InvalidRequestError, match="CALLS_IN_PROGRESS_TOKEN_FILE names: it holds none") as raised:
        CallsInProgressClient.from_env()
    assert "se cret" not in str(raised.value)


async def test_a_token_is_read_from_a_pipe_once(environment: Any) -> None:
    """``CALLS_IN_PROGRESS_TOKEN_FILE=<(vault read ...)``: a second reading would find nothing, or wait for ever."""
    reader, writer = os.pipe()
    os.write(writer, b"from-pipe\n")
    os.close(writer)
    environment(TOKEN_FILE=f"/dev/fd/{reader}")
    client = CallsInProgressClient.from_env()
    os.close(reader)
    assert await token_of(client) == "from-pipe"


async def test_clients_of_two_loops_work_side_by_side() -> None:
    """Two threads each run a loop with a client."""
    async with RawServer() as server:

        async def use() -> int:
            async with CallsInProgressClient(token=TOKEN, base_url=server.url, retry=AT_ONCE) as client:
                return len(await client.find(ACME))

        assert await asyncio.gather(use(), asyncio.to_thread(lambda: asyncio.run(use()))) == [0, 0]


async def test_numbers_are_loaded_off_the_loop_and_once() -> None:
    """The library is imported when a number is first used, by the client in a thread."""
    script = textwrap.dedent("""
        import asyncio, sys
        sys.path.insert(0, sys.argv[1])
        from raw_server import ACME, RawServer
        async def main():
            async with RawServer() as server, server.client() as client:
                await client.find(ACME)
                print("phonenumbers" in sys.modules)
                numbers = {"calling_phone_number": "5309999999", "destination_phone_number": "8555595599"}
                await asyncio.gather(*(client.find(ACME, **numbers) for _ in range(3)))
                print("phonenumbers" in sys.modules)
                print(len(server.seen))
        asyncio.run(main())
    """)
    ran = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", script, str(Path(__file__).parent.parent), stdout=-1, stderr=-1
    )
    out, errors = await ran.communicate()
    assert (json.dumps(out.decode().split()), errors) == ('["False", "True", "4"]', b"")


@pytest.mark.parametrize(
    ("status", "kind"), [(401, sdk.AuthenticationError), (404, sdk.NotFoundError), (500, sdk.ServerError)]
)
async def test_a_session_that_raises_for_status_changes_nothing(status: int, kind: type[Exception]) -> None:
    """raise_for_status=True of an injected session does not take the response from us."""
    async with RawServer([reply(status)]) as server, aiohttp.ClientSession(raise_for_status=True) as session:  # noqa: SIM117
        async with server.client(session=session, retry=ONCE) as client:
            with pytest.raises(kind):
                await client.find(ACME)


async def test_closing_at_the_same_time_is_closing_once() -> None:
    """The second close waits, or returns at once."""
    async with RawServer() as server:
        client = server.client()
        await client.find(ACME)
        await asyncio.gather(client.close(), client.close(), client.close(drain=1))


async def test_closing_in_a_pause_leaves_no_coroutine_behind() -> None:
    """A response at the moment of closing begins no wait, and leaves none unawaited."""
    gate = asyncio.Event()

    async def respond(_: object) -> int:
        await gate.wait()
        return 500

    client = CallsInProgressClient(token=TOKEN, transport=ScriptedTransport(respond))
    call = asyncio.create_task(client.find(ACME))
    await asyncio.sleep(0)
    gate.set()
    await client.close()
    with pytest.raises(sdk.ClientClosedError):
        await call
    gc.collect()


def test_a_call_after_closing_raises_client_closed_error() -> None:
    """The error is the same if calls were running at the close (a find may load a library meanwhile)."""

    async def main() -> None:
        it = rig(status(200, seconds=100.0))
        running = asyncio.create_task(it.go())
        await asyncio.sleep(1)
        await it.pipeline.close(None)
        assert type(await running) is sdk.ClientClosedError
        assert type(await it.go()) is sdk.ClientClosedError

    virtual_clock.run(main)


@pytest.mark.parametrize("proxy", [5, "", "not a url", "http://[::1", "http://x:99999", b"http://x", object()])
async def test_a_proxy_is_checked(proxy: Any) -> None:
    """Anything but the URL of a proxy is rejected, and not shown."""
    with pytest.raises(sdk.InvalidRequestError, match=r"^proxy "):
        CallsInProgressClient(token=TOKEN, proxy=proxy)


@pytest.mark.parametrize("session", [5, "", aiohttp.ClientSession])
async def test_a_session_is_checked(session: Any) -> None:
    """Anything but an aiohttp session is rejected."""
    with pytest.raises(sdk.InvalidRequestError, match=r"^session "):
        CallsInProgressClient(token=TOKEN, session=session)


def test_a_client_that_was_never_used_survives_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """A used one is rejected in the child, by the count of forks."""
    from calls_in_progress_async import loop_affinity as module  # noqa: PLC0415

    monkeypatch.setattr(module, "_forks", module._forks)
    unused, used = (CallsInProgressClient(token=TOKEN, transport=Responding()) for _ in range(2))
    asyncio.run(used.find(ACME))
    module._count_fork()
    assert list(asyncio.run(unused.find(ACME))) == []
    with pytest.raises(sdk.WrongLoopError, match="forked"):
        asyncio.run(used.find(ACME))
    asyncio.run(used.close())


# The transport.


@pytest.mark.parametrize("wrong", [5, "http", Responding, object()])
def test_a_transport_is_checked(wrong: Any) -> None:
    """An object with send() and close()."""
    with pytest.raises(sdk.InvalidRequestError, match=r"^transport must be an object with send\(\) and close\(\), got"):
        CallsInProgressClient(token=TOKEN, transport=wrong)


@pytest.mark.parametrize(
    "other", [{"proxy": "http://proxy.example:3128"}, {"trust_env": True}, {"ssl": ssl.create_default_context()}]
)
def test_a_custom_transport_excludes_settings_of_the_built_in_one(other: Any) -> None:
    """A custom transport would ignore connection settings, so the client rejects them."""
    (name,) = other
    with pytest.raises(sdk.InvalidRequestError, match=rf"^transport comes with {name}, pass one of them"):
        CallsInProgressClient(token=TOKEN, transport=Responding(), **other)


async def test_a_transport_excludes_a_session() -> None:
    """One of the two connects."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(sdk.InvalidRequestError, match="comes with session"):
            CallsInProgressClient(token=TOKEN, transport=Responding(), session=session)


class Foreign(Responding):
    """A transport with exceptions of its own, and the token in their frames.

    The kit's `ScriptedTransport` accepts no `CancelledError`, and sets `may_have_been_sent` itself.
    """

    def __init__(self, failure: BaseException, sent: bool | None) -> None:
        super().__init__()
        self.failure, self.sent = failure, sent

    async def send(self, request: sdk.WireRequest, token: str, state: sdk.SendState) -> sdk.WireResponse:
        self.count += 1
        if self.sent is not None:
            state.may_have_been_sent = self.sent
        raise self.failure


@pytest.mark.parametrize("sent", [None, True, False])
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (LookupError("secret"), "LookupError"),
        (TimeoutError("secret"), "TimeoutError"),
        (asyncio.CancelledError("secret"), "it was cancelled from within"),
    ],
)
async def test_exceptions_of_a_foreign_transport_are_connections_lost(
    failure: BaseException, said: str, sent: bool | None
) -> None:
    """An update may have been applied, and a POST is not repeated, unless the transport denies sending anything."""
    transport = Foreign(failure, sent)
    async with CallsInProgressClient(token=TOKEN, transport=transport, retry=AT_ONCE) as client:
        with pytest.raises(sdk.ConnectionLostError, match=f"The transport failed: {said}") as raised:
            await client.update(ACME, transaction_id="T", method="POST", **CHANGE)
    error = raised.value
    assert error.may_have_been_applied is (sent is not False)
    assert transport.count == len(error.attempts) == (3 if sent is False else 1)
    assert (error.__cause__, error.__context__) == (None, None)
    assert "secret" not in str(error)
    assert transport.closed == 1


async def test_a_missing_c_parser_is_logged() -> None:
    """Aiohttp without its C parser accepts malformed HTTP."""
    from aiohttp.http_parser import HttpResponseParserPy  # noqa: PLC0415

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("aiohttp.http.HttpResponseParser", HttpResponseParserPy)
        async with RawServer() as server, server.client() as client:
            with pytest.warns(RuntimeWarning, match="without its C parser"):
                await client.find(ACME)


@pytest.mark.parametrize("later", [False, True])
async def test_an_unsolicited_response_is_never_read_as_the_next_one(later: bool) -> None:
    """A connection with a second response, early or while idle, is not used again."""
    smuggled = reply(200, '{"current_calls": [{"transaction_id": "smuggled"}]}')
    async with RawServer([NO_CALLS if later else NO_CALLS + smuggled, NO_CALLS]) as server:
        async with server.client() as client, server.client() as other:
            assert list(await client.find(ACME)) == []
            if later:
                server.writers[0].write(smuggled)
                await other.find(ACME)  # a round trip, long enough for its arrival
            for _ in range(2):
                assert list(await client.find(ACME)) == []
        assert [seen.connection for seen in server.seen] == ([1, 2, 3, 3] if later else [1, 2, 2])


async def test_a_connection_is_used_again() -> None:
    """A connection is kept while it is sound; a partly read response ends it."""
    async with RawServer([NO_CALLS, DONE, reply(404), NO_CALLS]) as server:  # noqa: SIM117
        async with server.client(max_response_size=100) as client:
            await client.find(ACME)
            await update(client)
            with pytest.raises(sdk.NotFoundError):
                await client.find(ACME)
            await client.find(ACME)
            assert server.connections == 1
            server.script = [reply(200, "x" * 200_000)]
            with pytest.raises(sdk.ResponseTooLargeError):
                await client.find(ACME)
            server.script = [NO_CALLS]
            await client.find(ACME)
            assert server.connections == 2


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        (("BASE_URL", "https://env.example"), {"network": "acme"}),
        (("NETWORK", "acme"), {"base_url": "https://my.example"}),
    ],
)
def test_what_is_passed_wins_over_the_other_name_of_the_host(
    variable: tuple[str, str], setting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host passed as an argument wins over both variables."""
    for name in ("BASE_URL", "NETWORK"):
        monkeypatch.delenv(f"CALLS_IN_PROGRESS_{name}", raising=False)
    monkeypatch.setenv(f"CALLS_IN_PROGRESS_{variable[0]}", variable[1])
    client = CallsInProgressClient.from_env(token=TOKEN, **setting)
    assert client.base_url == setting.get("base_url", "https://acme.invoca.net")


@pytest.mark.parametrize("request_", [None, "find", sdk.CurrentCallsRequest, ACME])
async def test_what_is_sent_is_a_request(request_: Any) -> None:
    """Anything but a request is rejected by name."""
    async with CallsInProgressClient(token=TOKEN) as client:
        with pytest.raises(sdk.InvalidRequestError, match=r"^request "):
            await client.send(request_)


@pytest.mark.parametrize("attempts", [1, 3])
async def test_a_rejected_token_is_not_used_again(attempts: int) -> None:
    """A token rejected with 401 is forgotten."""
    tokens = iter(["old", "new"])

    retry = RetryPolicy(max_attempts=attempts)
    async with (
        RawServer([bearer({"new"})]) as server,
        server.client(token=lambda _: next(tokens), retry=retry) as client,
    ):
        for _ in range(3):
            assert len(await client.find(ACME)) == 0
    assert next(tokens, "none is left") == "none is left"


async def test_what_the_limits_have_learnt_goes_to_the_next_start() -> None:
    """A 429 cuts the rate; the next client, given the exported state as JSON, begins with the lower rate."""
    limit = RateLimit.adaptive(initial=40.0)
    async with RawServer([reply(429, Retry_After="0"), NO_CALLS]) as server:
        async with server.client(rate_limit=limit) as client:
            await client.find(ACME)
            (before,) = client.rate_limits.snapshot().shared.values()
            state = json.loads(json.dumps(client.rate_limits.export_state()))
        async with server.client(rate_limit=RateLimit.adaptive(initial=40.0, state=state)) as client:
            await client.find(ACME)
            (after,) = client.rate_limits.snapshot().shared.values()
    assert before.rate == after.rate < 40.0
    assert TOKEN not in str(state)


@frozen
class HangUpRequest:
    """An endpoint of the user's own: a write without a body, and a result of its own."""

    organization: Organization
    has_phone_numbers: bool = False

    def wire(self, wire_format: WireFormat) -> WireRequest:
        return WireRequest(method="DELETE", target=wire_format.target("calls_in_progress", self.organization, {}))

    def read(self, response: WireResponse, wire_format: WireFormat, attempts: tuple[sdk.Attempt, ...]) -> int:
        return response.status


@pytest.mark.usefixtures("way")
async def test_a_third_endpoint_is_one_class() -> None:
    """`send` takes any `Endpoint`, with a result of its own; a lost write may have been applied."""
    async with RawServer([reply(204)]) as server, server.client() as client:
        status: int = await client.send(HangUpRequest(ACME))
    assert status == 204

    async with RawServer([None]) as server, server.client(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(sdk.ConnectionLostError) as raised:
            await client.send(HangUpRequest(ACME))
    assert raised.value.may_have_been_applied


def test_the_package_imports_where_there_is_no_fork() -> None:
    """Windows has neither `os.fork` nor `os.register_at_fork`."""
    program = "import os; del os.fork, os.register_at_fork; import calls_in_progress_async"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
