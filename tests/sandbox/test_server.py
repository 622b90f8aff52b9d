"""The server starts, stops, limits, delays and fails by its settings."""

import asyncio
import inspect
import logging
import ssl
import typing
from datetime import datetime

import aiohttp
import attrs
import pytest
import trustme

from calls_in_progress_async import InvalidRequestError, Organization
from calls_in_progress_async import sandbox as sandbox_package
from calls_in_progress_async.sandbox import Fault, SandboxServer
from calls_in_progress_async.sandbox.rate_limit import TokenBuckets
from calls_in_progress_async.testing import virtual_clock

ORGANIZATION = Organization(2, "advertiser")
THIRD = Organization(3, "advertiser")
NOBODY = Organization(99, "advertiser")


async def test_the_server_starts_and_closes_any_number_of_times():
    sandbox = SandboxServer()
    await sandbox.close()
    for _ in range(2):
        await sandbox.start()
        url = sandbox.url
        await sandbox.start()
        assert sandbox.url == url
        assert url.startswith("http://127.0.0.1:")
        await sandbox.close()
        await sandbox.close()
        with pytest.raises(RuntimeError, match="not running"):
            _ = sandbox.url


async def test_a_port_in_use_is_an_error_that_leaves_nothing_behind():
    async with SandboxServer() as running:
        second = SandboxServer(port=int(running.url.rpartition(":")[2]))
        with pytest.raises(OSError, match="address already in use"):
            await second.start()
        with pytest.raises(RuntimeError, match="not running"):
            _ = second.url


async def test_the_server_listens_at_an_ipv6_address():
    async with SandboxServer(host="::1") as sandbox, aiohttp.ClientSession() as session:
        assert sandbox.url.startswith("http://[::1]:")
        async with session.get(sandbox.url) as response:
            assert response.status == 401


async def test_the_server_speaks_https():
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with SandboxServer(ssl_context=server) as sandbox, aiohttp.ClientSession() as session:
        assert sandbox.url.startswith("https://")
        async with session.get(sandbox.url, ssl=client) as response:
            assert response.status == 401


def test_organizations_are_a_count_or_given():
    assert SandboxServer(organizations=3).organizations == [Organization(1, "network"), ORGANIZATION, THIRD]
    given = [Organization(7, "advertiser"), Organization(7, "network")]
    assert SandboxServer(organizations=iter(given)).organizations == given
    assert len(SandboxServer().organizations) == 10


@pytest.mark.parametrize(
    "settings",
    [
        {"organizations": 0},
        {"organizations": True},
        {"organizations": "advertiser:2"},
        {"organizations": ORGANIZATION},
        {"organizations": ["advertiser:2"]},
        {"organizations": [ORGANIZATION, ORGANIZATION]},
        {"calls_per_organization": -1},
        {"mean_call_seconds": 0},
        {"changes_per_call": -1},
        {"speed": 0},
        {"age": -1},
        {"history_kept": -1},
        {"revision": "2021"},
        {"version": "a/b"},
        {"version": 2022},
        {"epoch": "2024-02-01"},
        {"epoch": datetime(2024, 2, 1)},
        {"faults": Fault()},
        {"faults": ["status"]},
        {"token": None},
        {"port": -1},
        {"organization_type_spelling": "upper"},
        {"rate_limit": 0},
        {"rate_burst": 0.5},
        {"retry_after_format": "minutes"},
        {"latency": -1},
        {"latency": "1"},
        {"latency_jitter": -1},
    ],
)
def test_a_setting_that_makes_no_sense_is_rejected_by_name(settings):
    with pytest.raises(ValueError, match=next(iter(settings)).removesuffix("s")):
        SandboxServer(**settings)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda sandbox: sandbox.start_call("advertiser:2"), "organization must be an Organization"),
        (lambda sandbox: sandbox.start_call(None), "organization must be an Organization"),
        (lambda sandbox: sandbox.start_call(NOBODY), "organization must be one of network:1, advertiser:2,"),
        (lambda sandbox: sandbox.live(NOBODY), "and 5 more, got advertiser:99"),
        (lambda sandbox: sandbox.history(NOBODY), "and 5 more, got advertiser:99"),
        (lambda sandbox: sandbox.written(NOBODY, "A"), "and 5 more, got advertiser:99"),
        (lambda sandbox: sandbox.start_call(ORGANIZATION, seconds="1"), "seconds"),
        (lambda sandbox: sandbox.start_call(ORGANIZATION, transaction_id=7), "transaction_id must be a str, got 7"),
        (lambda sandbox: sandbox.start_call(ORGANIZATION, city={"x"}), "city must be JSON, got {'x'}"),
        (lambda sandbox: sandbox.start_call(ORGANIZATION, city="\ud800"), "city must be JSON"),
        (lambda sandbox: sandbox.change_call(ORGANIZATION, "A", city="x"), "in progress in advertiser:2, got 'A'"),
        (lambda sandbox: sandbox.end_call(ORGANIZATION, ["A"]), "in progress in advertiser:2, got"),
        (lambda sandbox: sandbox.fail_next(-1), "count must be a whole number of requests, got -1"),
        (lambda sandbox: sandbox.fail_next("disconnect"), "count must be a whole number of requests"),
        (lambda sandbox: sandbox.fail_next(kind="fire"), "kind"),
        (lambda sandbox: sandbox.fail_next(organization="advertiser:2"), "organization must be an Organization"),
        (lambda sandbox: sandbox.fail_next(organization=NOBODY), "and 5 more, got advertiser:99"),
        (lambda sandbox: setattr(sandbox, "faults", [Fault(), Fault(organization=NOBODY)]), "got advertiser:99"),
        (lambda _: SandboxServer(faults=[Fault(organization=NOBODY)]), "organization must be one of network:1"),
        (lambda _: SandboxServer(tokens={NOBODY: "x"}), "organization must be one of network:1"),
        (lambda sandbox: SandboxServer(organizations=2).live(NOBODY), "one of network:1, advertiser:2, got"),
    ],
)
async def test_an_argument_that_makes_no_sense_is_rejected_with_what_is_expected(act, expected):
    with pytest.raises(InvalidRequestError) as caught:
        act(SandboxServer())
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", sandbox_package.__all__)
def test_type_hints_resolve_at_run_time(name):
    public = getattr(sandbox_package, name)
    if isinstance(public, type):
        for each in (public, *(value for value in vars(public).values() if inspect.isfunction(value))):
            typing.get_type_hints(each)


async def test_an_organization_may_be_a_pair_of_id_and_type():
    sandbox = SandboxServer(organizations=[(2, "advertiser"), THIRD], tokens={(3, "advertiser"): "of-3"})
    assert sandbox.organizations == [ORGANIZATION, THIRD]
    assert sandbox.tokens == {THIRD: "of-3"}
    assert Fault(organization=(3, "advertiser")).organization == THIRD
    name = sandbox.start_call((2, "advertiser"))
    assert name in [call["transaction_id"] for call in sandbox.live(ORGANIZATION)]


def test_live_settings_are_checked_too_and_others_are_frozen():
    sandbox = SandboxServer()
    with pytest.raises(ValueError, match="rate_limit"):
        sandbox.rate_limit = -1
    with pytest.raises(attrs.exceptions.FrozenAttributeError):
        sandbox.seed = 1


async def statuses(asker, count, **options):
    return [(await asker.find(**options)).status for _ in range(count)]


async def test_the_rate_limit_lets_through_its_burst_and_then_its_rate(asking, clock):
    async with asking(rate_limit=2, rate_burst=3) as asker:
        assert await statuses(asker, 5) == [200] * 3 + [429] * 2
        clock.advance(0.25)
        assert await statuses(asker, 1) == [429]
        clock.advance(0.25)
        assert await statuses(asker, 2) == [200, 429]
        clock.advance(100)
        assert await statuses(asker, 4) == [200] * 3 + [429]
        assert (asker.sandbox.stats.allowed, asker.sandbox.stats.throttled) == (7, 5)
        assert asker.sandbox.stats.statuses == {200: 7, 429: 5}


async def test_over_a_long_time_the_rate_is_exact(asking, clock):
    async with asking(rate_limit=3.7, rate_burst=2) as asker:
        for _ in range(1_000):
            await asker.find()
            clock.advance(0.1)
        assert asker.sandbox.stats.allowed == pytest.approx(370, abs=2)
        assert asker.sandbox.stats.allowed + asker.sandbox.stats.throttled == 1_000


async def test_requests_at_exactly_the_rate_are_all_let_through(asking, clock):
    async with asking(rate_limit=10, rate_burst=1) as asker:
        for _ in range(300):
            assert await statuses(asker, 1) == [200]
            clock.advance(0.1)


def test_the_age_of_the_clock_takes_no_request_from_the_rate() -> None:
    """A step of 0.1 s is a little shorter at a million seconds, and shortfalls do not add up."""

    async def ask() -> None:
        buckets, loop = TokenBuckets(), typing.cast("virtual_clock.VirtualLoop", asyncio.get_running_loop())
        for _ in range(5_000):
            assert buckets.take("token", 10, 1) == 0.0
            loop.advance(0.1)

    virtual_clock.run(ask)


@pytest.mark.parametrize(("rate", "allowed"), [(0.5, 1), (2.9, 2), (5, 5)])
async def test_the_default_burst_is_one_second_of_the_rate(asking, rate, allowed):
    async with asking(rate_limit=rate) as asker:
        assert (await statuses(asker, 10)).count(200) == allowed


async def test_a_changed_rate_counts_from_the_moment_it_changes(asking, clock):
    async with asking(rate_limit=1, rate_burst=10) as asker:
        await statuses(asker, 10)
        clock.advance(4)
        asker.sandbox.rate_limit = 2
        clock.advance(1)
        assert await statuses(asker, 7) == [200] * 6 + [429]
        asker.sandbox.rate_limit = None
        assert await statuses(asker, 20) == [200] * 20
        asker.sandbox.rate_limit = 5
        asker.sandbox.rate_burst = 2
        assert await statuses(asker, 1) == [429]
        clock.advance(10)
        assert await statuses(asker, 3) == [200, 200, 429]


async def test_each_token_has_its_own_limit_and_a_wrong_one_none(asking):
    async with asking(rate_limit=1, tokens={ORGANIZATION: "of-2"}) as asker:
        assert await statuses(asker, 2) == [200, 429]
        assert await statuses(asker, 2, headers={"Authorization": "of-2"}) == [200, 429]
        assert await statuses(asker, 2, headers={"Authorization": "wrong"}) == [401, 401]


async def test_retry_after_is_in_whole_seconds_rounded_up(asking, clock):
    async with asking(rate_limit=0.4) as asker:
        await asker.find()
        assert (await asker.find()).headers["Retry-After"] == "3"
        clock.advance(2.49)
        assert (await asker.find()).headers["Retry-After"] == "1"


async def test_a_429_can_give_a_date_instead(asking, clock):
    async with asking(rate_limit=0.1, retry_after_format="http-date") as asker:
        await asker.find()
        clock.advance(0.5)
        reply = await asker.find()
    assert reply.headers["Retry-After"] == "Thu, 01 Feb 2024 12:00:10 GMT"


async def seconds_of_find(asker, clock):
    began = clock.now
    await asker.find()
    return clock.now - began


async def test_latency_and_its_jitter_delay_the_response_by_the_loops_clock(asking, clock):
    async with asking() as asker:
        assert await seconds_of_find(asker, clock) == 0
        asker.sandbox.latency = 2.0
        assert await seconds_of_find(asker, clock) == pytest.approx(2.0)
        asker.sandbox.latency_jitter = 1.0
        waited = [await seconds_of_find(asker, clock) for _ in range(10)]
    assert len({round(seconds, 2) for seconds in waited}) > 5
    assert all(2 <= seconds <= 3 for seconds in waited)


async def test_an_update_is_carried_out_before_its_latency(asking, clock):
    async with asking(latency=1) as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION)
        # POST, because aiohttp sends an idempotent request a second time after a lost connection.
        update = asyncio.create_task(asker.update({"external_unique_id": "x"}, "POST", transaction_id=transaction_id))
        while not asker.sandbox.updates:
            await asyncio.sleep(0)
        assert asker.sandbox.updates[0].external_unique_id == "x"
        assert asker.sandbox.stats.in_flight == 1
        await asker.sandbox.close()
        assert asker.sandbox.stats.in_flight == 0
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await update
    assert asker.sandbox.stats.peak_in_flight == 1


async def test_the_access_log_hides_phone_numbers_ids_and_tokens(asking, caplog):
    caplog.set_level(logging.INFO, "aiohttp.access")
    async with asking() as asker:
        await asker.find(
            calling_phone_number="+18055551234", destination_phone_number="805-555-0000", oauth_token="x", external="y"
        )
        await asker.update({"external_unique_id": "x"}, transaction_id="AB-1", external_unique_id="")
    find, update = (record.getMessage() for record in caplog.records if record.name == "aiohttp.access")
    query = "calling_phone_number=[hidden]&destination_phone_number=[hidden]&oauth_token=[hidden]&external=[hidden]"
    root = "/api/2022-08-01/calls_in_progress"
    assert find.startswith(f"GET {root}/current_calls.json?id=2&organization_type=advertiser&{query} 200 0.0")
    assert "?id=2&organization_type=advertiser&transaction_id=[hidden]&external_unique_id=[hidden] 404 " in update


@pytest.mark.parametrize(
    ("settings", "status", "content"),
    [
        ({}, 500, {"errors": {"invalid_data": "refer to error handle 1228118400", "class": "InternalServiceError"}}),
        ({"status": 401}, 401, {"error": "NotAuthorized"}),
        (
            {"status": 404},
            404,
            {"errors": {"invalid_data": "Could not find call in progress", "class": "RecordNotFound"}},
        ),
        ({"status": 403, "body": b'{"errors": {}}'}, 403, {"errors": {}}),
        ({"status": 504, "body": b"<html>", "content_type": "text/html"}, 504, None),
    ],
)
async def test_the_next_requests_can_be_failed_with_a_status(asking, settings, status, content):
    async with asking() as asker:
        asker.sandbox.fail_next(2, **settings)
        for _ in range(2):
            reply = await asker.find()
            assert (reply.status, reply.json) == (status, content)
            assert "Retry-After" not in reply.headers
        assert (await asker.find()).status == 200
        assert asker.sandbox.stats.faults == 2


@pytest.mark.parametrize("retry_after", [1, 2.5, "nan", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_a_failing_status_can_come_with_any_retry_after(asking, retry_after):
    async with asking() as asker:
        asker.sandbox.fail_next(status=503, retry_after=retry_after)
        reply = await asker.find()
    assert (reply.status, reply.headers["Retry-After"]) == (503, str(retry_after))


@pytest.mark.parametrize(
    ("kind", "applied"),
    [("status", False), ("disconnect", False), ("disconnect-after", True), ("truncate", True), ("garbage", False)],
)
async def test_a_fault_strikes_before_or_after_the_update_is_carried_out(asking, kind, applied):
    async with asking() as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION)
        asker.sandbox.fail_next(kind=kind)
        try:
            # POST, because aiohttp sends an idempotent request a second time after a lost connection.
            reply = await asker.update({"external_unique_id": "x"}, "POST", transaction_id=transaction_id)
        except aiohttp.ClientError as error:
            result = type(error).__name__
        else:
            result = (reply.status, reply.headers["Content-Type"])
        assert len(asker.sandbox.updates) == applied
        assert len(asker.sandbox.requests) == 1
        assert (await asker.find()).status == 200
    assert (
        result
        == {
            "status": (500, "application/json"),
            "disconnect": "ServerDisconnectedError",
            "disconnect-after": "ServerDisconnectedError",
            "truncate": "ClientPayloadError",
            "garbage": (200, "text/html"),
        }[kind]
    )


async def test_a_hanging_request_ends_when_the_client_goes_away(asking):
    async with asking() as asker:
        asker.sandbox.fail_next(kind="hang")
        find = asyncio.create_task(asker.find())
        while not asker.sandbox.stats.in_flight:
            await asyncio.sleep(0)
        find.cancel()
        while asker.sandbox.stats.in_flight:
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await find


async def test_closing_does_not_wait_for_hanging_responses(asking, clock):
    async with asking(faults=[Fault(kind="hang")]) as asker:
        finds = [asyncio.create_task(asker.find()) for _ in range(5)]
        while asker.sandbox.stats.in_flight < 5:
            await asyncio.sleep(0)
        before = clock.now
        await asker.sandbox.close()
        assert clock.now == pytest.approx(before)
        results = await asyncio.gather(*finds, return_exceptions=True)
    # aiohttp's own second attempt may find the port closed already.
    assert all(isinstance(result, aiohttp.ClientConnectionError) for result in results)
    assert asker.sandbox.stats.peak_in_flight == 5


async def test_scheduled_faults_can_be_cleared(asking):
    async with asking() as asker:
        asker.sandbox.fail_next(100)
        assert await statuses(asker, 1) == [500]
        asker.sandbox.fail_next(0)
        assert await statuses(asker, 2) == [200, 200]


async def test_faults_strike_by_probability_and_the_same_way_for_the_same_seed(asking):
    runs = []
    for seed in (1, 1, 2):
        async with asking(seed=seed) as asker:
            asker.sandbox.faults = [Fault(status=500, probability=0.2), Fault(status=503, probability=0.5)]
            runs.append(await statuses(asker, 200))
    assert runs[0] == runs[1] != runs[2]
    assert runs[0].count(500) == pytest.approx(40, abs=20)
    assert runs[0].count(503) == pytest.approx(80, abs=25)


async def test_a_fault_can_be_kept_to_one_organization(asking):
    async with asking() as asker:
        asker.sandbox.fail_next(status=500, organization=THIRD)
        asker.sandbox.fail_next(status=502)
        assert await statuses(asker, 2) == [502, 200]
        assert (await asker.find(THIRD)).status == 500
        asker.sandbox.faults = [Fault(organization=THIRD)]
        assert (await asker.find(kind="Advertiser")).status == 200
        assert (await asker.find(THIRD, kind="Advertiser")).status == 500
        assert asker.sandbox.stats.organizations == {ORGANIZATION: 3, THIRD: 2}


@pytest.mark.parametrize("settings", [{"kind": "fire"}, {"probability": 1.5}, {"probability": -1}, {"status": 99}])
def test_a_fault_that_makes_no_sense_is_rejected(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Fault(**settings)
