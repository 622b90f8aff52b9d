"""The organizations of a sandbox and how their calls start, change and end over simulated time."""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import cached_property, partial
from typing import Any

import attrs

from calls_in_progress_async.sandbox.fake_calls import CALL_BITS, CHANGES, new_call, transaction_id_of
from calls_in_progress_async.sandbox.history import Event, EventKind
from calls_in_progress_async.sandbox.payloads import Fields, encode, found_body, found_call
from calls_in_progress_async.sandbox.settings import OrganizationKey, SandboxSettings


@attrs.define(eq=False)
class Call:
    """A live call.

    Only its JSON is kept, and what its fields follow from: fifty thousand live calls are to be cheap.

    Attributes:
        transaction_id: Its primary key.
        describe: Returns the fields it started with.
        changed: Fields that have changed since, by the API's name.
        changes: How often the simulation has changed it.
        written: Custom data that clients wrote, by name. No answer shows it.
        encoded: Its JSON in a find, until it changes.
    """

    transaction_id: str
    describe: Callable[[], Fields]
    changed: Fields = attrs.field(factory=dict)
    changes: int = 0
    written: dict[str, str] = attrs.field(factory=dict)
    encoded: bytes | None = None

    @property
    def fields(self) -> Fields:
        """Every field that any revision shows."""
        return {**self.describe(), **self.changed}


class Organization:
    """One organization's calls.

    Calls start as a Poisson process and their lengths are exponential, so the calls live at time 0 can be drawn like
    those of any other moment. All that is random about a call is drawn when it starts, in the order of the starts: what
    an organization looks like at some time does not depend on when it was looked at before, nor on updates.
    """

    def __init__(self, key: OrganizationKey, settings: SandboxSettings) -> None:
        self.history: deque[Event] = deque(maxlen=settings.history_kept)
        self._key = key
        self._settings = settings
        self._now = 0.0
        self._random = random.Random(f"{settings.seed}:{key[1]}:{key[0]}")  # noqa: S311 - reproducible, not secret
        self._calls: dict[str, Call] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._event_numbers = itertools.count()
        self._schedule_first_calls()

    @cached_property
    def _scripted_random(self) -> random.Random:
        # Scripted calls must not disturb the random numbers of the simulated ones. Most organizations have none.
        return random.Random(f"{self._settings.seed}:{self._key[1]}:{self._key[0]}:scripted")  # noqa: S311

    def advance(self, until: float) -> None:
        """Lets simulated time pass, up to this many seconds after the start."""
        while self._events and self._events[0][0] <= until:
            self._now, _, happen = heapq.heappop(self._events)
            happen()
        self._now = max(self._now, until)

    def calls(self) -> Iterator[Call]:
        """Returns the live calls, newest bridge start first."""
        return reversed(self._calls.values())

    def call(self, transaction_id: str) -> Call | None:
        """Returns a live call, or `None` if there is none such."""
        return self._calls.get(transaction_id)

    def body_of(self, calls: Iterable[Call]) -> bytes:
        """Returns the answer to a find that found these calls."""
        return found_body(self._settings.revision, map(self._encoded, calls))

    def start(self, fields: Fields, seconds: float | None) -> str:
        """Starts a scripted call now, to end by itself after so many seconds, if any. Returns its transaction id."""
        call = self._new_call(self._scripted_random, self._now)
        call.changed = fields
        call.transaction_id = call.fields["transaction_id"]
        if call.transaction_id in self._calls:
            raise ValueError(f"transaction_id: call {call.transaction_id} is in progress already")
        self._start(call)
        if seconds is not None:
            self._schedule(self._now + seconds, partial(self._end, call))
        return call.transaction_id

    def change(self, transaction_id: str, fields: Fields) -> None:
        """Gives a live call new values for some of its fields; it is no event if it had them already."""
        call = self._calls[transaction_id]
        self._change(call, call.fields, fields)

    def end(self, transaction_id: str) -> None:
        """Ends a live call now."""
        self._end(self._calls[transaction_id])

    def _schedule(self, time: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._event_numbers), happen))

    def _schedule_first_calls(self) -> None:
        if not self._settings.calls_per_organization:
            return
        # The number of live calls is Poisson distributed: as many as fit so many exponential steps.
        room = self._random.expovariate(1)
        while room < self._settings.calls_per_organization:
            room += self._random.expovariate(1)
            # Neither the age nor the time left of an exponential length depends on the other.
            self._plan_call(-self._length(), self._length())
        self._schedule_next_call()
        self.advance(0)

    def _length(self) -> float:
        return self._random.expovariate(1 / self._settings.mean_call_seconds)

    def _schedule_next_call(self) -> None:
        rate = self._settings.calls_per_organization / self._settings.mean_call_seconds
        self._schedule(self._now + self._random.expovariate(rate), self._next_call)

    def _next_call(self) -> None:
        self._plan_call(self._now, self._now + self._length())
        self._schedule_next_call()

    def _plan_call(self, start: float, end: float) -> None:
        call = self._new_call(self._random, start)
        self._schedule(start, partial(self._start, call))
        for time in self._change_times(start, end):
            change = self._random.choice(CHANGES[self._settings.revision])
            self._schedule(time, partial(self._change_by_itself, call, change))
        self._schedule(end, partial(self._end, call))

    def _change_times(self, start: float, end: float) -> Iterator[float]:
        rate = self._settings.changes_per_call / self._settings.mean_call_seconds
        time = start + self._random.expovariate(rate) if rate else end
        while time < end:
            yield time
            time += self._random.expovariate(rate)

    def _new_call(self, rng: random.Random, start: float) -> Call:
        bits, bridged = rng.getrandbits(CALL_BITS), self._settings.epoch + timedelta(seconds=start)
        return Call(transaction_id_of(bits), partial(new_call, bits, self._key, bridged))

    def _start(self, call: Call) -> None:
        self._calls[call.transaction_id] = call
        self._note("started", call)

    def _change_by_itself(self, call: Call, change: Callable[[Fields, int], Fields]) -> None:
        if self._calls.get(call.transaction_id) is call:
            call.changes += 1
            before = call.fields
            self._change(call, before, change(before, call.changes))

    def _change(self, call: Call, before: Fields, fields: Fields) -> None:
        if {**before, **fields} != before:
            call.changed.update(fields)
            call.encoded = None
            self._note("changed", call)

    def _end(self, call: Call) -> None:
        # A script may have ended it before its time.
        if self._calls.get(call.transaction_id) is call:
            del self._calls[call.transaction_id]
            self._note("ended", call)

    def _note(self, kind: EventKind, call: Call) -> None:
        self.history.append(Event(self._now, kind, call.transaction_id))

    def _encoded(self, call: Call) -> bytes:
        if call.encoded is None:
            call.encoded = encode(found_call(self._settings.revision, call.fields))
        return call.encoded


class Simulation:
    """All the organizations of a sandbox, each made when it is first asked for, on one clock."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._started_at = settings.clock()
        self._organizations: dict[OrganizationKey, Organization | None] = dict.fromkeys(settings.organizations)

    def now(self) -> float:
        """Returns the simulated seconds since the sandbox was made."""
        return (self._settings.clock() - self._started_at) * self._settings.speed

    def __contains__(self, key: Any) -> bool:
        return key in self._organizations

    def __getitem__(self, key: OrganizationKey) -> Organization:
        """Returns an organization as it is now.

        Raises:
            KeyError: There is no such organization.
        """
        organization = self._organizations[key]
        if organization is None:
            organization = self._organizations[key] = Organization(key, self._settings)
        organization.advance(self.now())
        return organization
