"""A call's life is told in lines, and a watch on the virtual clock sees the life."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import pytest

from calls_in_progress_async import CallsInProgressClient, InvalidRequestError, Organization, clock
from calls_in_progress_async.sandbox import Revision, SandboxServer
from calls_in_progress_async.testing import play, run

ACME = Organization.advertiser(2)


def watch(*lives: tuple[str, ...], until: float = 70.0, **settings: Any) -> list[tuple[float, str, str]]:
    """Watch an organization in virtual time; return the second, the kind and the call of each event."""
    seen = []

    async def main() -> None:
        settings.setdefault("calls_per_organization", 0)
        async with (
            SandboxServer(organizations=2, **settings) as sandbox,
            CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client,
            client.watch([ACME]) as events,
        ):
            began = clock.now()
            ids = [play(sandbox, ACME, *life) for life in lives]
            played = settings["calls_per_organization"] == 0
            async for event in events:
                name = "ABC"[ids.index(event.call.transaction_id)] if played else event.call.transaction_id
                seen.append((round(clock.now() - began, 3), event.kind.removeprefix("call_"), name))
                if sandbox.now > until or (not sandbox.live(ACME) and event.kind == "call_ended"):
                    break

    run(main)
    return seen


@pytest.mark.parametrize("revision", get_args(Revision))
def test_a_life_is_seen(revision: Revision) -> None:
    """A watch with an interval of 5 seconds sees each moment at the next poll, on every revision of the API."""
    seen = watch(("starts at 0.5", "changes at 12", "ends at 40"), revision=revision)
    assert [(kind, name) for _, kind, name in seen] == [("started", "A"), ("changed", "A"), ("ended", "A")]
    for (second, _, _), moment in zip(seen, (0.5, 12, 40), strict=True):
        assert moment <= second <= moment + 5.5


def test_two_runs_see_the_same() -> None:
    """One seed makes the same events at the same times, simulated callers included."""
    lives = (("starts at 3", "ends at 60"), ("starts at 9", "changes at 21", "changes at 33", "ends at 50"))
    assert watch(*lives) == watch(*lives)
    busy = {"calls_per_organization": 8, "mean_call_seconds": 40, "seed": 7, "until": 200}
    first = watch(**busy)
    assert len(first) > 20
    assert first == watch(**busy)
    assert first != watch(**{**busy, "seed": 8})


def test_fields_are_given() -> None:
    """Fields of the start and of a change are the call's."""

    async def main() -> None:
        sandbox = SandboxServer(organizations=2, calls_per_organization=0)
        first = play(sandbox, ACME, "starts at 0", "changes at 2: city=San Jose, keypress_1=2", city="Boston", extra=1)
        second = play(sandbox, ACME, "starts at 0: city=Rome", "starts at 1", transaction_id="X")
        assert (first, second) == ("PLAYED00-00000001", "X")
        shown = {call["transaction_id"]: (call["city"], call["calling_phone_number"]) for call in sandbox.live(ACME)}
        assert shown == {first: ("Boston", "+18055550001"), "X": ("Rome", "+18055550002")}
        await asyncio.sleep(2)
        call = next(each for each in sandbox.live(ACME) if each["transaction_id"] == first)
        assert (call["city"], call["keypress_1"], call["extra"]) == ("San Jose", "2", 1)

    run(main)


def test_moments_of_a_call_that_is_over_pass_by() -> None:
    """A call ended by hand stays over."""

    async def main() -> None:
        sandbox = SandboxServer(organizations=2, calls_per_organization=0, speed=100)
        call = play(sandbox, ACME, "starts at 0", "changes at 1: city=Rome", "changes at 2", "ends at 3")
        sandbox.end_call(ACME, call)
        await asyncio.sleep(1)
        assert [event.kind for event in sandbox.history(ACME)] == ["started", "ended"]

    run(main)


@pytest.mark.parametrize(
    ("step", "parameter"),
    [
        ("begins at 0", "step"),
        ("starts at -1", "step"),
        ("starts", "step"),
        ("ends at noon", "step"),
        ("changes at 1:", "step"),
        ("changes at 1: Boston", "step"),
        (0, "step"),
    ],
)
def test_a_step_that_cannot_be_read_is_named(step: Any, parameter: str) -> None:
    """The message shows the forms of a step."""
    with pytest.raises(InvalidRequestError, match=r"^step must be ") as caught:
        play(SandboxServer(organizations=2), ACME, step)
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ((ACME, -1, "start"), "seconds"),
        ((ACME, 1, "begin"), "action"),
        ((Organization.network(9), 1, "end"), "organization"),
    ],
)
def test_a_plan_is_checked(arguments: Any, parameter: str) -> None:
    """An argument out of its range is refused when the call is planned."""
    with pytest.raises(InvalidRequestError) as caught:
        SandboxServer(organizations=2).plan_call(*arguments, "X")
    assert caught.value.parameter == parameter
