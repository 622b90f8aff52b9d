"""How users test an application of their own: aioresponses answers for the client, with a session injected or not.

aioresponses 0.7.9 makes its answers as aiohttp before 3.14 did; the `response_class` below supplies what is new.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from transport.servers import TOKEN, RawServer

from calls_in_progress_async import (
    CallNotFoundError,
    CallsInProgressClient,
    ConnectionLostError,
    Organization,
    RetryPolicy,
    ServerError,
)

ACME = Organization.advertiser(25)
CALLS = re.compile(r"^https://invoca\.net/api/2022-08-01/calls_in_progress/current_calls\.json\?")
CALL = re.compile(r"^https://invoca\.net/api/2022-08-01/calls_in_progress\.json\?")


class MockedResponse(aiohttp.ClientResponse):
    """An answer as aioresponses makes it, with the stream writer that aiohttp 3.14 wants."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"stream_writer": Mock(output_size=0), **settings})


@pytest.fixture
def invoca() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


@pytest.fixture(params=[True, False], ids=["a session is injected", "the client's own session"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[CallsInProgressClient]:
    async with aiohttp.ClientSession() as session:
        mine = {"session": session} if request.param else {}
        async with CallsInProgressClient(token=TOKEN, **mine) as client:
            yield client


# The application under test.


async def hang_up(client: CallsInProgressClient, transaction_id: str) -> str:
    """Note a disposition on a call, if it is still there."""
    for call in await client.find(ACME, transaction_id=transaction_id):
        await client.update(
            ACME, transaction_id=call.transaction_id, custom_data={"Call Disposition": "CUSTOMER_HANGUP"}
        )
        return f"{call.advertiser_name}: noted"
    return "gone"


async def test_an_application_that_finds_and_updates(invoca: aioresponses, client: CallsInProgressClient) -> None:
    """Both requests are answered by the mock, and can be looked at afterwards."""
    payload = {"current_calls": [{"transaction_id": "ABCD1234", "advertiser_name": "Acme"}]}
    invoca.get(CALLS, payload=payload, response_class=MockedResponse)
    invoca.put(CALL, status=202, response_class=MockedResponse)
    assert await hang_up(client, "ABCD1234") == "Acme: noted"
    (method, url), (put, _) = invoca.requests
    assert (method, put, url.query["transaction_id"]) == ("GET", "PUT", "ABCD1234")


async def test_an_application_that_finds_nothing(invoca: aioresponses, client: CallsInProgressClient) -> None:
    """An empty list."""
    invoca.get(CALLS, payload={"current_calls": []}, response_class=MockedResponse)
    assert await hang_up(client, "ABCD1234") == "gone"


async def test_an_application_whose_call_has_ended(invoca: aioresponses, client: CallsInProgressClient) -> None:
    """Between the find and the update."""
    invoca.get(CALLS, payload={"current_calls": [{"transaction_id": "ABCD1234"}]}, response_class=MockedResponse)
    invoca.put(CALL, status=404, payload={"error": "RecordNotFound"}, response_class=MockedResponse)
    with pytest.raises(CallNotFoundError):
        await hang_up(client, "ABCD1234")


async def test_an_application_that_meets_a_failing_server(invoca: aioresponses) -> None:
    """Retries go through the mock as well."""
    invoca.get(CALLS, status=503, repeat=True, response_class=MockedResponse)
    async with aiohttp.ClientSession() as session:  # noqa: SIM117
        async with CallsInProgressClient(token=TOKEN, session=session, retry=RetryPolicy(initial=0)) as client:
            with pytest.raises(ServerError) as raised:
                await hang_up(client, "ABCD1234")
    assert len(raised.value.attempts) == 3


FIRST_IMPORT = """
import asyncio, re, sys
from unittest.mock import Mock
import aiohttp
from aioresponses import aioresponses

class MockedResponse(aiohttp.ClientResponse):
    def __init__(self, *args, **settings):
        super().__init__(*args, **{"stream_writer": Mock(output_size=0), **settings})

async def main():
    with aioresponses() as mocked:
        assert "calls_in_progress_async" not in sys.modules
        from calls_in_progress_async import CallsInProgressClient, Organization
        acme = Organization.advertiser(25)
        mocked.get(re.compile(".*"), payload={"current_calls": [{}]}, response_class=MockedResponse)
        async with CallsInProgressClient(token="t", base_url=sys.argv[1]) as client:
            print(len(await client.find(acme)))
            mocked.stop()
            print(len(await client.find(acme)))
            print(client._transport._connections is not None and bool(client._transport._connections._guards))
            mocked.start()

asyncio.run(main())
"""


async def test_a_package_that_is_first_imported_under_the_mock() -> None:
    """In a fixture, or lazily: the mock answers while it is active, and the network once it has ended."""
    async with RawServer() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", FIRST_IMPORT, server.url), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
    assert (out.decode().split(), len(server.seen)) == (["1", "0", "True"], 1)


async def test_a_client_that_was_in_use_before_the_mock(invoca: aioresponses) -> None:
    """The mock answers from when it begins to when it ends; before and after, the network does."""
    invoca.stop()
    async with RawServer() as server, server.client() as client:
        await client.find(ACME)
        invoca.start()
        invoca.get(re.compile(".*"), payload={"current_calls": [{}]}, response_class=MockedResponse)
        assert (len(await client.find(ACME)), len(server.seen)) == (1, 1)
        invoca.stop()
        assert (len(await client.find(ACME)), len(server.seen)) == (0, 2)
        invoca.start()


async def test_whatever_stands_in_the_sessions_place_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mock as well, which is no function."""
    stand_in = Mock(side_effect=aiohttp.ClientOSError)
    monkeypatch.setattr(aiohttp.ClientSession, "_request", stand_in)
    async with RawServer() as server, server.client(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(ConnectionLostError):
            await client.find(ACME)
    assert (stand_in.call_count, server.seen) == (1, [])
