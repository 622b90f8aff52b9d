"""The client's polling methods against the sandbox server, on the wire."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest

from calls_in_progress_async import (
    AuthenticationError,
    CallChanged,
    CallEnded,
    CallsInProgressClient,
    CallStarted,
    ClientClosedError,
    DeadlineExceededError,
    InvalidRequestError,
    Organization,
    OrganizationFailed,
    OrganizationRecovered,
    RetryPolicy,
    ServerError,
    UnexpectedResponseError,
    WrongLoopError,
)
from calls_in_progress_async.sandbox import Fault, Revision, SandboxServer

pytestmark = pytest.mark.usefixtures("on_virtual_clock")

ACME, KEY = Organization.advertiser(2), (2, "advertiser")
CALLER, DESTINATION = "+18005551234", "+18005559876"


@contextlib.asynccontextmanager
async def opened(client: Any = None, **settings: Any) -> AsyncIterator[tuple[SandboxServer, CallsInProgressClient]]:
    settings = {"organizations": 3, "calls_per_organization": 0, **settings}
    async with (
        SandboxServer(**settings) as sandbox,
        CallsInProgressClient(
            token=sandbox.token, base_url=sandbox.url, retry=RetryPolicy(max_attempts=1), **(client or {})
        ) as made,
    ):
        yield sandbox, made


@pytest.mark.parametrize("revision", get_args(Revision))
async def test_a_watch_of_every_revision(revision: Revision) -> None:
    """A watch tells the life of a call from the bodies of every revision of the API."""
    async with opened(revision=revision) as (sandbox, client):
        name = sandbox.start_call(KEY)
        async with client.watch([ACME], interval=0.05) as watch:
            started = await anext(watch)
            assert isinstance(started, CallStarted)
            assert started.call.transaction_id == name
            sandbox.change_call(KEY, name, external_unique_id="mine", a_new_field="x")
            changed = await anext(watch)
            assert isinstance(changed, CallChanged)
            assert changed.changes == {"external_unique_id": (None, "mine"), "a_new_field": (None, "x")}
            sandbox.end_call(KEY, name)
            assert await anext(watch) == CallEnded(ACME, changed.call)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "status", "status": 401}, AuthenticationError),
        ({"kind": "garbage"}, UnexpectedResponseError),
        ({"kind": "status", "status": 200, "body": b'{"current_calls":null}'}, UnexpectedResponseError),
    ],
)
async def test_a_response_without_a_list_is_a_failure(fault: dict[str, Any], expected: type[Exception]) -> None:
    """The failure is told with its attempts, and no call ends."""
    async with opened() as (sandbox, client):
        sandbox.start_call(KEY)
        async with client.watch([ACME], interval=0.05) as watch:
            assert isinstance(await anext(watch), CallStarted)
            sandbox.fail_next(**fault)
            failed, recovered = await anext(watch), await anext(watch)
            assert isinstance(failed, OrganizationFailed)
            assert isinstance(failed.error, expected)
            assert len(failed.error.attempts) == 1
            assert isinstance(recovered, OrganizationRecovered)
            assert len(watch.calls[ACME]) == 1


async def test_a_strict_client_watches_strictly() -> None:
    """A strict watch fails for the same responses as a strict find."""
    async with opened({"strict": True}) as (sandbox, client):
        sandbox.start_call(KEY, bridge_start_time="noon")
        async with client.watch([ACME], interval=0.05) as watch:
            failed = await anext(watch)
            assert isinstance(failed, OrganizationFailed)
            assert "current_calls[0].bridge_start_time" in str(failed.error)


async def test_the_events_of_many_organizations_are_those_that_happened() -> None:
    """Every event is in the sandbox's own log, and the known calls at the end are the live ones."""
    async with opened(organizations=20, calls_per_organization=3, speed=60, seed=4) as (sandbox, client):
        organizations = sandbox.organizations
        state: dict[Organization, dict[str, Any]] = {each: {} for each in organizations}
        async with client.watch(organizations, interval=0.1) as watch:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    async for event in watch:
                        apply(state, event)
            while watch.stats.pending:
                apply(state, await anext(watch))
            known = {each: {call.transaction_id for call in calls} for each, calls in watch.calls.items()}
        assert {each: set(calls) for each, calls in state.items()} == known
        for organization in organizations:
            history = {(e.kind, e.transaction_id) for e in sandbox.history(organization)}
            assert all(("started", name) in history for name in known[organization])


def apply(state: dict[Organization, dict[str, Any]], event: Any) -> None:
    match event:
        case CallStarted(organization, call):
            assert call.transaction_id not in state[organization]
            state[organization][call.transaction_id] = call
        case CallChanged(organization, call, previous, changes):
            assert state[organization][call.transaction_id] == previous
            assert changes
            state[organization][call.transaction_id] = call
        case CallEnded(organization, call):
            assert state[organization].pop(call.transaction_id) == call


async def test_closing_the_client_ends_the_watch() -> None:
    """Iteration raises ClientClosedError at once, not at the next poll."""
    async with opened() as (_, client), client.watch([ACME], interval=60) as watch:
        waiting = asyncio.create_task(anext(watch))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(ClientClosedError):
            await waiting


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_watch_of_nothing_on_a_closed_client_ends(when: str) -> None:
    """Iteration raises ClientClosedError, though no poll runs that could find out."""
    async with opened() as (_, client):
        if when == "before":
            await client.close()
        watch = client.watch([])
        if when == "after":
            await client.close()
        async with watch:
            with pytest.raises(ClientClosedError):
                await asyncio.wait_for(anext(watch), 5)


@pytest.mark.parametrize("organizations", [ACME, "advertiser:2", ["advertiser:2"], {"advertiser:2": 1}, 5, None])
@pytest.mark.parametrize("method", ["watch", "find_many"])
async def test_wrong_organizations_are_rejected_at_the_call(method: str, organizations: Any) -> None:
    """The argument is rejected by its name, before anything is sent."""
    async with opened() as (sandbox, client):
        with pytest.raises(InvalidRequestError, match=r"^organizations must be ") as caught:
            getattr(client, method)(organizations)
        assert caught.value.parameter == "organizations"
        assert not sandbox.requests


async def test_a_closed_client_of_a_token_callable_is_one_organizations_trouble() -> None:
    """The token callable of one organization uses a closed client; the others are polled and found."""
    other = Organization.advertiser(3)

    async with opened() as (sandbox, spare):
        await spare.close()

        async def token(organization: Organization) -> str:
            if organization == other:
                await spare.find(organization)
            return sandbox.token

        async with CallsInProgressClient(token=token, base_url=sandbox.url) as client:
            results = {each.organization: each async for each in client.find_many([ACME, other])}
            assert results[ACME].error is None
            assert isinstance(results[other].error, ClientClosedError)
            sandbox.start_call(KEY)
            async with client.watch([other, ACME], interval=0.05) as watch:
                events = [await anext(watch) for _ in range(2)]
            assert {type(event) for event in events} == {CallStarted, OrganizationFailed}


async def test_the_first_poll_comes_at_once() -> None:
    """However long the interval is, calls in progress are told within a second."""
    async with opened() as (sandbox, client):
        sandbox.start_call(KEY)
        async with client.watch([ACME], interval=3600) as watch:
            assert isinstance(await asyncio.wait_for(anext(watch), 1), CallStarted)


async def test_a_watch_uses_the_real_clock_and_goes_on_after_a_pause() -> None:
    """A watch of nothing waits; an organization added later is polled."""
    async with opened() as (sandbox, client):
        sandbox.start_call(KEY)
        async with client.watch([], interval=0.05) as watch:
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(0)
            watch.add(ACME)
            assert isinstance(await waiting, CallStarted)


async def test_find_many_on_the_wire() -> None:
    """One result each; one organization's failure is its own."""
    async with opened(organizations=30, calls_per_organization=2) as (sandbox, client):
        sandbox.fail_next(kind="status", status=401, organization=KEY)
        organizations = sandbox.organizations
        results = {each.organization: each async for each in client.find_many(organizations, max_in_flight=5)}
        assert results.keys() == set(organizations)
        assert isinstance(results.pop(ACME).error, AuthenticationError)
        assert all(each.calls is not None for each in results.values())
        assert sandbox.stats.peak_in_flight <= 5


async def test_finds_with_max_age_share_requests() -> None:
    """Fifty finds at once and one right after share a request; other filters and max_age=None share nothing."""
    async with opened() as (sandbox, client):
        name = sandbox.start_call(KEY)
        found = await asyncio.gather(*(client.find(ACME, max_age=60.0) for _ in range(50)))
        assert {tuple(call.transaction_id for call in calls) for calls in found} == {(name,)}
        await client.find(ACME, max_age=60.0)
        assert sandbox.stats.requests == 1
        await client.find(ACME, max_age=60.0, transaction_id=name)
        await client.find(ACME)
        assert sandbox.stats.requests == 3


@pytest.mark.parametrize("arguments", [{"max_age": -1}, {"max_age": 1.0, "timeout": 0}])
async def test_max_age_is_checked(arguments: dict[str, Any]) -> None:
    """A max_age or a timeout out of its range is rejected."""
    async with opened() as (sandbox, client):
        with pytest.raises(InvalidRequestError) as caught:
            await client.find(ACME, **arguments)
        assert caught.value.parameter in arguments
        assert sandbox.stats.requests == 0


async def test_a_closed_client_gives_no_old_responses() -> None:
    """After close, max_age does not bring responses back."""
    async with opened() as (_, client):
        await client.find(ACME, max_age=60.0)
        await client.close()
        with pytest.raises(ClientClosedError):
            await client.find(ACME, max_age=60.0)


async def test_waiting_for_a_call() -> None:
    """The call of two numbers is found soon after its start, and all waiters share the polls."""
    async with opened() as (sandbox, client):
        waiting = [
            asyncio.create_task(
                client.wait_for_call(ACME, calling_phone_number="800-555-1234", destination_phone_number=DESTINATION)
            )
            for _ in range(20)
        ]
        other = asyncio.create_task(client.wait_for_call(ACME, external_unique_id="mine"))
        while not sandbox.stats.requests:
            await asyncio.sleep(0.001)
        name = sandbox.start_call(
            KEY, calling_phone_number=CALLER, destination_phone_number=DESTINATION, external_unique_id="mine"
        )
        assert {call.transaction_id for call in await asyncio.gather(*waiting, other)} == {name}
        assert sandbox.stats.requests < len(waiting)


async def test_waiting_for_a_call_asks_with_the_servers_filter() -> None:
    """Numbers are sent to the server, whose filter decides: a record may leave a number out or add an extension."""
    async with opened() as (sandbox, client):
        name = sandbox.start_call(KEY, calling_phone_number=CALLER, destination_phone_number=DESTINATION)
        sandbox.start_call(KEY, calling_phone_number="+18005550000", destination_phone_number=DESTINATION)
        found = await client.wait_for_call(ACME, calling_phone_number=CALLER, destination_phone_number=DESTINATION)
        assert found.transaction_id == name
        assert all("calling_phone_number=%2B18005551234" in request.path for request in sandbox.requests)


async def test_waiting_for_a_call_tells_an_outage_from_an_absence() -> None:
    """While the server fails, the error is the server's; without a failure it is TimeoutError."""
    async with opened() as (sandbox, client):
        sandbox.faults = [Fault(kind="status", status=500)]
        with pytest.raises(ServerError):
            await client.wait_for_call(ACME, timeout=0.3)
        sandbox.faults = []
        with pytest.raises(TimeoutError) as caught:
            await client.wait_for_call(ACME, timeout=0.3)
        assert type(caught.value) is TimeoutError


async def test_waiting_for_a_call_that_does_not_come() -> None:
    """The builtin TimeoutError is raised after the timeout."""
    async with opened() as (_, client):
        with pytest.raises(TimeoutError):
            await client.wait_for_call(ACME, timeout=0.05)
        with pytest.raises(InvalidRequestError):
            await client.wait_for_call(ACME, timeout=-1)


async def test_closing_the_client_ends_a_wait_between_two_looks() -> None:
    """The wait ends at once, not at the next look."""
    async with opened() as (sandbox, client):
        waiting = asyncio.create_task(client.wait_for_call(ACME, transaction_id="NONE-1", timeout=None))
        while not sandbox.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        await client.close()
        assert waiting.done()
        with pytest.raises(ClientClosedError):
            await waiting


@pytest.mark.parametrize("ends", ["close", "timeout"])
@pytest.mark.parametrize("act", ["find", "wait_for_call"])
async def test_loading_the_phone_number_library_ends_with_deadline_and_client(
    act: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading in a thread may take long; after the timeout or close nothing is sent."""

    async def load() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("calls_in_progress_async.phone_numbers.load", load)
    numbers = {"calling_phone_number": CALLER, "destination_phone_number": DESTINATION}
    limit: dict[str, Any] = {"timeout": 0.05 if ends == "timeout" else None}
    async with opened() as (sandbox, client):
        asking = asyncio.create_task(getattr(client, act)(ACME, **numbers, **limit))
        await asyncio.sleep(0)
        if ends == "close":
            await client.close()
        with pytest.raises(ClientClosedError if ends == "close" else DeadlineExceededError):
            await asking
        assert not sandbox.requests


async def test_waiting_in_another_event_loop_is_rejected_before_anything_is_done() -> None:
    """The client's timers belong to its own event loop."""
    async with opened() as (_, client):
        await client.find(ACME)

        async def wait() -> None:
            with pytest.raises(WrongLoopError):
                await client.wait_for_call(ACME, **numbers, timeout=0.5)

        numbers = {"calling_phone_number": CALLER, "destination_phone_number": DESTINATION}
        timer = client._pipeline._lifetime.scopes.next_look
        await asyncio.to_thread(asyncio.run, wait())
        assert client._pipeline._lifetime.scopes.next_look == timer


async def test_closing_the_client_ends_waits_for_other_things() -> None:
    """A find_many with a waiting source, and a watch between two polls, end at once, each with its own message."""

    async def source() -> AsyncIterator[Organization]:
        yield ACME
        await asyncio.Event().wait()

    async with opened(latency=30.0) as (sandbox, client):
        many = client.find_many(source())
        running = asyncio.create_task(anext(many))
        async with client.watch([Organization.advertiser(3)], interval=10_000.0) as watch:
            watching = asyncio.create_task(anext(watch))
            while not sandbox.stats.in_flight:
                await asyncio.sleep(0.01)
            await client.close()
            with pytest.raises(ClientClosedError, match="while its organizations were being asked"):
                await asyncio.wait_for(running, 5)
            with pytest.raises(ClientClosedError, match="while the watch was running"):
                await asyncio.wait_for(watching, 5)


async def test_closing_the_client_lets_running_finds_of_many_end() -> None:
    """With drain, running finds have results, then the error is raised; no other find starts."""
    async with opened(latency=0.1) as (_, client):
        many = client.find_many([Organization.advertiser(2), Organization.advertiser(3)] * 50, max_in_flight=2)
        first = asyncio.create_task(anext(many))
        await asyncio.sleep(0.01)
        await client.close(drain=5)
        assert (await first).calls == (await anext(many)).calls
        with pytest.raises(ClientClosedError):
            await anext(many)
