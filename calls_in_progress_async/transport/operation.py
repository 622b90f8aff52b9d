"""One call of the client on its way: the request, its attempts, and knowledge gained from them."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from ..attempt import Attempt
from ..errors import CallsInProgressError, SupersededError
from ..instrumentation import OperationInfo
from ..organization import Organization
from .attempt_result import AttemptResult
from .redaction import redact
from .wire import WireRequest
from .write_order import WriteTicket


@define(eq=False, repr=False)
class Operation:
    """One call of the client on its way."""

    request: WireRequest
    organization: Organization
    now: Callable[[], float]
    """Returns the loop's time."""
    began: float
    """The loop's time at which the operation, or its current attempt, began."""
    deadline: float | None
    """The loop's time at which the operation must be over; None for no deadline."""
    attempts: list[Attempt] = field(factory=list)
    may_have_been_applied: bool = False
    """True from the first attempt on that may have been carried out."""
    token: str = ""
    """The token of the last attempt."""
    token_refreshed: bool = False
    """True once the token callable was asked again after a 401. It is asked again only once."""
    stop_reason: str = ""
    """The reason for giving up, if the last attempt does not say it."""
    ticket: WriteTicket | None = None
    """The place in the order of writes."""
    has_attempt_timeout: bool = False
    """True if the current attempt ends at its own timeout, before the deadline."""
    on_setback: Callable[[AttemptResult], None] | None = None
    """Called with the result of each attempt that another is to follow."""
    info: OperationInfo | None = None
    """The view of the operation for instrumentation; None if there is none."""

    @property
    def superseded(self) -> bool:
        """True if nobody wants the response any more, or a repetition would only write values to be overwritten."""
        if (wanted := self.request.wanted) is not None:
            return not wanted()
        return self.may_have_been_applied and self.ticket is not None and self.ticket.superseded

    def raise_if_superseded(self) -> None:
        """Raise SupersededError if sending is of no use any more."""
        if self.superseded:
            if self.request.wanted is not None:
                raise SupersededError("Nobody waits for the response any more.")
            raise SupersededError("A newer update of the same call is waiting; this one may have been applied.")

    def is_late(self) -> bool:
        """Return True if the deadline has passed."""
        return self.deadline is not None and self.now() > self.deadline

    def add_backoff(self, seconds: float) -> None:
        """Note the wait after the last attempt."""
        last = self.attempts[-1]
        self.attempts[-1] = last._replace(backoff=last.backoff + seconds)

    def annotate(self, error: CallsInProgressError) -> None:
        """Add the attempts to an error, and redact it."""
        error.__traceback__ = None  # its frames hold the token and the response
        error.attempts = tuple(self.attempts)
        error.may_have_been_applied = self.may_have_been_applied
        count = len(self.attempts)
        remarks = [f"{count} attempts"] * (count > 1) + [self.stop_reason] * bool(self.stop_reason)
        message = f"{error.message} ({'; '.join(remarks)})" if remarks else error.message
        error.args = (redact(message, self.token),)
        for name, value in vars(error).items():
            if name not in ("attempts", "may_have_been_applied"):
                vars(error)[name] = redact(value, self.token, digits=name not in ("request_id", "error_handle"))
