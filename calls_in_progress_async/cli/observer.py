"""Poller some organizations at once and keeps count of what is seen: the eyes of the demo."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TypeAlias

from attrs import define, field

from ..attempt import Attempt
from ..client import CallsInProgressClient
from ..organization import Organization
from ..records import Call, CurrentCalls
from .call_table import Row
from .output import count

_EVENTS_KEPT = 3
_STARTED, _CHANGED = "green", "yellow"

CallKey: TypeAlias = tuple[Organization, str | None]
"""What tells calls apart: whose it is, and its transaction id."""


@define(eq=False)
class Observer:
    """The current picture of some organizations, and counts since the first one."""

    client: CallsInProgressClient
    organizations: Sequence[Organization]
    events: deque[str] = field(factory=lambda: deque(maxlen=_EVENTS_KEPT))
    """What happened last, in words."""
    started: int = 0
    ended: int = 0
    _polls: int = 0
    _seen: set[CallKey] = field(factory=set)
    _attempts: list[Attempt] = field(factory=list)
    _calls: dict[CallKey, Call] = field(factory=dict)
    _styles: dict[CallKey, str] = field(factory=dict)

    async def poll(self) -> None:
        """Ask every organization for its calls."""
        answers = await asyncio.gather(*map(self.client.find, self.organizations))
        calls: dict[CallKey, Call] = {}
        for organization, found in zip(self.organizations, answers, strict=True):
            self.count(found)
            calls |= {(organization, call.transaction_id): call for call in found}
        self._compare(calls)
        self._seen |= calls.keys()
        self._calls = calls
        self._polls += 1

    def count(self, answer: CurrentCalls) -> None:
        """Take note of the requests of an answer."""
        self._attempts += answer.attempts

    def _compare(self, calls: dict[CallKey, Call]) -> None:
        self._styles = {}
        if not self._polls:
            return
        for key in self._calls.keys() - calls.keys():
            self.ended += 1
            self.events.append(f"- call {key[1]} of {key[0]} ended")
        for key, call in calls.items():
            before = self._calls.get(key)
            if before is None:
                self.started += 1
                self.events.append(f"+ call {key[1]} of {key[0]} started")
                self._styles[key] = _STARTED
            elif before.raw_json != call.raw_json:
                self._styles[key] = _CHANGED

    def calls(self) -> Iterator[tuple[Organization, Call]]:
        """The calls in progress, by organization."""
        return ((organization, call) for (organization, _), call in self._calls.items())

    def rows(self) -> list[Row]:
        """The calls for a table; what the last poll found new stands out."""
        return [Row(key[0], call, self._styles.get(key, "")) for key, call in self._calls.items()]

    def summary(self) -> str:
        """All counts in a line."""
        taken = sorted(attempt.network for attempt in self._attempts)
        latency = f"{median(taken) * 1_000:.1f} ms" if taken else "unknown"
        return (
            f"{count(len(self._attempts), 'request')}, {count(len(self._seen), 'call')} seen, "
            f"{self.started} started, {self.ended} ended, median latency {latency}"
        )
