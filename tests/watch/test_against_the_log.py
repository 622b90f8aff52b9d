"""Faults that come and go, a rate limit cut to a tenth, a sleeping consumer and a killed process, on a real server.

The events are held against the server's own log: nothing is lost, and nothing told twice.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from calls_in_progress_async import (
    CallChanged,
    CallEnded,
    CallsInProgressClient,
    CallStarted,
    Organization,
    OrganizationFailed,
    OrganizationRecovered,
    RetryPolicy,
    Watch,
)
from calls_in_progress_async.sandbox import Fault, SandboxServer

KINDS = {CallStarted: "started", CallChanged: "changed", CallEnded: "ended"}
FAULTS = (
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 401},
    {"kind": "disconnect"},
    {"kind": "truncate"},
    {"kind": "garbage"},
    {"kind": "status", "status": 200, "body": b"{}"},
)


class Log:
    """The events told so far, in order, and the state they add up to."""

    def __init__(self) -> None:
        self.told: dict[str, list[tuple[str, str]]] = {}
        self.state: dict[str, dict[str, Any]] = {}
        self.others: list[Any] = []

    def take(self, event: Any) -> None:
        if not isinstance(event, CallStarted | CallChanged | CallEnded):
            self.others.append(event)
        else:
            call = event.call
            self.note(KINDS[type(event)], str(event.organization), call.transaction_id, call.raw)

    def note(self, kind: str, organization: str, name: str, call: Any) -> None:
        self.told.setdefault(organization, []).append((kind, name))
        calls = self.state.setdefault(organization, {})
        if kind == "ended":
            del calls[name]
        else:
            assert (name in calls) is (kind == "changed")
            calls[name] = call

    def is_up_to_date(self, sandbox: SandboxServer) -> bool:
        return all(
            self.state.get(str(each), {}) == {call["transaction_id"]: call for call in sandbox.live(each)}
            for each in sandbox.organizations
        )

    def assert_is_what_happened(self, sandbox: SandboxServer) -> None:
        for organization in sandbox.organizations:
            happened = [(what, name) for _, what, name in sandbox.history(organization)]
            told = self.told.get(str(organization), [])
            assert sorted(told) == sorted(happened)
            for name in {name for _, name in happened}:  # events of one call are ordered
                assert [what for what, one in told if one == name] == [what for what, one in happened if one == name]


class Story:
    """Calls start, change and end at random, each at most once at a time."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self.random = random.Random(7)
        self.changes = 0

    def go_on(self) -> None:
        for key in self.sandbox.organizations:
            for call in self.sandbox.live(key):
                happening = self.random.choice(["end", "change", "nothing"])
                if happening == "end":
                    self.sandbox.end_call(key, call["transaction_id"])
                elif happening == "change":
                    self.changes += 1
                    self.sandbox.change_call(key, call["transaction_id"], external_unique_id=f"order-{self.changes}")
            for _ in range(self.random.randrange(3)):
                self.sandbox.start_call(key)


@asynccontextmanager
async def opened(count: int, interval: float = 0.02, **settings: Any) -> AsyncIterator[tuple[SandboxServer, Watch]]:
    async with (
        SandboxServer(organizations=count, calls_per_organization=0, **settings) as sandbox,
        CallsInProgressClient(
            token=lambda _: sandbox.token, base_url=sandbox.url, retry=RetryPolicy(max_attempts=1)
        ) as client,
        client.watch(sandbox.organizations, interval=interval) as watch,
    ):
        yield sandbox, watch


async def catch_up(log: Log, watch: Watch, sandbox: SandboxServer) -> None:
    while not log.is_up_to_date(sandbox):
        log.take(await anext(watch))


@pytest.mark.usefixtures("on_virtual_clock")
async def test_faults_come_and_go_while_calls_come_and_go() -> None:
    """With half of all responses failing in six ways, every event is told once; failures and recoveries alternate."""
    async with opened(5) as (sandbox, watch):
        log, story = Log(), Story(sandbox)
        for turn in range(12):
            sandbox.faults = [Fault(probability=0.12, **kind) for kind in FAULTS] if turn % 3 else []
            story.go_on()
            await catch_up(log, watch, sandbox)
    log.assert_is_what_happened(sandbox)
    assert sandbox.stats.faults > 10
    for organization in {event.organization for event in log.others}:
        kinds = [type(event) for event in log.others if event.organization == organization]
        assert kinds == ([OrganizationFailed, OrganizationRecovered] * len(kinds))[: len(kinds)]


@pytest.mark.usefixtures("on_virtual_clock")
async def test_a_rate_limit_that_is_cut_loses_nothing() -> None:
    """A server with a rate limit cut to a tenth stretches the interval of all organizations; none fails."""
    async with opened(8) as (sandbox, watch):
        log, story = Log(), Story(sandbox)
        for rate in (None, 400, 40, 40, None):
            # A burst of one request for each organization, so that none is rejected again and again.
            sandbox.rate_limit, sandbox.rate_burst = rate, rate and 8
            story.go_on()
            await catch_up(log, watch, sandbox)
            if rate == 40:
                # A fast machine catches up before the limit is reached, so wait for the limit too.
                while not sandbox.stats.throttled:
                    await asyncio.sleep(0.001)
    log.assert_is_what_happened(sandbox)
    assert log.others == []


@pytest.mark.usefixtures("on_virtual_clock")
async def test_a_sleeping_consumer_gets_the_net_effect() -> None:
    """Events merge while nobody takes them, and their net effect is the net effect of the log."""
    async with opened(3) as (sandbox, watch):
        log, story = Log(), Story(sandbox)
        story.go_on()
        await catch_up(log, watch, sandbox)
        for _ in range(15):
            story.go_on()
            wanted = sandbox.stats.requests + 9  # each of the three at least once, and its response applied
            while sandbox.stats.requests < wanted:
                await asyncio.sleep(0.001)
        assert watch.stats.merges > 0
        await catch_up(log, watch, sandbox)
        assert watch.stats.pending == 0
    for organization in sandbox.organizations:
        happened = [(what, name) for _, what, name in sandbox.history(organization) if what != "changed"]
        assert sorted(each for each in log.told[str(organization)] if each[0] != "changed") == sorted(happened)


WATCHING = """
import asyncio, json, os, sys
from calls_in_progress_async import CallsInProgressClient, Organization

url, token, file, *names = sys.argv[1:]

async def main():
    state = json.load(open(file)) if os.path.exists(file) else {"told": [], "checkpoint": None}
    organizations = [Organization.parse(name) for name in names]
    async with (
        CallsInProgressClient(token=token, base_url=url) as client,
        client.watch(organizations, interval=0.05, resume_from=state["checkpoint"]) as watch,
    ):
        async for event in watch:
            if not event.kind.startswith("call_"):
                continue
            kind = type(event).__name__.removeprefix("Call").lower()
            state["told"].append([kind, str(event.organization), event.call.transaction_id, event.call.raw])
            state["checkpoint"] = watch.checkpoint()
            with open(file + ".new", "w") as new:
                json.dump(state, new)
            os.replace(file + ".new", file)
            print("told", flush=True)

asyncio.run(main())
"""


async def told_in_a_process(sandbox: SandboxServer, file: Path, *, is_enough: Any) -> None:
    """Run a process that watches, from its file on, and kill it after enough events."""
    names = [str(each) for each in sandbox.organizations]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WATCHING, sandbox.url, sandbox.token, str(file), *names, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async for _ in process.stdout:
        if is_enough():
            break
    process.kill()
    await process.communicate()


def read(file: Path) -> Log:
    log = Log()
    events: Iterable[Any] = json.loads(file.read_text())["told"] if file.exists() else ()
    for event in events:
        log.note(*event)
    return log


async def test_a_killed_process_goes_on_from_its_file(tmp_path: Path) -> None:
    """Killed twice in the middle of things, it goes on from its checkpoint: each event once, over all its lives."""
    file = tmp_path / "checkpoint"
    async with SandboxServer(organizations=3, calls_per_organization=0) as sandbox:
        story = Story(sandbox)
        for enough in (4, 3, 10_000):
            story.go_on()
            story.go_on()
            before = sum(map(len, read(file).told.values()))
            await told_in_a_process(
                sandbox,
                file,
                is_enough=lambda before=before, enough=enough: (
                    sum(map(len, read(file).told.values())) >= before + enough or read(file).is_up_to_date(sandbox)
                ),
            )
        log = read(file)
        assert log.is_up_to_date(sandbox)
        for organization, told in log.told.items():
            happened = [(what, name) for _, what, name in sandbox.history(Organization.parse(organization))]
            assert set(told) <= set(happened)  # a call between two lives is not told
            ends = Counter(each for each in told if each[0] == "ended")
            assert all(count == 1 for count in ends.values())
