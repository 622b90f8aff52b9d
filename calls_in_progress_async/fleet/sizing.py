"""A plan for a fleet: staleness, workers, memory and log, from measured costs. Pure."""

from __future__ import annotations

import math

from attrs import field, frozen

from .. import validation
from .log_settings import MAX_ORGANIZATIONS_PER_SHARD

# Measured by benchmarks/fleet.py, cases steady and lively, with 10,000 organizations of 5 calls on two shared cores.
# The highest of several runs.
_CPU_A_POLL = 340e-6
"""Seconds of one core of a worker for a poll."""
_CPU_A_COMMIT = 520e-6
"""Seconds of one core of a worker for a message."""
_FULL = 0.6
"""Share of a core that a worker should use at most."""
_MEMORY_OF_WORKER = 50e6
"""Bytes of a worker without organizations."""
_MEMORY_OF_ORGANIZATION = 2e3
"""Bytes of an organization without calls."""
_MEMORY_OF_CALL = 3e3
"""Bytes of a call in progress."""
_EVENTS_OF_CALL = 3.0
"""Events of a call: its start, one change, its end."""
_BYTES_OF_MESSAGE = 1_900
"""Bytes of a message without a state."""
_BYTES_OF_CALL = 450
"""Bytes of a message for each call in progress."""
_CPU_A_MESSAGE = 100e-6
"""Seconds of one core of the server for a message."""


@frozen(kw_only=True)
class FleetPlan:
    """The demands of a fleet, and the resources to meet these."""

    organizations: int = field(converter=validation.plain_integer, validator=validation.count())
    """Number of organizations."""
    interval: float = field(
        default=5.0, converter=validation.plain_number, validator=validation.number("seconds", above=True)
    )
    """Seconds between two polls of an organization."""
    rate: float | None = field(
        default=None,
        converter=validation.plain_optional_number,
        validator=validation.number("requests per second", above=True, optional=True),
    )
    """Requests per second that the API allows for the fleet; None for no limit."""
    calls: float = field(default=5.0, converter=validation.plain_number, validator=validation.number("calls"))
    """Calls in progress of an organization, on average."""
    call_seconds: float = field(
        default=180.0, converter=validation.plain_number, validator=validation.number("seconds", above=True)
    )
    """Seconds of a call, on average."""
    max_age: float = field(
        default=7 * 86400.0, converter=validation.plain_number, validator=validation.number("seconds", above=True)
    )
    """Seconds until the log trims a message."""

    @property
    def polls_per_second(self) -> float:
        """Polls per second of the whole fleet."""
        wanted = self.organizations / self.interval
        return wanted if self.rate is None else min(wanted, self.rate)

    @property
    def effective_interval(self) -> float:
        """Seconds between two polls of an organization that the rate allows."""
        return self.organizations / self.polls_per_second

    @property
    def staleness(self) -> float:
        """Mean age of what is known in seconds."""
        return self.effective_interval / 2

    @property
    def workers(self) -> int:
        """Number of workers for the polls, and one more to survive the death of one."""
        busy = self.polls_per_second * _CPU_A_POLL + self.messages_per_second * _CPU_A_COMMIT
        return math.ceil(busy / _FULL) + 1

    @property
    def worker_memory(self) -> float:
        """Bytes of memory of each worker after one has died."""
        each = _MEMORY_OF_ORGANIZATION + _MEMORY_OF_CALL * self.calls
        return _MEMORY_OF_WORKER + each * self.organizations / (self.workers - 1)

    @property
    def shards(self) -> int:
        """Number of shards: at least eight a worker, and half full at most."""
        wanted = max(8 * self.workers, 2 * self.organizations / MAX_ORGANIZATIONS_PER_SHARD)
        return max(64, 1 << math.ceil(math.log2(wanted)))

    @property
    def messages_per_second(self) -> float:
        """Messages per second: one for each poll that finds an event."""
        events_a_poll = _EVENTS_OF_CALL * self.calls / self.call_seconds * self.effective_interval
        return self.polls_per_second * (1 - math.exp(-events_a_poll))

    @property
    def log_size(self) -> float:
        """Bytes of each copy of the log."""
        return self.messages_per_second * (_BYTES_OF_MESSAGE + _BYTES_OF_CALL * self.calls) * self.max_age

    @property
    def server_share(self) -> float:
        """Share of a core that the NATS server uses."""
        return self.messages_per_second * _CPU_A_MESSAGE
