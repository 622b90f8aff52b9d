"""A local server that speaks the Calls In Progress API, with simulated organizations and calls.

It is written from the vendor's reference alone and shares no code with the client.

    async with SandboxServer(organizations=100, seed=7) as sandbox:
        print(sandbox.url, sandbox.token)
"""

from calls_in_progress_async.sandbox.faults import Fault, FaultKind
from calls_in_progress_async.sandbox.history import Event, EventKind, RequestSeen, Stats, UpdateApplied
from calls_in_progress_async.sandbox.payloads import Revision
from calls_in_progress_async.sandbox.server import SandboxServer
from calls_in_progress_async.sandbox.settings import OrganizationKey, SandboxSettings

__all__ = [
    "Event",
    "EventKind",
    "Fault",
    "FaultKind",
    "OrganizationKey",
    "RequestSeen",
    "Revision",
    "SandboxServer",
    "SandboxSettings",
    "Stats",
    "UpdateApplied",
]
