"""A sandbox in a process of its own, and a journal of what a watch tells, to be held against the sandbox's own log."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from calls_in_progress_async import (
    CallChanged,
    CallEnded,
    CallStarted,
    Organization,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
    Watch,
)
from calls_in_progress_async.sandbox import SandboxServer

_KINDS = {CallStarted: "started", CallChanged: "changed", CallEnded: "ended"}


def digest(call: Mapping[str, Any]) -> str:
    """Name the state of a call."""
    return blake2b(json.dumps(call, sort_keys=True).encode(), digest_size=8).hexdigest()


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _Clock:
    """The monotonic clock, until it is stopped."""

    def __init__(self) -> None:
        self.stopped_at: float | None = None

    def __call__(self) -> float:
        return time.monotonic() if self.stopped_at is None else self.stopped_at


def _serve(settings: dict[str, Any], pipe: Any) -> None:
    """Serve, and do what the pipe says."""
    clock = _Clock()

    async def main() -> None:
        async with SandboxServer(**settings, seed=7, clock=clock) as sandbox:
            for key in sandbox.organizations:
                sandbox.live(key)  # an organization is made when it is first asked for, which takes its time
            pipe.send((sandbox.url, sandbox.token, sandbox.organizations))
            while True:
                while not pipe.poll():
                    await asyncio.sleep(0.02)
                command, *arguments = pipe.recv()
                if command == "stop":
                    return
                if command == "freeze":
                    clock.stopped_at = time.monotonic()
                elif command == "set":
                    setattr(sandbox, *arguments)
                elif command == "now":
                    pipe.send(sandbox.now)
                else:
                    pipe.send(_log(sandbox))

    asyncio.run(main())


def _log(sandbox: SandboxServer) -> dict[str, Any]:
    """What happened, and what is live: by organization, as text."""
    found = {}
    for number, kind in sandbox.organizations:
        live = {call["transaction_id"]: digest(call) for call in sandbox.live((number, kind))}
        found[f"{kind}:{number}"] = [tuple(event) for event in sandbox.history((number, kind))], live
    return {"now": sandbox.now, "refused": sandbox.stats.refused, "organizations": found}


class Sandbox:
    """A sandbox in a process of its own."""

    def __init__(self, **settings: Any) -> None:
        self._pipe, there = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(settings, there), daemon=True)
        self._process.start()
        self.url, self.token, keys = self._pipe.recv()
        self.organizations = [Organization(*key) for key in keys]

    def set(self, name: str, value: Any) -> None:
        """Assign a live setting."""
        self._pipe.send(("set", name, value))

    def freeze(self) -> None:
        """Stop the simulated time: nothing happens to any call any more."""
        self._pipe.send(("freeze",))

    def now(self) -> float:
        """Its seconds."""
        self._pipe.send(("now",))
        return self._pipe.recv()

    def log(self) -> dict[str, Any]:
        """What happened, and what is live."""
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
    """What a watch told, one line an event, in a file: kept in memory it would be taken for the watch's own growth."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size if path.exists() else 0
        self._file = path.open("a", buffering=1)  # every line at once, however this process ends

    def tell(self, event: Any) -> None:
        """Write an event down."""
        if isinstance(event, OrganizationFailed):
            line = ["failed", str(event.organization), type(event.error).__name__]
        elif isinstance(event, OrganizationRecovered | OrganizationResumed):
            line = ["recovered", str(event.organization), event.gap]
        else:
            line = [_KINDS[type(event)], str(event.organization), event.call.transaction_id, digest(event.call.raw)]
        self._write(line)

    def note(self, watch: Watch) -> None:
        """Write down how old the oldest answer is."""
        self._write(["oldest", watch.stats.max_staleness])

    def _write(self, line: list[Any]) -> None:
        self.size += self._file.write(json.dumps(line) + "\n")

    def flush(self) -> None:
        """Have it all in the file."""
        self._file.flush()

    def lines(self) -> Iterator[list[Any]]:
        """What was written."""
        self.flush()
        with self.path.open() as lines:
            yield from map(json.loads, lines)


def hold_against(journal: Journal, log: Mapping[str, Any], *, began: float, step: float) -> dict[str, Any]:
    """Apply everything that was told, in order, and hold it against what happened.

    Args:
        journal: What was told.
        log: What the sandbox says has happened. Its time must have stood still long enough for everything to be told.
        began: When the watch began, by the sandbox's clock.
        step: Seconds between two notes of how old the oldest answer was.

    Returns:
        PollCounters of what was told, and of what is wrong: each of these is to be 0.
    """
    told: Counter[str] = Counter()
    wrong: Counter[str] = Counter({"contradictions": 0})
    state: dict[str, dict[str, str]] = {name: {} for name in log["organizations"]}
    times: Counter[tuple[str, str, str]] = Counter()
    blind = 0.0  # seconds for which some organization was not looked at, at most
    for kind, *rest in journal.lines():
        if kind != "oldest":
            told[kind] += 1
        if kind in ("oldest", "recovered"):
            blind = max(blind, rest[-1] + step)
        if kind not in _KINDS.values():
            continue
        organization, name, what = rest
        calls = state[organization]
        times[kind, organization, name] += 1
        wrong["contradictions"] += (name in calls) is (kind == "started") or (kind == "changed" and calls[name] == what)
        calls.pop(name, None) if kind == "ended" else calls.update({name: what})
    _compare(wrong, state, times, log, began, blind)
    return {"told": dict(told), "faults": dict(wrong), "longest blind": round(blind, 2), "refused": log["refused"]}


def _compare(
    wrong: Counter[str], state: Any, times: Any, log: Mapping[str, Any], watch_began: float, blind: float
) -> None:
    # The sandbox never gives an id twice.
    wrong["told twice"] = sum(count > 1 for (kind, _, _), count in times.items() if kind != "changed")
    happened: Counter[tuple[str, str, str]] = Counter()
    for organization, (history, live) in log["organizations"].items():
        began = {name: max(at, watch_began) for at, kind, name in history if kind == "started"}
        ended = {name: at for at, kind, name in history if kind == "ended"}
        happened.update((kind, organization, name) for _, kind, name in history)
        wrong["other state at the end"] += state[organization] != live
        wrong["long calls not told"] += sum(
            not times["started", organization, name]
            for name, at in began.items()
            if ended.get(name, log["now"]) - at > blind
        )
        wrong["ends not told"] += sum(
            times["started", organization, name] > times["ended", organization, name] for name in ended
        )
    wrong["told, but not in the log"] = sum(count > happened[event] for event, count in times.items())
