"""A kit to test programs against: scripted responses, a virtual clock, records.

A client of scripted responses::

    transport = ScriptedTransport(503, calls(make_call(transaction_id="ABCD-1")))
    client = CallsInProgressClient(token="any", transport=transport)
"""

from .playing import play
from .privacy import PrivacyCheck
from .recordings import replay
from .records import make_call
from .responses import ScriptedResponse, calls, hang, html, lost_after_write, refused, status, truncated
from .scripted_transport import ScriptedTransport, SentRequest, UnexpectedRequestError
from .virtual_clock import VirtualClock, VirtualLoop, run

__all__ = [
    "PrivacyCheck",
    "ScriptedResponse",
    "ScriptedTransport",
    "SentRequest",
    "UnexpectedRequestError",
    "VirtualClock",
    "VirtualLoop",
    "calls",
    "hang",
    "html",
    "lost_after_write",
    "make_call",
    "play",
    "refused",
    "replay",
    "run",
    "status",
    "truncated",
]
