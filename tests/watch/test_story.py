"""All events in order, applied to the state at the start, give exactly the state at the end, whatever happens."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from timing import passes
from watch.scripted_calls import ACME, GLOBEX, ScriptedCalls, call, take_all

from calls_in_progress_async import (
    CallChanged,
    CallEnded,
    CallStarted,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
)
from calls_in_progress_async.testing import virtual_clock

ORGANIZATIONS = (ACME, GLOBEX)
organization = st.sampled_from([ACME, ACME, GLOBEX])  # few, with much happening to each
transaction_id = st.sampled_from("AAB")
step = st.one_of(
    st.tuples(st.just("put"), organization, transaction_id, st.integers(0, 2)),
    st.tuples(st.just("put"), organization, transaction_id, st.integers(0, 2)),
    st.tuples(st.just("end"), organization, transaction_id),
    st.tuples(st.just("end"), organization, transaction_id),
    st.tuples(st.just("reorder"), organization),
    st.tuples(st.just("double"), organization),
    st.tuples(st.just("respell"), organization),
    st.tuples(st.just("blur"), organization),
    st.tuples(st.just("fail"), organization),
    st.tuples(st.just("heal"), organization),
    st.tuples(st.just("pass"), st.integers(1, 12)),
    st.tuples(st.just("pass"), st.integers(5, 6)),
    st.tuples(st.just("pass"), st.integers(5, 6)),
    st.tuples(st.just("take"), st.integers(1, 5)),
    st.tuples(st.just("restart")),
)


class Consumer:
    """Keeps the state that events alone tell, and objects to every contradiction."""

    def __init__(self) -> None:
        self.state: dict[Any, dict[str, Any]] = {each: {} for each in ORGANIZATIONS}
        self.failed: set[Any] = set()
        self.resuming: set[Any] = set()

    def take(self, event: Any) -> None:
        calls = self.state[event.organization]
        match event:
            case CallStarted(_, call):
                assert call.transaction_id not in calls
                calls[call.transaction_id] = call.raw
            case CallChanged(_, call, previous, changes):
                old = calls[call.transaction_id]
                assert previous is None or previous.raw == old
                assert previous is None or changes
                calls[call.transaction_id] = call.raw
            case CallEnded(_, call):
                old = calls.pop(call.transaction_id)
                assert call.raw in (old, {"transaction_id": call.transaction_id}, {})
            case OrganizationFailed(where, _):
                assert where not in self.failed
                self.failed.add(where)
            case OrganizationRecovered(where, gap):
                assert gap >= 0
                assert where in self.failed
                self.failed.discard(where)
                self.resuming.discard(where)
            case OrganizationResumed(where, gap):
                assert gap >= 0
                assert where not in self.failed
                assert where in self.resuming
                self.resuming.discard(where)

    def restart(self, checkpoint: Any) -> None:
        """Forget failures: after a restart, a failure that goes on is told again."""
        self.failed.clear()
        self.resuming = {each for each in ORGANIZATIONS if checkpoint and str(each) in checkpoint["organizations"]}


class Story:
    """The lives of a watch and its restarts."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.server = ScriptedCalls()
        self.consumer = Consumer()
        self.limits = limits
        self.checkpoint: Any = None

    async def run(self, steps: list[Any]) -> None:
        lives: list[list[Any]] = [[]]
        for each in steps:
            lives.append([]) if each[0] == "restart" else lives[-1].append(each)
        for life in lives[:-1]:
            await self.live(life)
        await self.live(lives[-1], to_the_end=True)

    async def live(self, steps: list[Any], *, to_the_end: bool = False) -> None:
        self.consumer.restart(self.checkpoint)
        async with self.server.watch(*ORGANIZATIONS, resume_from=self.checkpoint, **self.limits) as watch:
            for name, *arguments in steps:
                await getattr(self, f"do_{name}")(watch, *arguments)
            if to_the_end:
                self.server.errors.clear()
                self.server.bodies.clear()
                # Longer than the longest backoff, and often enough although polling pauses in between.
                for _ in range(25):
                    await passes(8)
                    for event in await take_all(watch):
                        self.consumer.take(event)
            self.checkpoint = json.loads(json.dumps(watch.checkpoint()))

    async def do_put(self, _: Any, where: Any, name: str, version: int) -> None:
        calls = [each for each in self.server.calls.get(where, []) if each["transaction_id"] != name]
        self.server.calls[where] = [call(name, city=f"city {version}"), *calls]
        self.server.bodies.pop(where, None)

    async def do_end(self, _: Any, where: Any, name: str) -> None:
        self.server.calls[where] = [each for each in self.server.calls.get(where, []) if each["transaction_id"] != name]
        self.server.bodies.pop(where, None)

    async def do_reorder(self, _: Any, where: Any) -> None:
        self.server.calls[where] = self.server.calls.get(where, [])[::-1]

    async def do_double(self, _: Any, where: Any) -> None:
        self.server.calls[where] = [*self.server.calls.get(where, []), *self.server.calls.get(where, [])[:1]]

    async def do_respell(self, _: Any, where: Any) -> None:
        """Write the same calls with the keys in another order and with spaces."""
        self.server.calls[where] = [dict(reversed(each.items())) for each in self.server.calls.get(where, [])]
        self.server.bodies[where] = json.dumps({"current_calls": self.server.calls[where]}, indent=1).encode()

    async def do_blur(self, _: Any, where: Any) -> None:
        """Make the id of the first call unreadable until the calls change."""
        if calls := self.server.calls.get(where):
            blurred = [{**calls[0], "transaction_id": None}, *calls[1:]]
            self.server.bodies[where] = json.dumps({"current_calls": blurred}).encode()

    async def do_fail(self, _: Any, where: Any) -> None:
        self.server.errors[where] = 500

    async def do_heal(self, _: Any, where: Any) -> None:
        self.server.errors.pop(where, None)

    async def do_pass(self, _: Any, seconds: int) -> None:
        await passes(seconds)

    async def do_take(self, watch: Any, count: int) -> None:
        for _ in range(min(count, watch.stats.pending)):
            self.consumer.take(await anext(watch))


@settings(max_examples=80)
@given(
    steps=st.lists(step, min_size=20, max_size=60),  # without min_size most lists have five steps
    absent=st.integers(1, 2),
    most_pending=st.sampled_from([2, 5, 100]),
)
def test_events_add_up(steps: list[Any], absent: int, most_pending: int) -> None:
    """Random histories, faults, restarts and a consumer of any speed: no event is lost, doubled or contradictory."""
    story = Story({"missed_polls_before_end": absent, "max_pending": most_pending})
    virtual_clock.run(story.run(steps))
    for where in ORGANIZATIONS:
        expected = {each["transaction_id"]: meaning(each) for each in story.server.calls.get(where, [])}
        assert {name: meaning(each) for name, each in story.consumer.state[where].items()} == expected
    assert not story.consumer.failed
    assert not story.consumer.resuming


def meaning(call: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in call.items() if value is not None}
