"""The errors of a fleet."""

from __future__ import annotations

from ..errors import CallsInProgressError


class FleetError(CallsInProgressError):
    """The fleet cannot run with this server, stream or setting. The message says what to do."""


class EventsLostError(FleetError):
    """A group of consumers slept for longer than the log keeps messages: some were trimmed before their delivery.

    Attributes:
        first: Sequence of the first message possibly lost.
        last: Sequence of the last message lost.
    """

    first: int = 0
    last: int = 0


class SupersededCommitError(Exception):
    """Another worker has written about the organization, or may have: read the last message before the next poll."""


class LogUnavailableError(Exception):
    """The log does not respond, or responds with an error that may pass."""
