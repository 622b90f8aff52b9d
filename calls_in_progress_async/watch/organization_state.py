"""One organization under watch: listings go in, deltas come out. Pure.

Times given to a state are the loop's (`clock.now`). A dumped state holds Unix time, so that another process can load
it; ``epoch`` is the Unix time at which the loop's clock read 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from attrs import define, field

from ..errors import DeadlineExceededError, RateLimitedError, RateLimitWaitError
from ..organization import Organization
from .call_set import CallSet, Delta
from .call_state import CheckpointedCall
from .listing import Listing

_RATE_LIMITS_TO_FAIL = 4
"""Number of rate-limit errors in a row to count as a failure of the organization."""


class Snapshot(NamedTuple):
    """The small form of a state: no payloads, no phone numbers."""

    seen: float
    """Unix time of the last good response."""
    digests: Mapping[str, str]
    """Digest of the meaning of each call, by identity."""

    @classmethod
    def parse(cls, value: Any) -> Snapshot:
        """Read what `to_json` returned.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: The value has another shape.
        """
        return cls(float(value["seen"]), {str(name): str(digest) for name, digest in value["calls"].items()})

    def to_json(self) -> dict[str, Any]:
        """Return the snapshot as a JSON value: ``{"seen": 1706788800.0, "calls": {"A-1": "3f..."}}``."""
        return {"seen": self.seen, "calls": dict(self.digests)}


@define(eq=False, repr=False)
class OrganizationState:
    """The knowledge about one organization: its calls, its last good response, its failures."""

    organization: Organization
    added_at: float
    """Loop time at which polling of the organization began."""
    calls: CallSet = field(factory=CallSet)
    last_response_at: float = field(init=False)
    """Loop time of the last good response; before the first, when polling began."""
    resumed: bool = field(default=False, init=False)
    """True if the state was loaded and no good response has come since."""
    responses: int = field(default=0, init=False)
    """Number of good responses since polling began, or since the state was loaded."""
    failures: int = field(default=0, init=False)
    """Number of failures since the last good response."""
    failed: bool = field(default=False, init=False)
    """True if the organization is in an outage."""
    period: float | None = field(default=None, init=False)
    """Seconds between the last two good responses, from the third on: the second comes early, to start the rhythm."""

    def __attrs_post_init__(self) -> None:
        self.last_response_at = self.added_at

    @property
    def is_known(self) -> bool:
        """True if a good response has come, or the state was loaded."""
        return self.responses > 0 or self.resumed

    def apply(self, listing: Listing, now: float) -> list[Delta]:
        """Take a good response, and return its deltas: ends, then changes, then starts."""
        if self.responses > 1:
            self.period = now - self.last_response_at
        self.responses += 1
        self.last_response_at, self.failures = now, 0
        self.failed = self.resumed = False
        return self.calls.apply(listing)

    def fail(self, error: Exception) -> bool:
        """Take a failure. Return True if it begins an outage.

        The first three rate-limit errors in a row are not failures: the limit is usually shared by all organizations,
        and then the whole schedule is late.
        """
        self.failures += 1
        if is_rate_limit(error) and self.failures < _RATE_LIMITS_TO_FAIL:
            return False
        began, self.failed = not self.failed, True
        return began

    def snapshot(self, epoch: float) -> Snapshot:
        """Return the small form of the state, in Unix time."""
        digests = {name: call.digest for name, call in self.calls.calls.items()}
        return Snapshot(round(self.last_response_at + epoch, 3), digests)

    def dump(self, epoch: float) -> dict[str, Any]:
        """Return the state as a small JSON value, in Unix time: which calls are known, and a digest of each."""
        return self.snapshot(epoch).to_json()

    def load(self, value: Any, epoch: float) -> None:
        """Go on from a value that `dump` returned, and forget everything else.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: The value has another shape.
        """
        self.resume(Snapshot.parse(value), epoch)

    def resume(self, snapshot: Snapshot, epoch: float) -> None:
        """Go on from a snapshot. Its calls have no payloads: put `ListedCall` into ``calls.calls`` if you have them."""
        calls = {identity: CheckpointedCall(identity, digest) for identity, digest in snapshot.digests.items()}
        self.calls = CallSet(self.calls.missed_polls_before_end, calls)
        self.last_response_at = min(self.last_response_at, snapshot.seen - epoch)
        self.resumed, self.responses, self.period = True, 0, None


def is_rate_limit(error: Exception) -> bool:
    """Return whether an error is due to a rate limit, the server's or the client's own: too many were in flight."""
    if isinstance(error, DeadlineExceededError) and error.attempts:
        last = error.attempts[-1]
        # The deadline passed in the client's own queues.
        return last.rate_limit_wait + last.pool_wait > last.network
    return isinstance(error, RateLimitedError | RateLimitWaitError)
