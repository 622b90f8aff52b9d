"""The settings of a rate limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from .. import validation
from .adaptive import Adaptation
from .learnt_state import read_state

_RATE = validation.number("requests per second", above=True)
_OPTIONAL_RATE = validation.number("requests per second", above=True, optional=True)


def default_burst(rate: float) -> float:
    """Return a tenth of a second's worth, with room for one request.

    This is 50 times the lateness of a timer, so the whole rate can be had. It adds at most a tenth to the first
    second after a rest, and a server counting by the second forgives a tenth sooner than a full second.
    """
    return max(1.0, rate / 10)


def _default_burst(limit: RateLimit) -> float:
    validation.check_number("rate", limit.rate, "requests per second", above=True)
    return default_burst(limit.rate)


@attrs.frozen(kw_only=True)
class RateLimit:
    """The number of requests to send. The limits are the client's own: Invoca tells its customers theirs.

    Raises:
        InvalidRequestError: A setting is out of its range; ``parameter`` names it.
    """

    rate: float = attrs.field(converter=validation.plain_number, validator=_RATE)
    """Requests per second, for each host and token."""
    burst: float = attrs.field(
        default=attrs.Factory(_default_burst, takes_self=True),
        converter=validation.plain_number,
        validator=validation.number("requests", minimum=1),
    )
    """Requests to send at once after a rest. By default a tenth of a second's worth, and at least 1."""
    per_organization_rate: float | None = attrs.field(
        default=None, converter=validation.plain_optional_number, validator=_OPTIONAL_RATE
    )
    """Requests per second for each organization, within ``rate``; None for no limit per organization."""
    per_organization_burst: float | None = attrs.field(
        default=None,
        converter=validation.plain_optional_number,
        validator=validation.number("requests", minimum=1, optional=True),
    )
    """Requests of one organization to send at once after a rest, with the same default as ``burst``."""
    max_wait: float | None = attrs.field(
        default=None, converter=validation.plain_optional_number, validator=validation.number("seconds", optional=True)
    )
    """Seconds a request may wait for the limits; None for any time. A longer wait raises `RateLimitWaitError`, at once
    if it can be foreseen, and otherwise as soon as it is certain or the seconds have passed."""
    max_buckets: int = attrs.field(default=10_000, converter=validation.plain_integer, validator=validation.count())
    """Organizations, and hosts and tokens, to remember with their buckets and learnt limits. Only a full bucket without
    waiters is forgotten; if more than this many are in use, more are kept."""
    catch_up: float = attrs.field(
        default=0.0, converter=validation.plain_number, validator=validation.number("seconds")
    )
    """Seconds of timer lateness to make good, at the price of up to ``rate * catch_up`` requests above ``burst``."""
    adaptation: Adaptation | None = attrs.field(
        default=None, validator=validation.instance(Adaptation, "an Adaptation or None", optional=True)
    )
    """The bounds and the pace of an adaptive rate; see ``RateLimit.adaptive``."""
    state: Mapping[str, Any] | None = attrs.field(default=None)
    """The result of ``export_state()`` in an earlier run, or None."""

    @state.validator
    def _check_state(self, _: Any, state: object) -> None:
        if state is not None:
            read_state(state)

    def __attrs_post_init__(self) -> None:
        if self.per_organization_burst is not None and self.per_organization_rate is None:
            raise validation.invalid("per_organization_burst", "needs per_organization_rate, pass both")

    @classmethod
    def adaptive(
        cls,
        *,
        initial: float = 10.0,
        floor: float = 0.5,
        ceiling: float = 1000.0,
        increase: float = 0.2,
        decrease: float = 0.9,
        burst: float = 1.0,
        catch_up: float = 0.002,
        **settings: Any,
    ) -> Self:
        """Make settings with a rate found by trying: up while it is used and no 429 comes, down on a 429.

        Args:
            initial: Requests per second to begin with.
            floor: Requests per second, the lowest rate after any cut.
            ceiling: Requests per second, the highest rate.
            increase: The share of the rate added in 18 s beyond the last known limit; then it doubles every 3 s.
            decrease: The share of the rate left by a 429, between 0 and 1.
            burst: Requests to send at once; 1 by default, because a 429 after a burst says nothing of the rate.
            catch_up: Seconds of timer lateness to make good; 2 ms by default, to have the whole rate with a burst
                of 1.
            **settings: The other fields of ``RateLimit``, for example ``state``.

        Raises:
            InvalidRequestError: A setting is out of its range; ``parameter`` names it.
        """
        adaptation = Adaptation(initial=initial, floor=floor, ceiling=ceiling, increase=increase, decrease=decrease)
        return cls(rate=adaptation.initial, burst=burst, catch_up=catch_up, adaptation=adaptation, **settings)
