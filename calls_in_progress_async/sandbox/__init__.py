"""A local server that speaks the Calls In Progress API, with simulated organizations and calls.

It is written from the vendor's reference alone and shares no wire code with the client.

    async with SandboxServer(organizations=100, seed=7) as sandbox:
        print(sandbox.url, sandbox.token)
"""

from .faults import Fault, FaultKind
from .history import AppliedUpdate, HistoryEvent, HistoryEventKind, RecordedRequest, SandboxStats
from .revisions import Revision
from .server import SandboxServer
from .settings import SandboxSettings
from .simulation import Action

__all__ = [
    "Action",
    "AppliedUpdate",
    "Fault",
    "FaultKind",
    "HistoryEvent",
    "HistoryEventKind",
    "RecordedRequest",
    "Revision",
    "SandboxServer",
    "SandboxSettings",
    "SandboxStats",
]
