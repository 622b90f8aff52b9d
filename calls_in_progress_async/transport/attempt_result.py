"""The result of one attempt, and the times at which the attempt passed its stages."""

from __future__ import annotations

from typing import NamedTuple

from attrs import define

from ..attempt import Attempt
from ..errors import CallsInProgressError, ConnectionFailedError
from .wire import WireResponse

# Surely not carried out: RFC 9110 (408), RFC 8470 (425), RFC 6585 (429).
_NOT_CARRIED_OUT = frozenset({408, 425, 429})


@define(eq=False, repr=False)
class AttemptTimeline:
    """The times, by the loop's clock, at which an attempt passed its stages; None for a stage not reached."""

    began: float
    ready: float | None
    """Earlier writes of the same thing were over, and there was a token."""
    admitted: float | None = None
    """The rate limit let the attempt pass."""
    started: float | None = None
    """The attempt had a connection slot, and was given to the transport."""
    ended: float | None = None


class AttemptResult(NamedTuple):
    """The response, of any status, or the error of one attempt."""

    timeline: AttemptTimeline
    response: WireResponse | None
    error: CallsInProgressError | None
    may_have_been_sent: bool
    """True if any byte of the request may have left."""

    @property
    def status(self) -> int | None:
        """The status of the response, if there is one."""
        return None if self.response is None else self.response.status

    @property
    def succeeded(self) -> bool:
        """True for a response with a status below 400."""
        return self.response is not None and self.response.status < 400

    @property
    def may_have_been_applied(self) -> bool:
        """True if the server may have carried the request out."""
        if self.response is None:
            return self.may_have_been_sent and not isinstance(self.error, ConnectionFailedError)
        if self.response.status in _NOT_CARRIED_OUT or self.response.throttled:
            return False
        return not 400 <= self.response.status < 500

    def attempt(self) -> Attempt:
        """Return the attempt as results and errors show it. A stage not reached lasted until the end."""
        timeline = self.timeline
        ended = timeline.began if timeline.ended is None else timeline.ended
        ready = ended if timeline.ready is None else timeline.ready
        admitted = ended if timeline.admitted is None else timeline.admitted
        started = ended if timeline.started is None else timeline.started
        return Attempt(
            self.status,
            None if self.error is None else type(self.error).__name__,
            admitted - ready,
            started - admitted,
            ended - started,
            0.0,
            ready - timeline.began,
        )
