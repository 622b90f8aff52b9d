"""The state of one organization, as a reader of the log follows it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, field

from .. import errors
from ..organization import Organization
from ..watch.call_state import CallState, CheckpointedCall, ListedCall
from ..watch.events import (
    CallChanged,
    CallEnded,
    CallEvent,
    CallStarted,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
)
from .errors import FleetError
from .message import LogMessage

Payloads = Mapping[str, bytes | None]
"""The payload of each new or changed call, by identity; None if it was trimmed."""


@define(eq=False)
class ViewedOrganization:
    """The last message of an organization, and its calls.

    Events are the differences between two states, so that any messages in between may be missing.
    """

    organization: Organization
    calls: dict[str, CallState] = field(factory=dict)
    """The calls in progress, by identity."""
    failed: bool = False
    """True during an outage."""
    at: float = 0.0
    """Unix time of the message."""
    _version: tuple[int, str, float] | None = None

    def unread(self, message: LogMessage, sequence: int) -> dict[str, int]:
        """Return the new and changed calls of a message, each with the sequence of the message with its payload."""
        return {
            name: known.at or sequence
            for name, known in message.calls.items()
            if name not in self.calls or self.calls[name].digest != known.digest
        }

    def apply(self, message: LogMessage, payloads: Payloads) -> Iterator[CallEvent]:
        """Take a message for the truth, and iterate over the events. The state is complete with the first event.

        Args:
            message: The message.
            payloads: The payload of each call in `unread`.
        """
        version = message.rev, message.by, message.at
        if version == self._version:
            return
        before, had_failed, is_first, last_at = self.calls, self.failed, self._version is None, self.at
        self.calls = {name: before[name] for name in message.calls if name not in payloads}
        for name, payload in payloads.items():
            self.calls[name] = _state_of(name, message.calls[name].digest, payload)
        self.failed, self.at, self._version = message.failed, message.at, version
        if message.failed and not had_failed:
            yield OrganizationFailed(self.organization, _error_of(message))
        if had_failed and not message.failed:
            gap = _gap(message, "organization_recovered")
            yield OrganizationRecovered(self.organization, message.at - last_at if gap is None else gap)
        if not is_first and (gap := _gap(message, "organization_resumed")) is not None:
            yield OrganizationResumed(self.organization, gap)
        for name in before.keys() - self.calls.keys():
            yield CallEnded(self.organization, before[name])
        for name in payloads:
            if (previous := before.get(name)) is None:
                yield CallStarted(self.organization, self.calls[name])
            else:
                yield CallChanged(self.organization, self.calls[name], previous)


def _state_of(name: str, digest: str, payload: bytes | None) -> CallState:
    return CheckpointedCall(name, digest) if payload is None else ListedCall(name, payload, digest)


def _gap(message: LogMessage, kind: str) -> float | None:
    """Return the gap in the event of a kind; None without such an event."""
    return next((event.gap for event in message.events if event.kind == kind), None)


def _error_of(message: LogMessage) -> Exception:
    """Return the error of a worker's polls, as far as the log tells it: its class."""
    name = next((event.error for event in message.events if event.error), "an error")
    kind = getattr(errors, name, FleetError)
    return kind(f"the polls of worker {message.by} fail with {name}: see its log for the reason")
