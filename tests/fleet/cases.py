"""The cases of a fleet: what happens to its workers, its servers and its consumers. Any size.

The tests run small copies; ``benchmarks/fleet.py`` runs the same with 10,000 organizations.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import time
from collections.abc import Awaitable, Collection, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from fleet import measures
from fleet.harness import Processes
from fleet.nats_server import NatsServer
from fleet.proxy import Proxy

_UNSURE = 1.0
"""Seconds from a poll until its finding is in the log, on a busy machine."""


@define
class Outcome:
    """The outcome of a case."""

    faults: dict[str, int]
    """Faults by the audit; empty if there are none."""
    figures: dict[str, float] = field(factory=dict)
    messages: list[dict[str, Any]] = field(factory=list)


async def begin(fleet: Processes, workers: Sequence[str], **settings_of_first: Any) -> None:
    """Start workers, and wait until these share the organizations and have polled all."""
    for worker in workers:
        fleet.start(worker, **(settings_of_first if worker == workers[0] else {}))
    await fleet.until_even(*workers)
    await fleet.until_polled()
    await fleet.intervals(2)


async def finish(
    fleet: Processes,
    since: float,
    unsure: Sequence[tuple[float, float]] = (),
    names: Collection[str] = (),
    **figures: float,
) -> Outcome:
    """Stop all workers and hold the log against the API.

    Args:
        fleet: The fleet.
        since: Time of the event that the case is about.
        unsure: Spans of time whose findings may be lost.
        names: The organizations of the figures; all by default.
        **figures: Further figures.
    """
    until = time.time()
    messages = await fleet.finish()
    truths = fleet.api.truths()
    truths = {name: truths[name] for name in names or truths}
    seconds = measures.detection(messages, truths, since)
    figures |= {
        "longest gap": measures.longest_gap(truths.values(), since, until),
        "detection p50": measures.percentile(seconds, 0.5),
        "detection p99": measures.percentile(seconds, 0.99),
        "events": sum(len(each["events"]) for each in messages),
    }
    return Outcome(fleet.audit(messages, unsure), figures, messages)


async def steady(fleet: Processes, workers: Sequence[str], meanwhile: Awaitable[object]) -> Outcome:
    """Let nothing happen until something else is over."""
    await begin(fleet, workers)
    since = time.time()
    await meanwhile
    until = time.time()
    outcome = await finish(fleet, since)
    new = [each for each in outcome.messages if since <= each["logged"] <= until]
    polls = [each for each in measures.poll_times(fleet.api.truths().values()) if since <= each <= until]
    outcome.figures |= {
        "polls": len(polls),
        "messages a poll": len(new) / max(1, len(polls)),
        "messages without an event": sum(not each["events"] for each in new),
    }
    return outcome


async def killed(fleet: Processes, workers: Sequence[str]) -> Outcome:
    """Kill a worker."""
    await begin(fleet, workers)
    at = time.time()
    fleet.workers[workers[0]].kill()
    took = await fleet.until_even(*workers[1:])
    await fleet.intervals(3)
    return await finish(fleet, at, [(at - _UNSURE, at + 0.1)], **{"taken over": took})


async def frozen(fleet: Processes, workers: Sequence[str], seconds: float) -> Outcome:
    """Freeze a worker until others have taken over, and for some seconds at least."""
    await begin(fleet, workers)
    at = time.time()
    fleet.workers[workers[0]].send_signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    await fleet.until_even(*workers[1:])
    fleet.workers[workers[0]].send_signal(signal.SIGCONT)
    await fleet.until_even(*workers)
    await fleet.intervals(3)
    return await finish(fleet, at, [(at - _UNSURE, at + 0.1)])


async def cut_off(fleet: Processes, workers: Sequence[str], seconds: float) -> Outcome:
    """Cut the link between a worker and the log until others have taken over, and deliver its bytes late."""
    proxy = Proxy(fleet.servers[0].port)
    try:
        await begin(fleet, workers, servers=await proxy.start())
        at = time.time()
        proxy.cut()
        await asyncio.sleep(seconds)
        await fleet.until_even(*workers[1:])
        await fleet.intervals(2)
        proxy.heal()
        await fleet.until_even(*workers)
        await fleet.intervals(3)
        # The worker polls until it notices, and its findings of then are out of date once the link is back.
        return await finish(fleet, at, [(at - _UNSURE, at + fleet.settings["lease"] + _UNSURE)])
    finally:
        await proxy.close()


async def server_frozen(fleet: Processes, workers: Sequence[str], seconds: float) -> Outcome:
    """Freeze the server."""
    (server,) = fleet.servers
    await begin(fleet, workers)
    at = time.time()
    server.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    server.signal(signal.SIGCONT)
    return await resume(fleet, workers, at)


async def server_killed(fleet: Processes, workers: Sequence[str], seconds: float) -> Outcome:
    """Kill the server, and start it again."""
    (server,) = fleet.servers
    await begin(fleet, workers)
    at = time.time()
    server.kill()
    await asyncio.sleep(seconds)
    server.start()
    return await resume(fleet, workers, at)


async def log_set_back(fleet: Processes, workers: Sequence[str], seconds: float, directory: Path) -> Outcome:
    """Kill the server, and start it again with the disk of some seconds ago."""
    (server,) = fleet.servers
    await begin(fleet, workers)
    copied_at = time.time()
    server.copy_store(directory)
    await asyncio.sleep(seconds)
    at = time.time()
    server.kill()
    server.restore(directory)
    server.start()
    outcome = await resume(fleet, workers, at, [(copied_at - _UNSURE, time.time() + _UNSURE)])
    shutil.rmtree(directory)
    return outcome


async def resume(
    fleet: Processes, workers: Sequence[str], since: float, unsure: Sequence[tuple[float, float]] = ()
) -> Outcome:
    """Wait until polls and writes go on after the server was away."""
    back_at = time.time()
    fleet.beats.clear()
    await fleet.until_even(*workers)
    await fleet.until_polled(time.time())
    await fleet.intervals(2)
    outcome = await finish(fleet, since, unsure)
    times = measures.poll_times(fleet.api.truths().values())
    first_poll = next(each for each in times if each > back_at)
    first_write = next(each["logged"] for each in outcome.messages if each["logged"] > back_at)
    outcome.figures |= {"resumes": max(first_poll, first_write) - back_at}
    return outcome


async def leader_killed(fleet: Processes, workers: Sequence[str]) -> Outcome:
    """Kill the leader of three servers, and start it again."""
    await begin(fleet, workers)
    at = time.time()
    killed = await kill_leader(fleet)
    killed.start()
    await until_whole(fleet)
    await fleet.intervals(2)
    outcome = await finish(fleet, at)
    return full_rate(fleet, outcome, at)


async def disk_gone(fleet: Processes, workers: Sequence[str]) -> Outcome:
    """Kill one of three servers that does not lead, and start it again with an empty disk."""
    await begin(fleet, workers)
    leader = await leader_of(fleet)
    at = time.time()
    lost = next(server for server in fleet.servers if server is not leader)
    lost.kill()
    await lose_disk(fleet, lost)
    outcome = await finish(fleet, at)
    return full_rate(fleet, outcome, at)


async def stopped_in_election(fleet: Processes, workers: Sequence[str]) -> Outcome:
    """Kill the leader of three servers, and stop all workers before there is another one."""
    await begin(fleet, workers)
    at = time.time()
    (await leader_of(fleet)).kill()
    await fleet.intervals(1)  # by now polls have found news that cannot be written yet
    return await finish(fleet, at)


async def kill_leader(fleet: Processes) -> NatsServer:
    """Kill the leader of the log, wait until polls go on behind another one, and return the dead one."""
    killed = await leader_of(fleet)
    killed.kill()
    while (await leader_of(fleet)) is killed:
        await asyncio.sleep(0.1)
    await fleet.until_polled(time.time())
    await fleet.intervals(2)
    return killed


async def lose_disk(fleet: Processes, lost: NatsServer) -> None:
    """Start a dead server with an empty disk, and wait until it has the whole log again."""
    lost.wipe()
    lost.start()
    await until_whole(fleet)
    await fleet.until_polled(time.time())
    await fleet.intervals(2)


def full_rate(fleet: Processes, outcome: Outcome, since: float) -> Outcome:
    """Add the seconds until all organizations are polled once an interval again."""
    times = measures.poll_times(fleet.api.truths().values())
    outcome.figures["full rate after"] = measures.until_full_rate(times, since, len(fleet.api.names), fleet.interval)
    return outcome


async def leader_of(fleet: Processes) -> NatsServer:
    """Return the leader of the log, as soon as there is one."""
    while (info := await fleet.stream_info()) is None or not info.cluster.leader:
        await asyncio.sleep(0.1)
    return next(server for server in fleet.servers if server.name == info.cluster.leader)


async def until_whole(fleet: Processes) -> None:
    """Wait until all servers have the whole log."""
    while (info := await fleet.stream_info()) is None or not (
        info.cluster.leader and len(info.cluster.replicas) == 2 and all(each.current for each in info.cluster.replicas)
    ):
        await asyncio.sleep(0.2)


async def moved(fleet: Processes, workers: Sequence[str], listed: Path) -> Outcome:
    """Start one worker, then all, stop the first, then add some organizations and remove others."""
    names = fleet.api.names
    tenth = max(1, len(names) // 10)
    before, after = names[tenth:], names[:-tenth]
    listed.write_text(json.dumps(before))
    more = {"organizations": str(listed), "refresh": 1.0}
    fleet.start(workers[0], **more)
    await fleet.until_even(workers[0])
    await fleet.until_polled(names=before)
    await fleet.intervals(2)
    since = time.time()
    for worker in workers[1:]:
        fleet.start(worker, **more)
    await fleet.until_even(*workers)
    even_at = time.time()
    await fleet.intervals(3)
    stopped_at = time.time()
    stopping = asyncio.ensure_future(fleet.stop(workers[0]))
    await fleet.until_even(*workers[1:])
    handed_over_at = time.time()
    await stopping
    await fleet.intervals(3)
    listed.write_text(json.dumps(after))
    await fleet.until_polled(names=names[:tenth])
    removed_at = max(fleet.api.last_polls()[each] for each in names[-tenth:])
    await fleet.until_polled(removed_at + 2 * fleet.interval, names=after)
    outcome = await finish(fleet, since, names=names[tenth:-tenth])
    truths = fleet.api.truths()
    outcome.figures |= {
        "even after": even_at - max(fleet.heard[each] for each in workers),
        "handover": handed_over_at - stopped_at,
        "polls of removed": sum(truths[each].polls[-1] > removed_at for each in names[-tenth:]),
    }
    return outcome


async def consumer_killed(fleet: Processes, workers: Sequence[str], folder: Path, pause: float) -> Outcome:
    """Kill one of two consumers of a group in the middle of a batch, and start another one later."""
    await begin(fleet, workers)
    since = time.time()

    def consume(consumer: str, pause: float) -> None:
        fleet.consume(consumer, folder / consumer, group="readers", ack_wait=2.0, batch=20, pause=pause)

    consume("one", pause)
    consume("two", pause)
    await fleet.until(lambda: all(len(_lines(folder / each)) >= 10 for each in ("one", "two")))
    # Frozen, a consumer fills its hands with events from the server and lets go of none.
    fleet.consumers["one"].send_signal(signal.SIGSTOP)
    await fleet.intervals(2)
    fleet.consumers["one"].kill()
    await fleet.intervals(2)
    consume("three", 0.0)
    outcome = await finish(fleet, since)
    logged = {event["id"] for each in outcome.messages for event in each["events"]}

    def deliveries() -> list[tuple[str, int]]:
        return [line for each in ("one", "two", "three") for line in _lines(folder / each)]

    await fleet.until(lambda: logged <= {each for each, _ in deliveries()}, 60)
    delivered = deliveries()
    outcome.figures |= {
        "delivered": len({each for each, _ in delivered}),
        "not delivered": len(logged - {each for each, _ in delivered}),
        "delivered again": sum(redelivered > 0 for _, redelivered in delivered),
    }
    return outcome


def _lines(file: Path) -> list[tuple[str, int]]:
    """Return the id and the number of earlier deliveries of each event in a file of the consumers."""
    if not file.exists():
        return []
    *lines, _ = file.read_text().split("\n")  # the last line may be incomplete
    return [tuple(json.loads(line)) for line in lines]


async def kills_at_a_rate(fleet: Processes, workers: Sequence[str], kills: int, pause: float) -> Outcome:
    """Kill random workers, each replaced by a new one, at a rate below the demand."""
    rate = float(fleet.settings["rate"])
    await begin(fleet, workers)
    await asyncio.sleep(len(fleet.api.names) / rate)
    living, since, unsure = list(workers), time.time(), []
    choose = random.Random(5)
    for number in range(kills):
        victim = choose.choice(living)
        at = time.time()
        fleet.workers[victim].kill()
        unsure.append((at - _UNSURE, at + 0.1))
        living[living.index(victim)] = f"new-{number}"
        await asyncio.sleep(pause / 2)
        fleet.start(living[living.index(f"new-{number}")])
        await asyncio.sleep(pause / 2)
    await fleet.until_even(*living)
    stretched = len(fleet.api.names) / rate
    await asyncio.sleep(3 * stretched)  # the gaps of the last takeover have ended by then
    calm_since = time.time()
    await asyncio.sleep(2 * stretched)
    until = time.time()
    outcome = await finish(fleet, since, unsure)
    truths = fleet.api.truths().values()
    times = measures.poll_times(truths)
    outcome.figures |= {
        "worst second / rate": measures.worst_second(times, since, until) / rate,
        "mean / rate": sum(since <= each <= until for each in times) / (until - since) / rate,
        "longest gap afterwards / mean": measures.longest_gap(truths, calm_since, until) / stretched,
    }
    return outcome
