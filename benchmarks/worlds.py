"""Run a sandbox in a process of its own, record a watch's events, and compare both."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from calls_in_progress_async import (
    CallChanged,
    CallEnded,
    CallStarted,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
    Watch,
)
from calls_in_progress_async.sandbox import SandboxServer

_KINDS = {CallStarted: "started", CallChanged: "changed", CallEnded: "ended"}


def digest(call: Mapping[str, Any]) -> str:
    """Return a short name for the state of a call."""
    return blake2b(json.dumps(call, sort_keys=True).encode(), digest_size=8).hexdigest()


def resident() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _serve(settings: dict[str, Any], pipe: Any) -> None:
    """Serve, and obey commands from the pipe."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        async with SandboxServer(**settings, seed=7) as sandbox:
            for organization in sandbox.organizations:
                sandbox.live(organization)  # creates the organization now, because creation takes time
            pipe.send((sandbox.url, sandbox.token, sandbox.organizations))
            while True:
                await asyncio.to_thread(pipe.poll, None)  # a loop with a stopped clock cannot sleep
                command, *arguments = pipe.recv()
                if command == "stop":
                    return
                if command == "freeze":
                    loop.time = partial(float, loop.time())
                elif command == "set":
                    setattr(sandbox, *arguments)
                elif command == "now":
                    pipe.send(sandbox.now)
                else:
                    pipe.send(_log(sandbox))

    asyncio.run(main())


def _log(sandbox: SandboxServer) -> dict[str, Any]:
    """Return the history and the live calls of each organization, as text."""
    found = {}
    for organization in sandbox.organizations:
        live = {call["transaction_id"]: digest(call) for call in sandbox.live(organization)}
        found[str(organization)] = [tuple(event) for event in sandbox.history(organization)], live
    return {"now": sandbox.now, "throttled": sandbox.stats.throttled, "organizations": found}


class Sandbox:
    """A sandbox in a process of its own, during a ``with`` block."""

    def __init__(self, **settings: Any) -> None:
        self._pipe, there = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(settings, there), daemon=True)
        self._process.start()
        self.url, self.token, self.organizations = self._pipe.recv()

    def set(self, name: str, value: Any) -> None:
        """Assign a live setting."""
        self._pipe.send(("set", name, value))

    def freeze(self) -> None:
        """Stop the simulated time: no call changes any more."""
        self._pipe.send(("freeze",))

    def now(self) -> float:
        """Return the simulated time, in seconds."""
        self._pipe.send(("now",))
        return self._pipe.recv()

    def log(self) -> dict[str, Any]:
        """Return the history and the live calls."""
        self._pipe.send(("log",))
        return self._pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pipe.send(("stop",))
        self._process.join(5)
        self._process.terminate()


class Journal:
    """The events of a watch, one line each, in a file: in memory they would count as the watch's own growth."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size if path.exists() else 0
        self._file = path.open("a", buffering=1)  # line by line, because this process may be killed

    def record(self, event: Any) -> None:
        """Append an event."""
        if isinstance(event, OrganizationFailed):
            line = ["failed", str(event.organization), type(event.error).__name__]
        elif isinstance(event, OrganizationRecovered | OrganizationResumed):
            line = ["recovered", str(event.organization), event.gap]
        else:
            line = [_KINDS[type(event)], str(event.organization), event.call.transaction_id, digest(event.call.raw)]
        self._write(line)

    def record_age(self, watch: Watch) -> None:
        """Append the age of the oldest response."""
        self._write(["oldest", watch.stats.max_staleness])

    def _write(self, line: list[Any]) -> None:
        self.size += self._file.write(json.dumps(line) + "\n")

    def flush(self) -> None:
        """Write buffered lines to the file."""
        self._file.flush()

    def lines(self) -> Iterator[list[Any]]:
        """Read all lines."""
        self.flush()
        with self.path.open() as lines:
            yield from map(json.loads, lines)


def compare(journal: Journal, log: Mapping[str, Any], *, began: float, step: float) -> dict[str, Any]:
    """Apply all recorded events in order and compare the result with the sandbox's log.

    Args:
        journal: The recorded events.
        log: The sandbox's log. Its time must have been stopped until all events were emitted.
        began: Start of the watch, in the sandbox's seconds.
        step: Seconds between two samples of the oldest response's age.

    Returns:
        Counters of events and of faults. Every fault counter must be 0.
    """
    emitted: Counter[str] = Counter()
    wrong: Counter[str] = Counter({"contradictions": 0})
    state: dict[str, dict[str, str]] = {name: {} for name in log["organizations"]}
    times: Counter[tuple[str, str, str]] = Counter()
    blind = 0.0  # longest time without a good poll of some organization, in seconds
    for kind, *rest in journal.lines():
        if kind != "oldest":
            emitted[kind] += 1
        if kind in ("oldest", "recovered"):
            blind = max(blind, rest[-1] + step)
        if kind not in _KINDS.values():
            continue
        organization, name, now = rest
        calls = state[organization]
        times[kind, organization, name] += 1
        wrong["contradictions"] += (name in calls) is (kind == "started") or (kind == "changed" and calls[name] == now)
        calls.pop(name, None) if kind == "ended" else calls.update({name: now})
    _compare(wrong, state, times, log, began, blind)
    return {
        "events": dict(emitted),
        "faults": dict(wrong),
        "longest blind": round(blind, 2),
        "throttled": log["throttled"],
    }


def _compare(
    wrong: Counter[str], state: Any, times: Any, log: Mapping[str, Any], watch_began: float, blind: float
) -> None:
    # The sandbox never reuses an id.
    wrong["emitted twice"] = sum(count > 1 for (kind, _, _), count in times.items() if kind != "changed")
    happened: Counter[tuple[str, str, str]] = Counter()
    for organization, (history, live) in log["organizations"].items():
        began = {name: max(at, watch_began) for at, kind, name in history if kind == "started"}
        ended = {name: at for at, kind, name in history if kind == "ended"}
        happened.update((kind, organization, name) for _, kind, name in history)
        wrong["different state at the end"] += state[organization] != live
        wrong["long calls missed"] += sum(
            not times["started", organization, name]
            for name, at in began.items()
            if ended.get(name, log["now"]) - at > blind
        )
        wrong["ends missed"] += sum(
            times["started", organization, name] > times["ended", organization, name] for name in ended
        )
    wrong["emitted, but not in the log"] = sum(count > happened[event] for event, count in times.items())
