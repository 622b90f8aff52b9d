"""One request on its way, with what has come of it so far."""

from __future__ import annotations

from attrs import define, field

from ..attempt import Attempt
from ..errors import CallsInProgressError
from ..organization import Organization
from .redaction import redact
from .retry import Outcome
from .wire import WireRequest
from .write_order import WriteTicket


@define(eq=False)
class Operation:
    """One request on its way, with what has come of it so far."""

    request: WireRequest
    organization: Organization
    began: float
    """When it, or its present attempt, began, by the clock of the delivery."""
    ends: float | None
    """The deadline, by the clock of the delivery."""
    refreshable: bool
    """Whether another token may be asked for: once."""
    attempts: list[Attempt] = field(factory=list)
    applied: bool = False
    """Whether any attempt may have been carried out."""
    token: str = field(default="", repr=False)
    """What the last attempt was sent with."""
    refused: Outcome | None = None
    """The 401 after which another token is to be asked for."""
    renewed: str | None = field(default=None, repr=False)
    """What was answered to that."""
    stopped: str = ""
    """Why it is not tried again, where that is worth telling."""
    turn: WriteTicket | None = None

    @property
    def superseded(self) -> bool:
        """Whether it may have been carried out, and a newer write of the same waits, which a repetition could undo."""
        return self.applied and self.turn is not None and self.turn.superseded

    def annotate(self, error: CallsInProgressError) -> CallsInProgressError:
        """Tell an error what happened before it."""
        error.__traceback__ = None  # its frames hold the token and the answer
        error.attempts = tuple(self.attempts)
        error.may_have_been_applied = self.applied
        count = len(self.attempts)
        remarks = [f"{count} attempts"] * (count > 1) + [self.stopped] * bool(self.stopped)
        said = f"{error.message} ({'; '.join(remarks)})" if remarks else error.message
        error.args = (redact(said, self.token),)
        for name, value in vars(error).items():
            vars(error)[name] = redact(value, self.token, digits=name not in ("request_id", "error_handle"))
        return error
