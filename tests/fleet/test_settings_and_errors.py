"""Unsuitable settings and servers: each raises an error with a remedy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fleet.nats_server import NatsServer

import calls_in_progress_async
from calls_in_progress_async import CallsInProgressClient, InvalidRequestError, Organization, RateLimit
from calls_in_progress_async.fleet import EventsLostError, Fleet, FleetError, FleetEvents
from calls_in_progress_async.fleet.jetstream import JetStream
from calls_in_progress_async.fleet.log import Log
from calls_in_progress_async.fleet.log_settings import LogSettings
from calls_in_progress_async.fleet.shares import RateShares
from calls_in_progress_async.sandbox import SandboxServer

ORGANIZATIONS = [Organization.advertiser(number) for number in range(1, 9)]


def make_client(**settings: Any) -> CallsInProgressClient:
    return CallsInProgressClient(token="t", **settings)


def make_fleet(**settings: Any) -> Fleet:
    defaults: dict[str, Any] = {"servers": "nats://127.0.0.1:1", "name": "t", "organizations": ORGANIZATIONS}
    return Fleet(settings.pop("client", None) or make_client(), **{**defaults, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "a.b"}, "name must be 1 to 64 letters"),
        ({"name": "*"}, "name must be 1 to 64 letters"),
        ({"name": ""}, "name must be 1 to 64 letters"),
        ({"worker": "a >"}, "worker must be 1 to 64 letters"),
        ({"servers": ""}, "servers must be an address"),
        ({"servers": 5}, "servers must be an address"),
        ({"servers": "nats://user:pa/ss@host:4222"}, "percent-encode / and @ in a password$"),
        ({"servers": "nats://:4222"}, "servers must be addresses such as"),
        ({"shards": 0}, "shards must be a whole number"),
        ({"replicas": 1.5}, "replicas must be a whole number"),
        ({"max_age": 0}, "max_age must be a finite number"),
        ({"interval": 0}, "interval must be a finite number"),
        ({"lease": 0.1}, "lease must be a finite number"),
        ({"organizations": "advertiser:5"}, "organizations must be"),
        ({"organizations": [5]}, "organizations must be"),
        ({"rate": 0}, "rate must be"),
        ({"rate": 5, "client": make_client(rate_limit=RateLimit(rate=5))}, "rate comes with the client's rate_limit"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    """Nothing is connected for a setting that cannot work."""
    with pytest.raises(InvalidRequestError, match=message):
        make_fleet(**settings)


def test_the_package_has_the_fleet_on_first_use() -> None:
    """The names need an extra, so the package imports them late."""
    assert calls_in_progress_async.Fleet is Fleet
    assert {"Fleet", "FleetEvents"} <= set(dir(calls_in_progress_async))
    with pytest.raises(AttributeError, match="no attribute 'Fleets'"):
        _ = calls_in_progress_async.Fleets


async def test_a_share_of_the_rate_is_counted_for_each_token() -> None:
    """A worker uses of a token's rate what it holds of the token's organizations."""

    async def token_of(organization: Organization) -> str:
        return "odd" if organization.id % 2 else "even"

    limits = make_client(rate_limit=RateLimit(rate=100)).rate_limits
    given: dict[str | None, float] = {}

    class Recorder:
        def set_share(self, fraction: float, *, token: str | None = None) -> None:
            given[token] = fraction
            limits.set_share(fraction, token=token)

    shares = RateShares(Recorder(), token_of)  # type: ignore[arg-type]
    await shares.learn(ORGANIZATIONS)
    shares.update([], 8)
    assert given == {}
    shares.update([ORGANIZATIONS[0], ORGANIZATIONS[2], ORGANIZATIONS[1]], 8)
    assert given == {None: 3 / 8, "odd": 2 / 4, "even": 1 / 4}


async def run_briefly(fleet: Fleet) -> None:
    async with asyncio.timeout(10):
        await fleet.run()


async def test_another_number_of_shards_is_an_error(server: NatsServer) -> None:
    """The number of shards is fixed with the first worker."""
    log = Log(LogSettings(servers=server.url, name="shards", shards=16))
    await log.connect("t")
    await log.ensure_stream()
    await log.ensure_stream()
    await log.close()
    with pytest.raises(FleetError, match=r"shards must be 16 for fleet 'shards'.*pass shards=16"):
        await run_briefly(make_fleet(servers=server.url, name="shards", shards=8))


async def test_too_many_organizations_for_the_shards_is_an_error(server: NatsServer) -> None:
    """The server reads at most 1,024 subjects at once."""
    organizations = [Organization.advertiser(number) for number in range(1, 1100)]
    with pytest.raises(FleetError, match="at most 1,024 organizations, got 1,099"):
        await run_briefly(make_fleet(servers=server.url, name="many", shards=1, organizations=lambda: organizations))


async def test_more_replicas_than_servers_is_an_error(server: NatsServer) -> None:
    """One server cannot keep three copies."""
    with pytest.raises(FleetError, match="Change replicas"):
        await run_briefly(make_fleet(servers=server.url, name="replicas", replicas=3))


async def test_a_worker_that_waits_for_a_server_can_be_stopped() -> None:
    """There may be no server at all for now."""
    fleet = make_fleet()
    running = asyncio.create_task(run_briefly(fleet))
    await asyncio.sleep(0.2)
    fleet.stop()
    await running


async def test_a_consumer_of_no_fleet_is_told_so(server: NatsServer) -> None:
    """A wrong name is no silence."""
    async with FleetEvents(server.url, name="nobody", group="g") as events:
        with pytest.raises(FleetError, match="no fleet 'nobody'"):
            await anext(events)


async def test_a_consumer_that_slept_past_the_trim_is_told_so(server: NatsServer) -> None:
    """Trimmed messages raise, and accept_loss goes on behind them."""
    settings = LogSettings(servers=server.url, name="trim", max_age=1.0, shards=1)
    async with SandboxServer(organizations=1, calls_per_organization=0) as sandbox:
        sandbox.start_call(sandbox.organizations[0])
        async with CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client:
            fleet = make_fleet(
                client=client,
                servers=server.url,
                name="trim",
                max_age=1.0,
                shards=1,
                interval=0.1,
                lease=0.6,
                organizations=sandbox.organizations,
            )
            running = asyncio.create_task(fleet.run())
            jetstream = JetStream(settings, lambda: None)
            await jetstream.connect("t")
            while ((state := await jetstream.stream()) is None) or state.last < 1:
                await asyncio.sleep(0.05)
            async with FleetEvents(server.url, name="trim", group="g") as events:
                assert (await anext(events)).kind == "call_started"  # and it is never acknowledged
            while (await jetstream.stream() or state).first < 3:
                await asyncio.sleep(0.05)
            async with FleetEvents(server.url, name="trim", group="g") as events:
                with pytest.raises(EventsLostError, match="were trimmed before group 'g'") as caught:
                    await anext(events)
            assert 1 <= caught.value.first <= caught.value.last
            sandbox.start_call(sandbox.organizations[0])
            async with FleetEvents(server.url, name="trim", group="g", accept_loss=True) as events:
                event = await anext(events)
            assert (event.kind, event.organization) == ("call_started", sandbox.organizations[0])
            assert "rev=" in repr(event)
            assert event.changes == {}
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await jetstream.close()


async def test_a_poll_larger_than_a_message_is_committed_in_parts(
    binary: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each part is a whole message with a state of its own; nothing is lost."""
    server = NatsServer(tmp_path_factory.mktemp("nats"), binary, "max_payload: 8192").start()
    try:
        async with SandboxServer(organizations=1, calls_per_organization=0) as sandbox:
            (organization,) = sandbox.organizations
            started = {sandbox.start_call(organization) for _ in range(20)}
            async with CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client:
                fleet = make_fleet(client=client, servers=server.url, organizations=[organization], interval=0.1)
                running = asyncio.create_task(fleet.run())
                log = Log(LogSettings(servers=server.url, name="t"))
                await log.connect("t")
                await log.ensure_stream()
                async with FleetEvents(server.url, name="t", group="g") as events:
                    found = [await anext(events) for _ in range(20)]
                    assert {each.call.transaction_id for each in found if each.call} == started
                    assert len({each.rev for each in found}) > 2
                fleet.stop()
                await running
                await log.close()
    finally:
        server.kill()
