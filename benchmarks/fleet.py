"""A fleet through its faults: workers, servers and consumers die, freeze and come back, and an audit follows.

    python benchmarks/fleet.py [--case NAME ...] [--organizations 10000] [--workers 4] [--interval 5] [--json FILE]

Real workers, a real nats-server or three, and the sandbox in a process of its own, whose history is the truth. Every
case takes about 2 minutes and can be run alone: its figures replace those of before in the file. The tests run the
same cases with 50 organizations.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

HERE = Path(__file__).resolve().parent
# This file has the name of the tests' package, so its directory joins the path after the package was found.
sys.path[:] = [str(HERE.parent / "tests"), str(HERE.parent), *(each for each in sys.path if each != str(HERE))]

from fleet import cases, measures  # noqa: E402
from fleet.harness import Processes, open_processes  # noqa: E402
from fleet.nats_server import NatsServer, find_server, make_cluster  # noqa: E402

sys.path.append(str(HERE))

from fleet_api import ApiProcess  # noqa: E402
from measuring import Verdict, machine, shown  # noqa: E402

from calls_in_progress_async.errors import CallsInProgressError  # noqa: E402
from calls_in_progress_async.fleet import EventsLostError, FleetEvents  # noqa: E402

_TICKS = os.sysconf("SC_CLK_TCK")


@frozen
class Stage:
    """The parts of one run."""

    fleet: Processes
    workers: tuple[str, ...]
    directory: Path
    measured: float
    """Seconds of a steady fleet, and of a measurement of CPU."""

    @property
    def server_pid(self) -> int:
        process = self.fleet.servers[0].process
        assert process is not None
        return process.pid


@frozen(kw_only=True)
class Case:
    """A case, and what it has to reach."""

    title: str
    play: Callable[[Stage], Awaitable[cases.Outcome]]
    targets: dict[str, float] = field(factory=dict)
    """The highest allowed value of each figure; in intervals for names in `_IN_INTERVALS`."""
    settings: dict[str, Any] = field(factory=dict)
    call_seconds: float = 180.0
    """Mean length of a call. An organization has five at a time: every third poll has news of calls of 180 s."""
    servers: int = 1
    red: bool = False
    """True for a control, which has to be red."""


_IN_INTERVALS = ("detection p99", "longest gap")


async def steady(stage: Stage) -> cases.Outcome:
    """Let nothing happen for a while, then measure workers beside plain watches."""
    seconds = stage.measured + stage.fleet.interval
    found: dict[str, float] = {}

    async def look() -> None:
        before = cpu_seconds(stage.server_pid)
        await asyncio.sleep(seconds)
        found["server, share of a core"] = (cpu_seconds(stage.server_pid) - before) / seconds
        state = (await stage.fleet.stream_info()).state
        found["kB a message"] = state.bytes / state.messages / 1e3
        found["MB of a worker"] = max(memory(stage.fleet.workers[each].pid) for each in stage.workers) / 1e6

    outcome = await cases.steady(stage.fleet, stage.workers, look())
    outcome.figures |= {**found, **await _costs_of_polls(stage)}
    return outcome


async def _costs_of_polls(stage: Stage) -> dict[str, float]:
    """Return the CPU time for a poll of workers, and of as many plain watches of other organizations beside them.

    Half of the workers poll half of the organizations, so that a worker has as many as before.
    """
    fleet, since = stage.fleet, time.time()
    halves = fleet.api.names[::2], fleet.api.names[1::2]
    workers = [f"{worker}-again" for worker in stage.workers[::2]]
    watches = [f"watch-{number}" for number in range(len(workers))]
    for number, (worker, watch) in enumerate(zip(workers, watches, strict=True)):
        fleet.start(worker, organizations=halves[0])
        fleet.start(watch, watch=True, organizations=halves[1][number :: len(watches)])
    await fleet.until_even(*workers, seconds=60)
    await fleet.until_polled(since)
    await fleet.intervals(2)
    groups = [[fleet.workers[each].pid for each in group] for group in (workers, watches)]
    before, since = [sum(map(cpu_seconds, group)) for group in groups], time.time()
    await asyncio.sleep(stage.measured)
    used, until = [sum(map(cpu_seconds, group)) for group in groups], time.time()
    truths = fleet.api.truths()
    polls = [
        sum(since <= each <= until for each in measures.poll_times([truths[name] for name in half])) for half in halves
    ]
    of_worker, of_watch = ((after - start) / number for after, start, number in zip(used, before, polls, strict=True))
    return {
        "us a poll": 1e6 * of_worker,
        "us a poll of a plain watch": 1e6 * of_watch,
        "CPU a poll / plain watch": of_worker / of_watch,
    }


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def consumer_asleep(stage: Stage) -> cases.Outcome:
    """Let a group sleep until its messages are trimmed."""
    fleet = stage.fleet
    await cases.begin(fleet, stage.workers)
    where = {"servers": fleet.urls, "name": fleet.name, "group": "sleeper"}
    async with FleetEvents(**where) as events:
        asleep_at = (await anext(events)).sequence + 1000  # beyond the messages in its hands
    while (info := await fleet.stream_info()) is None or info.state.first_seq <= asleep_at:
        await asyncio.sleep(0.5)
    error: CallsInProgressError | None = None
    async with FleetEvents(**where) as events:
        try:
            await anext(events)
        except EventsLostError as raised:
            error = raised
    return cases.Outcome({}, {"silence": error is None})


CASES = {
    "steady": Case(
        title="steady, 2 % of the polls with news",
        play=steady,
        targets={
            "detection p99": 1.1, "messages without an event": 0, "CPU a poll / plain watch": 1.1,
            "server, share of a core": 0.1,
        },
        call_seconds=3600.0,
    ),
    "lively": Case(
        title="steady, a third of the polls with news",
        play=steady,
        targets={
            "detection p99": 1.1, "messages without an event": 0, "CPU a poll / plain watch": 1.1,
            "server, share of a core": 0.1,
        },
    ),
    "killed": Case(
        title="a worker killed, lease 6 s",
        play=lambda stage: cases.killed(stage.fleet, stage.workers),
        targets={"taken over": 6},
    ),
    "killed-3": Case(
        title="a worker killed, lease 3 s",
        play=lambda stage: cases.killed(stage.fleet, stage.workers),
        targets={"taken over": 3},
        settings={"lease": 3.0},
    ),
    "frozen": Case(
        title="a worker frozen for 15 s", play=lambda stage: cases.frozen(stage.fleet, stage.workers, 15.0)
    ),
    "cut-off": Case(
        title="a worker cut off for 15 s, its bytes delivered late",
        play=lambda stage: cases.cut_off(stage.fleet, stage.workers, 15.0),
    ),
    "server-frozen": Case(
        title="the server frozen for 4 s",
        play=lambda stage: cases.server_frozen(stage.fleet, stage.workers, 4.0),
        targets={"resumes": 3},
    ),
    "server-killed": Case(
        title="the server killed, back after 3 s",
        play=lambda stage: cases.server_killed(stage.fleet, stage.workers, 3.0),
        targets={"resumes": 3},
    ),
    "set-back": Case(
        title="the log set back by 5 s",
        play=lambda stage: cases.log_set_back(stage.fleet, stage.workers, 5.0, stage.directory / "copy"),
        targets={"resumes": 3},
    ),
    "leader-killed": Case(
        title="three servers, the leader killed",
        play=lambda stage: cases.leader_killed(stage.fleet, stage.workers),
        targets={"full rate after": 10},
        servers=3,
    ),
    "disk-gone": Case(
        title="three servers, the disk of one gone",
        play=lambda stage: cases.disk_gone(stage.fleet, stage.workers),
        targets={"full rate after": 10},
        servers=3,
    ),
    "stopped-in-election": Case(
        title="three servers, all workers stopped after the leader's death",
        play=lambda stage: cases.stopped_in_election(stage.fleet, stage.workers),
        servers=3,
    ),
    "moved": Case(
        title="1 to 4 workers, SIGTERM to one, organizations added and removed",
        play=lambda stage: cases.moved(stage.fleet, stage.workers, stage.directory / "organizations"),
        targets={"even after": 2, "handover": 1, "longest gap": 2, "polls of removed": 0},
    ),
    "consumer-killed": Case(
        title="a consumer killed with a batch in its hands",
        play=lambda stage: cases.consumer_killed(stage.fleet, stage.workers, stage.directory, 0.005),
        targets={"not delivered": 0},
    ),
    "consumer-asleep": Case(
        title="a consumer asleep past the trim",
        play=consumer_asleep,
        targets={"silence": 0},
        settings={"max_age": 15.0},
    ),
    "rate": Case(
        title="random kills at 0.7 of the demand",
        play=lambda stage: cases.kills_at_a_rate(stage.fleet, stage.workers, 4, 6.0),
        targets={"worst second / rate": 1.05, "longest gap afterwards / mean": 1.5},
        settings={"rate": 0.7},
    ),
    "unfenced": Case(
        title="control: no compare-and-set, a worker frozen for 15 s",
        play=lambda stage: cases.frozen(stage.fleet, stage.workers, 15.0),
        settings={"break_fences": True},
        red=True,
    ),
}  # fmt: skip


@asynccontextmanager
async def open_stage(case: Case, options: argparse.Namespace) -> Any:
    binary = find_server()
    if binary is None:
        raise SystemExit("no nats-server 2.11 or later: install the test extra")
    settings = {"interval": options.interval, "lease": 6.0, "shards": 64, "uvloop": options.uvloop, **case.settings}
    if "rate" in settings:
        settings["rate"] *= options.organizations / options.interval
    with (
        tempfile.TemporaryDirectory() as name,
        ApiProcess(
            organizations=options.organizations,
            mean_call_seconds=case.call_seconds,
            calls_per_organization=5,
            seed=3,
        ) as api,
    ):
        directory = Path(name)
        servers = [NatsServer(directory, binary)] if case.servers == 1 else make_cluster(directory, binary)
        try:
            for server in servers:
                server.start()
            replicas = {"replicas": case.servers} if case.servers > 1 else {}
            async with open_processes(servers, api, "bench", **settings, **replicas) as fleet:
                names = ("one", "two", "three", "four", "five", "six", "seven", "eight")[: options.workers]
                yield Stage(fleet, names, directory, options.measured)
        finally:
            for server in servers:
                server.kill()


async def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    case, began = CASES[name], time.monotonic()
    async with open_stage(case, options) as stage:
        outcome = await case.play(stage)
    verdicts = [Verdict("faults", sum(outcome.faults.values()), 1 if case.red else 0, more_is_better=case.red)]
    for figure, target in case.targets.items():
        bound = target * options.interval if figure in _IN_INTERVALS else target
        verdicts.append(Verdict(figure, outcome.figures[figure], bound))
    return {
        "title": case.title,
        "organizations": options.organizations,
        "interval": options.interval,
        "workers": options.workers,
        "seconds": round(time.monotonic() - began, 1),
        "faults": outcome.faults,
        "figures": {name: round(float(value), 4) for name, value in outcome.figures.items()},
        "verdicts": [asdict(each) for each in verdicts],
    }


def show(name: str, row: dict[str, Any]) -> None:
    print(f"\n{name}: {row['title']} ({row['seconds']} s)", flush=True)
    for each in row["verdicts"]:
        verdict = Verdict(**each)
        sign = ">=" if verdict.more_is_better else "<="
        met = "met" if verdict.met else "NOT MET"
        print(f"  {verdict.claim:30} {shown(verdict.value):>9}  {sign} {verdict.target:g}  {met}")
    print(f"  faults: {row['faults']}")
    print("  " + ", ".join(f"{name} {shown(value)}" for name, value in row["figures"].items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="run this case; all by default")
    parser.add_argument("--organizations", type=int)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--measured", type=float, default=20.0, metavar="SECONDS", help="length of the steady cases")
    parser.add_argument("--asyncio", dest="uvloop", action="store_false", help="run the workers without uvloop")
    parser.add_argument("--quick", action="store_true", help="500 organizations")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add all figures to this file")
    options = parser.parse_args()
    options.organizations = options.organizations or (500 if options.quick else 10_000)
    for name in options.case or CASES:
        try:
            row = asyncio.run(run(name, options))
        except Exception:  # the other cases are worth a run
            print(f"\n{name}", flush=True)
            traceback.print_exc()
            continue
        show(name, row)
        if options.json:
            written: dict[str, Any] = {"cases": {}}
            with suppress(FileNotFoundError):
                written = json.loads(options.json.read_text())
            written["machine"] = machine()
            written["cases"][name] = row
            options.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
