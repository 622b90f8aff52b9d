"""A fleet: worker processes on several hosts that share organizations and rate, and write events to a durable log.

Needs ``pip install 'calls-in-progress-async[fleet]'`` and a NATS server (2.11 or later) with JetStream.
"""

from .errors import EventsLostError, FleetError
from .events import FleetEvent, FleetEvents
from .fleet import Fleet
from .status import FleetStatus, WorkerStatus
from .view import FleetView

__all__ = [
    "EventsLostError",
    "Fleet",
    "FleetError",
    "FleetEvent",
    "FleetEvents",
    "FleetStatus",
    "FleetView",
    "WorkerStatus",
]
