"""The settings of a rate limit, and the state that an adaptive one learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from ..errors import InvalidRequestError
from .adaptive import Adaptation
from .token_bucket import check_positive

STATE_VERSION = 1


def _positive(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    check_positive(attribute.name, value)


def _not_negative(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value != 0 or isinstance(value, bool):
        check_positive(attribute.name, value)


def _count(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if check_positive(attribute.name, value) and not isinstance(value, int):
        raise InvalidRequestError(f"{attribute.name} must be a whole number, not {value!r}", parameter=attribute.name)


def _adaptation(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, Adaptation):
        raise InvalidRequestError(f"{attribute.name} must be an Adaptation or None", parameter=attribute.name)


def _room_for_one(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if check_positive(attribute.name, value) < 1:
        raise InvalidRequestError(f"{attribute.name} must be at least 1 request", parameter=attribute.name)


def default_burst(rate: float) -> float:
    """Return a tenth of a second's worth, and room for one request.

    That is 50 times the lateness of a timer, so the whole rate can be had, and adds at most a tenth to the first
    second after a rest, which a server that counts by the second forgives sooner than a burst of a full second.
    """
    return max(1.0, rate / 10)


@attrs.frozen(kw_only=True)
class RateLimit:
    """How many requests may be sent. The limits are the client's own: Invoca tells its customers theirs.

    Raises:
        InvalidRequestError: A setting is out of its range; it names the setting.
    """

    rate: float = attrs.field(validator=_positive)
    """Requests per second, for each host and token."""
    burst: float = attrs.field(
        default=attrs.Factory(lambda self: default_burst(check_positive("rate", self.rate)), takes_self=True),
        validator=_room_for_one,
    )
    """Requests that may go at once after a rest. By default a tenth of a second's worth, and at least 1."""
    per_organization_rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    """Requests per second for each organization, within ``rate``; None for no limit of its own."""
    per_organization_burst: float | None = attrs.field(default=None, validator=attrs.validators.optional(_room_for_one))
    """As ``burst``, for each organization."""
    max_wait: float | None = attrs.field(default=None, validator=attrs.validators.optional(_not_negative))
    """Seconds that a request may wait for its turn; one that would wait longer is refused at once. None: any."""
    max_pause: float = attrs.field(default=60.0, validator=_positive)
    """Seconds that a 429 may pause requests for, whatever its Retry-After says."""
    max_buckets: int = attrs.field(default=10_000, validator=_count)
    """Organizations, and hosts and tokens, whose bucket is kept, and what was learnt of their limits. Only a full
    bucket that nobody waits for is forgotten; while more than this many are in use, more are kept."""
    catch_up: float = attrs.field(default=0.0, validator=_not_negative)
    """Seconds of timer lateness made good, at the price of up to ``rate * catch_up`` requests above ``burst``."""
    adaptation: Adaptation | None = attrs.field(default=None, validator=_adaptation)
    """How the rate adapts itself; see ``RateLimit.adaptive``."""
    state: Mapping[str, Any] | None = attrs.field(default=None)
    """What ``export_state`` of an earlier limiter returned."""

    @state.validator
    def _check_state(self, _: Any, state: object) -> None:
        if state is not None:
            read_state(state)

    def __attrs_post_init__(self) -> None:
        if self.per_organization_burst is not None and self.per_organization_rate is None:
            raise InvalidRequestError(
                "per_organization_burst needs per_organization_rate", parameter="per_organization_burst"
            )

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
        """Make settings whose rate is found by trying: up while it is used and nothing happens, down on a 429.

        Args:
            initial: Requests per second to begin with.
            floor: Requests per second that no cut goes below.
            ceiling: Requests per second that are never passed.
            increase: The share of the rate added in 18 s beyond the last known limit; after that it doubles every 3 s.
            decrease: What a 429 leaves of the rate, between 0 and 1.
            burst: As of ``RateLimit``; 1 by default, since a burst brings on a 429 that says nothing of the rate.
            catch_up: As of ``RateLimit``; 2 ms by default, to have the whole rate with so small a burst.
            **settings: The other fields of ``RateLimit``, such as ``state``.

        Raises:
            InvalidRequestError: A setting is out of its range; it names the setting.
        """
        adaptation = Adaptation(initial=initial, floor=floor, ceiling=ceiling, increase=increase, decrease=decrease)
        return cls(rate=initial, burst=burst, catch_up=catch_up, adaptation=adaptation, **settings)


def read_state(state: Any) -> dict[str, tuple[float, float | None]]:
    """Read what ``export_state`` wrote: the rate of each scope, and where its last 429 came."""
    try:
        if state["version"] != STATE_VERSION:
            raise InvalidRequestError(f"state must be of version {STATE_VERSION}", parameter="state")
        return {
            str(name): (
                check_positive("state", scope["rate"]),
                None if scope["limit"] is None else check_positive("state", scope["limit"]),
            )
            for name, scope in state["scopes"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidRequestError("state must be what export_state() returned", parameter="state") from error
