"""A watch as a small JSON value, to go on from after a restart.

It says which calls the events taken so far have told of: their ids, and for each a digest of its state. There is no
payload in it, and no phone number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from .. import validation
from ..organization import Organization
from .call_state import CallState, CheckpointedCall
from .event_queue import EventQueue, PendingCall
from .organization_state import OrganizationState

_VERSION = 1

Entry: TypeAlias = tuple[str, dict[str, Any]]
"""The name of an organization, and when it was seen last with which calls."""


class Remainder(NamedTuple):
    """What is left of an organization in a checkpoint."""

    seen: float
    """When the last good answer came: seconds of Unix time."""
    digests: Mapping[str, Any]
    """Of each call, by its identity."""

    def calls(self) -> dict[str, CallState]:
        """The calls as they are known. Made when asked for: a checkpoint may be of thousands of organizations."""
        return {
            str(identity): CheckpointedCall(str(identity), str(digest)) for identity, digest in self.digests.items()
        }


def write(organizations: Iterable[Entry]) -> dict[str, Any]:
    """Write a checkpoint of what `entries` gave."""
    return {"version": _VERSION, "organizations": dict(organizations)}


def entries(
    watched: Iterable[OrganizationState],
    pending: EventQueue,
    offset: float,
    remainders: Mapping[Organization, Remainder],
) -> Iterator[Entry]:
    """Say of each organization what a checkpoint has of it, as it is now, however late the entry is taken.

    Args:
        watched: The organizations under watch.
        pending: Events that nobody has taken, and that are therefore still to come after a restart.
        offset: What to add to the watch's time to have Unix time.
        remainders: What an earlier checkpoint says of organizations that are not under watch yet.
    """
    undone = _undo(pending)
    known: list[tuple[Organization, float, Mapping[str, CallState]]] = [
        (each.organization, each.seen + offset, each.picture.calls) for each in watched if each.answered or each.resumed
    ]
    known += [(organization, left.seen, left.calls()) for organization, left in remainders.items()]

    def told() -> Iterator[Entry]:
        for organization, seen, calls in known:
            since, untold = undone.get(organization, (math.inf, {}))
            yield str(organization), _entry(min(since + offset, seen), {**calls, **untold})

    return told()


def _entry(seen: float, calls: Mapping[str, CallState | None]) -> dict[str, Any]:
    digests = {identity: call.digest for identity, call in calls.items() if call is not None}
    return {"seen": round(seen, 3), "calls": digests}


def _undo(pending: EventQueue) -> dict[Organization, tuple[float, dict[str, CallState | None]]]:
    """Say for each organization since when events are pending, and what its calls were before them."""
    undone: dict[Organization, tuple[float, dict[str, CallState | None]]] = {}
    for event in pending:
        since, calls = undone.get(event.organization, (event.since, {}))
        undone[event.organization] = min(since, event.since), calls
        if isinstance(event, PendingCall):
            calls.setdefault(event.identity, event.before)
    return undone


def read(checkpoint: Any) -> dict[Organization, Remainder]:
    """Read a checkpoint.

    Raises:
        InvalidRequestError: It is not one, or not of this version.
    """
    try:
        version = checkpoint["version"]
        if version == _VERSION:
            return {Organization.parse(name): _remainder(entry) for name, entry in checkpoint["organizations"].items()}
    except (KeyError, TypeError, AttributeError, ValueError):
        raise validation.invalid("resume_from", "is not what checkpoint() returned") from None
    raise validation.invalid(
        "resume_from", f"is of version {validation.describe(version)}, this package reads {_VERSION}"
    )


def _remainder(entry: Any) -> Remainder:
    return Remainder(float(entry["seen"]), {**entry["calls"]})
