"""The simulated organizations: how their calls start, change and end over simulated time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Literal

import attrs

from .. import clock, validation
from ..organization import Organization
from .fake_calls import CALL_BITS, CHANGES, new_call, transaction_id_of
from .history import HistoryEvent, HistoryEventKind
from .organizations import check_known
from .payloads import Fields, encode, found_body, found_call
from .settings import SandboxSettings

Action = Literal["start", "change", "end"]
"""A moment in the life of a call."""


@attrs.define(eq=False)
class SimulatedCall:
    """A live call. It keeps its JSON and the source of its fields only, so that 50,000 live calls stay cheap.

    Attributes:
        transaction_id: The primary key.
        make_fields: Makes the fields of the call's start.
        changed: Fields with a new value since the start, by the API's name.
        changes: Number of changes by the simulation so far.
        written: Custom data from clients, by name. No response shows it.
        encoded: The call's JSON in a find; None after a change.
    """

    transaction_id: str
    make_fields: Callable[[], Fields]
    changed: Fields = attrs.field(factory=dict)
    changes: int = 0
    written: dict[str, str] = attrs.field(factory=dict)
    encoded: bytes | None = None

    @property
    def fields(self) -> Fields:
        """The current fields, those of every revision."""
        return {**self.make_fields(), **self.changed}


class SimulatedOrganization:
    """The calls of one organization.

    Calls start as a Poisson process and their lengths are exponential, so the calls live at time 0 are drawn like those
    of any other moment. Every random property of a call is drawn at its start, in the order of the starts. Therefore
    neither earlier looks nor updates change the calls at a given time.
    """

    def __init__(self, organization: Organization, settings: SandboxSettings, epoch: datetime) -> None:
        self.history: deque[HistoryEvent] = deque(maxlen=settings.history_kept)
        self._organization = organization
        self._settings = settings
        self._epoch = epoch
        self._now = 0.0
        self._seed = f"{settings.seed}:{organization}"
        self._random = random.Random(self._seed)  # noqa: S311 - reproducible, not secret
        self._calls: dict[str, SimulatedCall] = {}
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._plan_numbers = itertools.count()
        self._plan_first_calls()

    @cached_property
    def _scripted_random(self) -> random.Random:
        # Scripted calls must not disturb the random numbers of simulated calls. Most organizations have none.
        return random.Random(f"{self._seed}:scripted")  # noqa: S311

    def advance(self, until: float) -> None:
        """Let simulated time pass, up to `until` seconds after time 0."""
        while self._planned and self._planned[0][0] <= until:
            self._now, _, happen = heapq.heappop(self._planned)
            happen()
        self._now = max(self._now, until)

    def calls(self) -> Iterator[SimulatedCall]:
        """Return the live calls, newest bridge start first."""
        return reversed(self._calls.values())

    def find_call(self, transaction_id: str) -> SimulatedCall | None:
        """Return a live call; `None` if there is no such call."""
        return self._calls.get(transaction_id)

    def call(self, transaction_id: str) -> SimulatedCall:
        """Return a live call.

        Raises:
            InvalidRequestError: No such call is in progress.
        """
        call = self._calls.get(transaction_id) if isinstance(transaction_id, str) else None
        if call is None:
            expected = f"of a call in progress in {self._organization}"
            raise validation.unexpected("transaction_id", expected, transaction_id)
        return call

    def body_of(self, calls: Iterable[SimulatedCall]) -> bytes:
        """Return the body of a find with these calls."""
        return found_body(self._settings.revision, map(self._encoded, calls))

    def start(self, fields: Fields, seconds: float | None) -> str:
        """Start a scripted call now, to end after `seconds` if given. Return its transaction id."""
        call = self._new_call(self._scripted_random, self._now)
        call.changed = _check_fields(fields)
        call.transaction_id = call.fields["transaction_id"]
        if call.transaction_id in self._calls:
            raise validation.invalid(
                "transaction_id", f"must be new, and call {call.transaction_id} is in progress already"
            )
        self._start(call)
        if seconds is not None:
            self._plan(self._now + seconds, partial(self._end, call))
        return call.transaction_id

    def change(self, transaction_id: str, fields: Fields) -> None:
        """Give a live call new values for some of its fields; equal values are no event."""
        call = self.call(transaction_id)
        self._change(call, call.fields, _check_fields(fields))

    def end(self, transaction_id: str) -> None:
        """End a live call now."""
        self._end(self.call(transaction_id))

    def plan(self, seconds: float, action: Action, transaction_id: str, fields: Fields) -> None:
        """Start, change or end a call some simulated seconds from now; a change without fields is of the sandbox's own.

        A call that is over by then stays over.
        """
        given, own = _check_fields(fields), CHANGES[self._settings.revision][0]

        def happen() -> None:
            call = self._calls.get(transaction_id)
            if action == "start" and call is None:
                self.start({**given, "transaction_id": transaction_id}, None)
            elif call is not None and action == "change" and given:
                self._change(call, call.fields, given)
            elif call is not None and action == "change":
                self._change_by_itself(call, own)
            elif call is not None and action == "end":
                self._end(call)

        self._plan(self._now + seconds, happen)

    def _plan(self, time: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._planned, (time, next(self._plan_numbers), happen))

    def _plan_first_calls(self) -> None:
        if not self._settings.calls_per_organization:
            return
        # The number of live calls is Poisson distributed: count the exponential steps that fit into the mean.
        room = self._random.expovariate(1)
        while room < self._settings.calls_per_organization:
            room += self._random.expovariate(1)
            # The age and the time left of an exponential length are independent.
            self._plan_call(-self._length(), self._length())
        self._plan_next_call()
        self.advance(0)

    def _length(self) -> float:
        return self._random.expovariate(1 / self._settings.mean_call_seconds)

    def _plan_next_call(self) -> None:
        rate = self._settings.calls_per_organization / self._settings.mean_call_seconds
        self._plan(self._now + self._random.expovariate(rate), self._next_call)

    def _next_call(self) -> None:
        self._plan_call(self._now, self._now + self._length())
        self._plan_next_call()

    def _plan_call(self, start: float, end: float) -> None:
        call = self._new_call(self._random, start)
        self._plan(start, partial(self._start, call))
        for time in self._change_times(start, end):
            change = self._random.choice(CHANGES[self._settings.revision])
            self._plan(time, partial(self._change_by_itself, call, change))
        self._plan(end, partial(self._end, call))

    def _change_times(self, start: float, end: float) -> Iterator[float]:
        rate = self._settings.changes_per_call / self._settings.mean_call_seconds
        time = start + self._random.expovariate(rate) if rate else end
        while time < end:
            yield time
            time += self._random.expovariate(rate)

    def _new_call(self, rng: random.Random, start: float) -> SimulatedCall:
        bits, bridged = rng.getrandbits(CALL_BITS), self._epoch + timedelta(seconds=start)
        return SimulatedCall(transaction_id_of(bits), partial(new_call, bits, self._organization, bridged))

    def _start(self, call: SimulatedCall) -> None:
        self._calls[call.transaction_id] = call
        self._record("started", call)

    def _change_by_itself(self, call: SimulatedCall, change: Callable[[Fields, int], Fields]) -> None:
        if self._calls.get(call.transaction_id) is call:
            call.changes += 1
            before = call.fields
            self._change(call, before, change(before, call.changes))

    def _change(self, call: SimulatedCall, before: Fields, fields: Fields) -> None:
        if {**before, **fields} != before:
            call.changed.update(fields)
            call.encoded = None
            self._record("changed", call)

    def _end(self, call: SimulatedCall) -> None:
        # A script may have ended the call before its time.
        if self._calls.get(call.transaction_id) is call:
            del self._calls[call.transaction_id]
            self._record("ended", call)

    def _record(self, kind: HistoryEventKind, call: SimulatedCall) -> None:
        self.history.append(HistoryEvent(self._now, kind, call.transaction_id))

    def _encoded(self, call: SimulatedCall) -> bytes:
        if call.encoded is None:
            call.encoded = encode(found_call(self._settings.revision, call.fields))
        return call.encoded


def _check_fields(fields: Fields) -> Fields:
    """Reject fields without a form in JSON, so that the mistake shows at the call and not in a response."""
    for name, value in fields.items():
        try:
            encode(value)
        except (TypeError, ValueError, RecursionError):
            raise validation.unexpected(name, "JSON", value) from None
    if not isinstance(fields.get("transaction_id", ""), str):
        raise validation.unexpected("transaction_id", "a str", fields["transaction_id"])
    return fields


class Simulation:
    """All organizations of a sandbox on one clock, each simulated from its first use on.

    Time 0 is the first use of the simulation, or `age` seconds before it. The clock is the running event loop's.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._start: tuple[float, datetime] | None = None
        self._organizations: dict[Organization, SimulatedOrganization | None] = dict.fromkeys(settings.organizations)

    def now(self) -> float:
        """Return the simulated seconds since time 0."""
        first_use, _ = self._begin()
        return self._settings.age + (clock.now() - first_use) * self._settings.speed

    def _begin(self) -> tuple[float, datetime]:
        """Return the loop's time at the first use, and the time of day at time 0."""
        if self._start is None:
            epoch = self._settings.epoch or clock.utc_now() - timedelta(seconds=self._settings.age)
            self._start = clock.now(), epoch
        return self._start

    def __contains__(self, organization: object) -> bool:
        return organization in self._organizations

    def __getitem__(self, organization: Organization) -> SimulatedOrganization:
        """Return an organization as it is now.

        Raises:
            InvalidRequestError: The sandbox has no such organization.
        """
        check_known(organization, self._organizations)
        simulated, now = self._organizations[organization], self.now()
        if simulated is None:
            _, epoch = self._begin()
            simulated = SimulatedOrganization(organization, self._settings, epoch)
            self._organizations[organization] = simulated
        simulated.advance(now)
        return simulated
