"""A watch as a small JSON value, to go on from after a restart.

A checkpoint holds the ids of the calls in the events taken so far, and a digest of the meaning of each call. It holds
no payload and no phone number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from .. import clock, validation
from ..organization import Organization
from .call_state import CallState
from .event_queue import EventQueue, QueuedCall
from .organization_state import OrganizationState, Snapshot

_VERSION = 1

Entry: TypeAlias = tuple[str, dict[str, Any]]
"""The name of an organization, and its snapshot as JSON."""


def epoch() -> float:
    """Return the Unix time at which the loop's clock read 0."""
    return clock.unix_time() - clock.now()


def write(organizations: Iterable[Entry | None]) -> dict[str, Any]:
    """Write a checkpoint of the result of `entries`."""
    return {"version": _VERSION, "organizations": dict(filter(None, organizations))}


def entries(
    states: Iterable[OrganizationState], queue: EventQueue, waiting: Mapping[Organization, Snapshot]
) -> Iterator[Entry | None]:
    """Iterate over the checkpoint's entry of each organization, as of now, however late an entry is read.

    None comes after each digest, to let other tasks run now and then.

    Args:
        states: The organizations under watch.
        queue: Pending events. A watch resumed from the checkpoint emits them again.
        waiting: Snapshots of an earlier checkpoint for organizations not under watch yet.
    """
    at, pending = epoch(), _pending_of(queue)
    known = [(each.organization, each.last_response_at + at, each.calls.calls) for each in states if each.is_known]
    kept = list(waiting.items())

    def write_entries() -> Iterator[Entry | None]:
        for organization, seen, calls in known:
            since, before = pending.get(organization, (math.inf, {}))
            digests: dict[str, str] = {}
            for name, call in {**calls, **before}.items():
                if call is not None:
                    digests[name] = call.digest
                    yield None
            yield str(organization), Snapshot(round(min(since + at, seen), 3), digests).to_json()
        for organization, snapshot in kept:
            yield str(organization), snapshot.to_json()

    return write_entries()


def _pending_of(queue: EventQueue) -> dict[Organization, tuple[float, dict[str, CallState | None]]]:
    """Return for each organization since when events are pending, and the states of its calls before them."""
    pending: dict[Organization, tuple[float, dict[str, CallState | None]]] = {}
    for entry in queue:
        since, calls = pending.get(entry.organization, (entry.since, {}))
        pending[entry.organization] = min(since, entry.since), calls
        if isinstance(entry, QueuedCall):
            calls.setdefault(entry.identity, entry.before)
    return pending


def read(checkpoint: Any) -> dict[Organization, Snapshot]:
    """Read a checkpoint.

    Raises:
        InvalidRequestError: The value is not a checkpoint, or has another version.
    """
    try:
        version = checkpoint["version"]
        if version == _VERSION:
            found = checkpoint["organizations"].items()
            return {Organization.parse(name): Snapshot.parse(value) for name, value in found}
    except (KeyError, TypeError, AttributeError, ValueError):
        raise validation.invalid("resume_from", "must be what checkpoint() returned") from None
    raise validation.invalid(
        "resume_from", f"has version {validation.describe(version)}, pass a checkpoint of version {_VERSION}"
    )
