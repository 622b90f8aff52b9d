"""Calls start, change and end by themselves, by the clock and the seed alone."""

import asyncio
import itertools
import statistics
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls_in_progress_async import Call, InvalidRequestError, Organization
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.testing import VirtualClock

ORGANIZATION = Organization(2, "advertiser")
THIRD = Organization(3, "advertiser")
REVISIONS = ("2022-09-beta", "2022-09-20", "2022-09-28", "2023-04", "2024-02")


EPOCH = datetime(2024, 2, 1, 17, tzinfo=UTC)


def simulated(**settings):
    """Make a sandbox of three organizations; its time 0 is now."""
    sandbox = SandboxServer(**{"organizations": 3, "epoch": EPOCH, **settings})
    assert sandbox.now == 0
    return sandbox


@given(
    seed=st.integers(0, 2**32),
    looks=st.lists(st.floats(0, 2_000), max_size=8),
    revision=st.sampled_from(REVISIONS),
)
@settings(max_examples=60)
async def test_the_live_calls_do_not_depend_on_earlier_finds(seed, looks, revision):
    with (clock := VirtualClock()).attached(asyncio.get_running_loop()):
        began = clock.now
        often, once = (simulated(seed=seed, revision=revision) for _ in range(2))
        for look in sorted(looks):
            clock.now = began + look
            often.live(ORGANIZATION)
        clock.now = began + 2_000
        assert often.live(ORGANIZATION) == once.live(ORGANIZATION)
        assert often.history(ORGANIZATION) == once.history(ORGANIZATION)


@given(actions=st.lists(st.sampled_from(["start", "change", "end", "wait"]), max_size=30))
@settings(max_examples=60)
async def test_scripted_calls_do_not_disturb_the_simulated_ones(actions):
    with (clock := VirtualClock()).attached(asyncio.get_running_loop()):
        touched, untouched = (simulated(seed=3) for _ in range(2))
        scripted = []
        for action in actions:
            if action == "start":
                scripted.append(touched.start_call(ORGANIZATION))
            elif action == "wait":
                clock.advance(60)
            elif action == "change" and scripted:
                touched.change_call(ORGANIZATION, scripted[-1], city="Fresno")
            elif scripted:
                touched.end_call(ORGANIZATION, scripted.pop())
        left = [call for call in touched.live(ORGANIZATION) if call["transaction_id"] not in scripted]
        assert left == untouched.live(ORGANIZATION)


async def test_another_seed_or_organization_gives_other_calls(clock):
    calls = [
        repr(simulated(seed=seed, calls_per_organization=50).live(organization))
        for seed, organization in itertools.product((1, 2), (Organization(1, "network"), ORGANIZATION, THIRD))
    ]
    assert len(set(calls)) == 6


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_history_agrees_with_the_live_calls(clock, revision):
    sandbox = simulated(revision=revision, changes_per_call=3.0)
    before = {call["transaction_id"]: call for call in sandbox.live(ORGANIZATION)}
    told = len(sandbox.history(ORGANIZATION))
    kinds = set()
    for _ in range(400):
        clock.advance(1)
        after = {call["transaction_id"]: call for call in sandbox.live(ORGANIZATION)}
        news = sandbox.history(ORGANIZATION)[told:]
        told += len(news)
        ended = {event.transaction_id for event in news if event.kind == "ended"}
        started = {event.transaction_id for event in news if event.kind == "started"}
        changed = {event.transaction_id for event in news if event.kind == "changed"} - ended - started
        assert started - ended == after.keys() - before.keys()
        assert ended - started == before.keys() - after.keys()
        assert changed == {name for name in after.keys() & before.keys() if after[name] != before[name]}
        kinds |= {event.kind for event in news}
        before = after
    assert kinds == {"started", "changed", "ended"}


async def test_time_zero_is_a_moment_like_any_other(clock):
    """The mean number of live calls is the one asked for at once, and stays so."""
    sandbox = simulated(organizations=400, calls_per_organization=5, mean_call_seconds=100)
    for _ in range(3):
        counts = [len(sandbox.live(organization)) for organization in sandbox.organizations]
        assert statistics.mean(counts) == pytest.approx(5, abs=0.5)
        assert statistics.variance(counts) == pytest.approx(5, abs=1.2)
        clock.advance(250)


async def test_calls_have_the_given_length_and_rate_of_changes(clock):
    sandbox = simulated(calls_per_organization=100, mean_call_seconds=60, changes_per_call=2, history_kept=100_000)
    clock.advance(3_000)
    events = sandbox.history(ORGANIZATION)
    times = {(event.kind, event.transaction_id): event.time for event in events}
    lengths = [time - times["started", name] for (kind, name), time in times.items() if kind == "ended"]
    changes = sum(event.kind == "changed" for event in events)
    assert len(lengths) > 4_000
    assert statistics.mean(lengths) == pytest.approx(60, rel=0.1)
    assert changes / len(lengths) == pytest.approx(2, rel=0.1)
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert events[0].time < 0


async def test_calls_need_not_change(clock):
    sandbox = simulated(changes_per_call=0)
    clock.advance(1_000)
    assert {event.kind for event in sandbox.history(ORGANIZATION)} == {"started", "ended"}


async def test_keys_are_pressed_one_after_the_other(clock):
    sandbox = simulated(changes_per_call=30, calls_per_organization=20)
    calls = sandbox.live(ORGANIZATION)
    for call in calls:
        presses = list(filter(None, call["key presses"].split(",")))
        keys = [call[f"keypress_{number}"] for number in range(1, 5)]
        assert keys == (presses + [None] * 4)[:4]
    assert max(len(call["key presses"]) for call in calls) > 7


async def test_the_simulation_never_overwrites_an_external_unique_id_it_did_not_give(clock):
    sandbox = simulated(revision="2022-09-20", calls_per_organization=20, changes_per_call=50)
    names = [call["transaction_id"] for call in sandbox.live(ORGANIZATION)]
    for name in names:
        sandbox.change_call(ORGANIZATION, name, external_unique_id="given")
    clock.advance(20)
    left = [call for call in sandbox.live(ORGANIZATION) if call["transaction_id"] in names]
    assert {call["external_unique_id"] for call in left} == {"given"}


async def test_speed_is_simulated_seconds_for_each_second_of_the_clock(clock):
    sandbox = simulated(speed=60)
    clock.advance(2)
    assert sandbox.now == 120


async def test_a_script_starts_changes_and_ends_calls(clock):
    sandbox = simulated(calls_per_organization=0)
    first = sandbox.start_call(ORGANIZATION, city="Fresno")
    clock.advance(1)
    second = sandbox.start_call(ORGANIZATION, seconds=10)
    sandbox.change_call(ORGANIZATION, first, city="Austin")
    sandbox.change_call(ORGANIZATION, first, city="Austin")
    sandbox.change_call(ORGANIZATION, first, **{"key presses": "1"}, new_field=None)
    assert [(call["transaction_id"], call["city"]) for call in sandbox.live(ORGANIZATION)][1:] == [(first, "Austin")]
    clock.advance(20)
    sandbox.end_call(ORGANIZATION, first)
    assert sandbox.history(ORGANIZATION) == [
        (0, "started", first),
        (1, "started", second),
        (1, "changed", first),
        (1, "changed", first),
        (11, "ended", second),
        (21, "ended", first),
    ]
    assert sandbox.live(Organization(1, "network")) == []
    assert sandbox.written(ORGANIZATION, first) == {}


async def test_a_call_that_a_script_ended_does_not_change_or_end_again(clock):
    sandbox = simulated(calls_per_organization=20, changes_per_call=5)
    names = {call["transaction_id"] for call in sandbox.live(ORGANIZATION)}
    for name in names:
        sandbox.end_call(ORGANIZATION, name)
    clock.advance(2_000)
    last = [event for event in sandbox.history(ORGANIZATION) if event.transaction_id in names][-len(names) :]
    assert {(event.time, event.kind) for event in last} == {(0, "ended")}


async def test_a_script_cannot_act_on_an_absent_call(clock):
    sandbox = simulated(calls_per_organization=0)
    sandbox.start_call(ORGANIZATION, transaction_id="a")
    with pytest.raises(ValueError, match="a is in progress already"):
        sandbox.start_call(ORGANIZATION, transaction_id="a")
    with pytest.raises(InvalidRequestError):
        sandbox.end_call(ORGANIZATION, "b")
    with pytest.raises(InvalidRequestError):
        sandbox.change_call(ORGANIZATION, "b", city="Fresno")
    with pytest.raises(InvalidRequestError):
        sandbox.live(Organization(99, "advertiser"))


async def test_only_the_newest_events_are_kept(clock):
    sandbox = simulated(calls_per_organization=0, history_kept=2)
    for name in ("a", "b", "c"):
        sandbox.start_call(ORGANIZATION, transaction_id=name)
    assert [event.transaction_id for event in sandbox.history(ORGANIZATION)] == ["b", "c"]


async def test_organizations_are_made_on_first_use(clock):
    sandbox = simulated(organizations=100_000)
    clock.advance(10)
    sandbox.live(Organization.advertiser(77_777))
    made = [key for key, organization in sandbox._simulation._organizations.items() if organization]
    assert made == [Organization.advertiser(77_777)]


@pytest.mark.parametrize("is_in_use", [True, False])
async def test_the_simulation_starts_at_the_present_by_default(clock, is_in_use):
    sandbox = SandboxServer(calls_per_organization=0)
    assert not is_in_use or sandbox.now == 0
    clock.advance(3_600)
    sandbox.start_call(ORGANIZATION)
    clock.advance(90.0)
    (call,) = sandbox.live(ORGANIZATION)
    assert Call.from_payload(call).bridged_at == datetime(2024, 2, 1, 13, tzinfo=UTC)


async def test_a_simulation_can_start_with_a_history(clock):
    sandbox = SandboxServer(organizations=3, age=3_600, speed=2)
    events = sandbox.history(ORGANIZATION)
    assert sandbox.now == 3_600
    assert len(events) > 100
    clock.advance(5)
    assert sandbox.now == 3_610
    name = sandbox.start_call(ORGANIZATION)
    (call,) = (call for call in sandbox.live(ORGANIZATION) if call["transaction_id"] == name)
    assert Call.from_payload(call).bridged_at == datetime(2024, 2, 1, 12, 0, 10, tzinfo=UTC)


def test_the_simulation_starts_at_the_present_outside_of_a_loop_too():
    sandbox = SandboxServer(calls_per_organization=0)
    sandbox.start_call(ORGANIZATION)
    (call,) = sandbox.live(ORGANIZATION)
    assert Call.from_payload(call).duration().total_seconds() < 60
