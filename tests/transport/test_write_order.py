"""Updates of one call go out one at a time, in the order they were asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import evolve
from raw_server import ACME, DONE, RawServer, reply
from transport.pipelines import FIND, rig, write

import calls_in_progress_async as sdk
from calls_in_progress_async import Attempt, Organization, RetryPolicy, UpdateCallRequest
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.testing import SentRequest, status
from calls_in_progress_async.transport.wire import WireRequest

pytestmark = pytest.mark.usefixtures("on_virtual_clock")


def value_of(request: SentRequest) -> str:
    return str(request.json["call_in_progress"]["custom_data"][0]["value"])


def change(value: str, **names: Any) -> Any:
    return write(custom_data={"n": value}, **names)


async def test_updates_of_one_call_keep_their_order() -> None:
    """However long each takes, one is over before the next begins."""
    it = rig(status(200, seconds=3.0), status(200, seconds=1.0))
    results = await asyncio.gather(*(it.go(change(str(n))) for n in range(5)))
    assert results == [200] * 5
    assert [value_of(each) for each in it.transport.requests] == list("01234")
    assert (it.transport.most, it.transport.times) == (1, [0.0, 3.0, 4.0, 5.0, 6.0])
    assert not it.pipeline.in_use()["write queues"]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ({"transaction_id": "T"}, {"transaction_id": "U"}, True),
        ({"transaction_id": "T"}, {"external_unique_id": "T"}, True),
        ({"transaction_id": "T"}, {"transaction_id": "T"}, False),
        ({"external_unique_id": "E"}, {"external_unique_id": "E"}, False),
        ({"transaction_id": "T", "external_unique_id": "E"}, {"external_unique_id": "E"}, False),
        ({"transaction_id": "T", "new_external_unique_id": "E"}, {"external_unique_id": "E"}, False),
        ({"external_unique_id": "E"}, {"transaction_id": "T", "new_external_unique_id": "E"}, False),
        ({"transaction_id": "T", "method": "POST"}, {"transaction_id": "T"}, False),
        ({"external_unique_id": "E", "new_external_unique_id": "E"}, {"external_unique_id": "E"}, False),
    ],
)
async def test_only_updates_that_share_a_name_wait_for_each_other(first: Any, second: Any, together: bool) -> None:
    """The id a call is given counts as its name."""
    it = rig(status(200, seconds=1.0))
    assert await asyncio.gather(it.go(change("1", **first)), it.go(change("2", **second))) == [200, 200]
    assert it.transport.most == (2 if together else 1)
    assert [value_of(each) for each in it.transport.requests] == ["1", "2"]
    assert not it.pipeline.in_use()["write queues"]


def test_a_transaction_id_is_the_calls_own_and_an_external_id_its_organizations() -> None:
    """A network and its advertiser may both update a call; their external ids do not mix."""

    def of(organization: Organization, **names: str) -> Any:
        request = UpdateCallRequest(organization=organization, custom_data={"a": "b"}, **names)
        return request.wire(WireFormat()).ordering_keys

    network = Organization.network(25)
    assert of(ACME, transaction_id="T") == of(network, transaction_id="T")
    assert not set(of(ACME, external_unique_id="x")) & set(of(network, external_unique_id="x"))
    assert not set(of(ACME, external_unique_id="T")) & set(of(ACME, transaction_id="T"))
    assert of(ACME, external_unique_id="x") == of(Organization.parse("Advertiser:25"), external_unique_id="x")


async def test_finds_do_not_wait_for_updates() -> None:
    """Neither finds wait for updates nor updates for finds."""
    it = rig(status(200, seconds=1.0))
    assert await asyncio.gather(it.go(change("1")), it.go(), it.go()) == [200] * 3
    assert it.transport.most == 3


async def test_an_update_in_two_queues_waits_for_both() -> None:
    """T and E are both being written to. An update of both follows both, and precedes every later one."""
    it = rig(status(200, seconds=1.0), status(200, seconds=5.0), status(200, seconds=1.0))
    await asyncio.gather(
        it.go(change("1", transaction_id="T")),
        it.go(change("2", external_unique_id="E")),
        it.go(change("3", transaction_id="T", external_unique_id="E")),
        it.go(change("4", transaction_id="T")),
        it.go(change("5", external_unique_id="E")),
    )
    assert [value_of(each) for each in it.transport.requests] == ["1", "2", "3", "4", "5"]
    assert it.transport.times == [0.0, 0.0, 5.0, 6.0, 6.0]


async def test_a_cancelled_update_leaves_its_queue() -> None:
    """The queue goes on, whether the update was waiting or running."""
    it = rig(status(200, seconds=1.0))
    tasks = [asyncio.create_task(it.go(change(str(n)))) for n in range(4)]
    await asyncio.sleep(0.5)
    tasks[1].cancel()
    tasks[0].cancel()
    assert await asyncio.gather(*tasks[2:]) == [200, 200]
    assert [value_of(each) for each in it.transport.requests] == ["0", "2", "3"]


async def test_the_wait_for_earlier_updates_is_reported() -> None:
    """`queued` precedes the attempt, and counts towards no timeout of it."""
    it = rig(status(200, seconds=4.0), attempt_timeout=5.0)
    first = asyncio.create_task(it.go(write()))
    await asyncio.sleep(1)
    _, attempts = await it.deliver(write(), ACME, None)
    assert attempts == [Attempt(200, None, network=4.0, queued=3.0)]
    assert await first == 200


async def test_a_deadline_covers_the_wait_for_earlier_writes() -> None:
    """The error says that nothing was sent and nothing applied."""
    it = rig(status(200, seconds=10.0), attempt_timeout=None)
    first = asyncio.create_task(it.go(change("1")))
    await asyncio.sleep(0)
    error = await it.go(change("2"), timeout=4.0)
    assert type(error) is sdk.DeadlineExceededError
    (attempt,) = error.attempts
    assert (attempt.error, attempt.queued, sum(attempt[2:])) == ("DeadlineExceededError", 4.0, 4.0)
    assert (error.may_have_been_applied, await first, len(it.transport.sent)) == (False, 200, 1)


@pytest.mark.parametrize("failure", [500, sdk.ConnectionLostError("lost")])
async def test_a_newer_update_ends_the_wait_of_one_that_may_have_been_applied(failure: Any) -> None:
    """Repeating the older one could overwrite the newer; it raises SupersededError at once."""
    it = rig(failure, 200, retry=sdk.RetryPolicy(initial=100.0, maximum=100.0))
    older = asyncio.create_task(it.go(change("old")))
    await asyncio.sleep(1)
    assert await it.go(change("new")) == 200
    error = await older
    assert type(error) is sdk.SupersededError
    assert (error.may_have_been_applied, len(error.attempts), round(error.attempts[0].backoff, 3)) == (True, 1, 1.0)
    assert [value_of(each) for each in it.transport.requests] == ["old", "new"]
    assert it.transport.times == [0.0, 1.0]


async def test_an_update_with_one_common_name_supersedes() -> None:
    """A newer write of one of the two names is enough."""
    it = rig(500, 200, retry=sdk.RetryPolicy(initial=100.0, maximum=100.0))
    older = asyncio.create_task(it.go(change("old", transaction_id="T", external_unique_id="E")))
    await asyncio.sleep(1)
    assert await it.go(change("new", external_unique_id="E")) == 200
    assert type(await older) is sdk.SupersededError
    assert it.transport.times == [0.0, 1.0]


SUPERSEDING: list[tuple[Any, list[Any], bool]] = [
    ({"custom_data": {"a": "1"}}, [{"custom_data": {"a": "2"}}], True),
    ({"custom_data": {"a": "1"}}, [{"custom_data": {"a": "2", "b": "2"}}], True),
    ({"custom_data": {"a": "1", "b": "1"}}, [{"custom_data": {"a": "2"}}], False),
    ({"custom_data": {"a": "1", "b": "1"}}, [{"custom_data": {"a": "2"}}, {"custom_data": {"b": "2"}}], True),
    ({"custom_data": {"a": "1"}}, [{"custom_data": {"b": "2"}}], False),
    ({"custom_data": {"a": "1"}}, [{"custom_data": None, "new_external_unique_id": "E"}], False),
    ({"new_external_unique_id": "E"}, [{"custom_data": {"a": "2"}}], False),
    (
        {"custom_data": None, "new_external_unique_id": "E"},
        [{"custom_data": None, "new_external_unique_id": "F"}],
        True,
    ),
]


@pytest.mark.parametrize("waits_already", [False, True])
@pytest.mark.parametrize(("older", "newer", "superseded"), SUPERSEDING)
async def test_newer_updates_supersede_only_what_they_overwrite(
    older: Any, newer: list[Any], superseded: bool, waits_already: bool
) -> None:
    """Otherwise the older update is repeated, and no field is lost."""
    it = rig(status(500, seconds=2.0), 200, retry=sdk.RetryPolicy(initial=10.0))
    first = asyncio.create_task(it.go(write(**older)))
    await asyncio.sleep(1 if waits_already else 5)
    others = [asyncio.create_task(it.go(write(**changes))) for changes in newer]
    result = await first
    assert await asyncio.gather(*others) == [200] * len(others)
    if superseded:
        assert type(result) is sdk.SupersededError
    else:
        assert result == 200
    assert len(it.transport.requests) == 1 + len(newer) + (not superseded)
    assert not any(it.pipeline.in_use().values())


async def test_a_write_that_names_no_fields_is_never_superseded() -> None:
    """Nobody knows its fields, as for an endpoint of your own without `written_fields`."""
    it = rig(500, 200, retry=sdk.RetryPolicy(initial=10.0))
    older = asyncio.create_task(it.go(WireRequest(method="PUT", target="/x", ordering_keys=("x",))))
    await asyncio.sleep(1)
    assert await it.go(WireRequest(method="PUT", target="/x", ordering_keys=("x",))) == 200
    assert await older == 200


async def test_a_newer_update_that_waits_already_does_so_too() -> None:
    """The older one is not even begun to be waited for."""
    it = rig(status(500, seconds=1.0), 200, retry=sdk.RetryPolicy(initial=100.0, maximum=100.0))
    older = asyncio.create_task(it.go(change("old")))
    await asyncio.sleep(0.5)
    assert await it.go(change("new")) == 200
    assert type(await older) is sdk.SupersededError
    assert (it.slept, it.transport.times) == ([], [0.0, 1.0])


async def test_a_superseded_update_gives_back_its_place_in_the_rate_limit() -> None:
    """The newer update goes out as soon as the rate allows one request, not one request later."""
    limit = sdk.RateLimit(rate=0.1, burst=1)
    it = rig(500, 200, rate_limit=limit, randomness=lambda: 0.0)
    older = asyncio.create_task(it.go(change("old")))
    await asyncio.sleep(1)
    newer = asyncio.create_task(it.go(change("new")))
    assert type(await older) is sdk.SupersededError
    assert await newer == 200
    assert [value_of(each) for each in it.transport.requests] == ["old", "new"]
    assert it.transport.times == [0.0, 10.0]
    (bucket,) = it.limiter.snapshot().shared.values()
    assert bucket.granted == 2


async def test_a_request_that_nobody_wants_any_more_is_not_sent() -> None:
    """It gives back its place in the rate limit; a request without a wait is sent without a question."""
    it = rig(200, rate_limit=sdk.RateLimit(rate=0.1, burst=1))
    wanted = False
    ask = evolve(FIND, wanted=lambda: wanted)
    assert await it.go(ask) == 200
    dropped, sent = (asyncio.create_task(it.go(each)) for each in (ask, FIND))
    error = await dropped
    assert type(error) is sdk.SupersededError
    assert str(error) == "Nobody waits for the response any more."
    assert await sent == 200
    wanted = True
    assert await it.go(ask) == 200
    assert it.transport.times == [0.0, 10.0, 20.0]


async def test_an_update_surely_not_applied_is_not_superseded() -> None:
    """After a 429 the update goes out again, before the newer one."""
    it = rig(status(429, retry_after="2"), 200, randomness=lambda: 0.0)
    assert await asyncio.gather(it.go(change("old")), it.go(change("new"))) == [200, 200]
    assert [value_of(each) for each in it.transport.requests] == ["old", "old", "new"]


async def test_a_newer_update_does_not_shorten_a_retry_after() -> None:
    """An update surely not applied waits the whole Retry-After."""
    it = rig(status(429, retry_after="2"), 200, randomness=lambda: 0.0)
    older = asyncio.create_task(it.deliver(change("old"), ACME, None))
    await asyncio.sleep(1)
    assert await it.go(change("new")) == 200
    _, attempts = await older
    assert ([each.backoff for each in attempts], it.transport.times) == ([2.0, 0.0], [0.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("names", "repeated"),
    [
        ({"external_unique_id": "old", "new_external_unique_id": "new"}, False),
        ({"external_unique_id": "old", "new_external_unique_id": "new", "transaction_id": "T"}, False),
        ({"external_unique_id": "same", "new_external_unique_id": "same"}, True),
        ({"transaction_id": "T", "new_external_unique_id": "new"}, True),
        ({"external_unique_id": "old"}, True),
    ],
)
async def test_a_rename_is_not_repeated_once_it_may_have_arrived(names: Any, repeated: bool) -> None:
    """The call no longer has the id it is named by: a repetition would report a false 404."""
    async with RawServer([None, DONE]) as server, server.client() as client:
        update = client.update(ACME, custom_data={"a": "b"}, **names)
        if repeated:
            assert len((await update).attempts) == 2
        else:
            with pytest.raises(sdk.ConnectionLostError, match="not repeated") as raised:
                await update
            assert raised.value.may_have_been_applied
        assert len(server.seen) == 1 + repeated


async def test_a_rename_is_repeated_if_it_surely_did_not_arrive() -> None:
    """A 429 means not applied, so the rename is retried."""
    async with RawServer([reply(429, Retry_After="0"), DONE]) as server, server.client() as client:
        done = await client.update(ACME, external_unique_id="old", new_external_unique_id="new")
        assert (len(done.attempts), len(server.seen)) == (2, 2)


async def test_a_write_without_keys_is_retried_as_any_other() -> None:
    """Without keys there is no order of writes."""
    it = rig(500, 200, retry=RetryPolicy(initial=0))
    assert await it.go(WireRequest(method="DELETE", target="/x")) == 200
    assert len(it.transport.sent) == 2


@pytest.mark.parametrize("attempt_timeout", [10.0, None])
async def test_a_newer_update_that_is_cancelled_at_once_does_no_harm(attempt_timeout: float | None) -> None:
    """The older one goes on waiting, and is then repeated, as if there had been none."""
    policy = RetryPolicy(initial=100.0, maximum=100.0)
    it = rig(500, 200, retry=policy, attempt_timeout=attempt_timeout)
    older = asyncio.create_task(it.go(write()))
    await asyncio.sleep(1)
    newer = asyncio.create_task(it.go(write()))
    await asyncio.sleep(0)
    newer.cancel()
    assert await older == 200
    assert it.transport.times == [0.0, 100.0]
