"""Everything that can be set on a sandbox."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, get_args

import attrs
from attrs.setters import frozen, validate
from attrs.validators import ge, gt, in_, matches_re, optional

from calls_in_progress_async.sandbox.arguments import Spelling
from calls_in_progress_async.sandbox.faults import Fault
from calls_in_progress_async.sandbox.payloads import Revision
from calls_in_progress_async.sandbox.rate_limit import TokenBuckets

OrganizationKey = tuple[int, str]
ORGANIZATION_TYPES = ("network", "advertiser")


def _organizations(given: int | Iterable[OrganizationKey]) -> list[OrganizationKey]:
    if isinstance(given, int):
        return [(number, "network" if number == 1 else "advertiser") for number in range(1, given + 1)]
    return [(number, kind) for number, kind in given]


def _check_organizations(_: Any, __: Any, organizations: Sequence[OrganizationKey]) -> None:
    if not organizations:
        raise ValueError("organizations: at least one is needed")
    if len(set(organizations)) < len(organizations):
        raise ValueError("organizations: the same id and type are given twice")
    for number, kind in organizations:
        if number < 1 or kind not in ORGANIZATION_TYPES:
            raise ValueError(
                f"organizations: ({number!r}, {kind!r}) is not a positive id and one of {ORGANIZATION_TYPES}"
            )


def _settle_buckets(settings: "SandboxSettings", _: Any, value: Any) -> Any:
    if settings.rate_limit is not None:
        settings.buckets.settle(settings.rate_limit)
    return value


def _default_buckets(settings: "SandboxSettings") -> TokenBuckets:
    return TokenBuckets(settings.clock)


@attrs.define(kw_only=True, eq=False)
class SandboxSettings:
    """The settings of a sandbox. Those marked (live) may be assigned while it runs.

    Attributes:
        organizations: A count, for ids 1 to N, the first a network and the rest advertisers; or (id, type) pairs.
            10 if left out. Read it back as a list of pairs.
        seed: Everything random follows from it. The same seed and clock readings give the same calls.
        calls_per_organization: Mean number of live calls in each organization; 0 for a world with scripted calls only.
        mean_call_seconds: Mean length of a call, in simulated seconds.
        changes_per_call: Mean number of visible changes in a call of mean length.
        clock: Returns seconds. Time 0 of the simulation is its reading when the sandbox is made.
        speed: Simulated seconds for each second of the clock.
        epoch: The time of day, with a zone, that simulated time 0 stands for in the calls' timestamps.
        history_kept: Events kept for each organization, the newest.
        revision: Which revision of the vendor's page the answers follow.
        version: The API version in the path.
        organization_type_spelling: Which spelling of `organization_type` is taken: the seed's (`"lower"`), the one of
            2022-09-28 and later (`"capitalized"`), or both.
        token: The token that is good for every organization.
        tokens: Tokens by (id, type), each good for that organization only.
        accept_only: (live) Response updates with an empty 202 instead of the call.
        rate_limit: (live) Requests per second for each token; no limit if `None`.
        rate_burst: (live) Requests that may come at once after a quiet time; one second's worth (at least 1) if `None`.
        retry_after_format: (live) How a 429 says when to come back.
        latency: (live) Seconds between the arrival of a request, when its answer is decided, and the sending of that.
        latency_jitter: (live) Up to this many seconds more, evenly distributed.
        sleep: Waits out a latency, given in seconds.
        faults: (live) Faults that strike by probability; the first that does is the one.
        host: The address to listen at.
        port: The port to listen at; any free one if 0.
    """

    organizations: list[OrganizationKey] = attrs.field(
        factory=partial(_organizations, 10), converter=_organizations, validator=_check_organizations, on_setattr=frozen
    )
    seed: int = attrs.field(default=0, on_setattr=frozen)
    calls_per_organization: float = attrs.field(default=5.0, validator=ge(0), on_setattr=frozen)
    mean_call_seconds: float = attrs.field(default=180.0, validator=gt(0), on_setattr=frozen)
    changes_per_call: float = attrs.field(default=1.0, validator=ge(0), on_setattr=frozen)
    clock: Callable[[], float] = attrs.field(default=time.monotonic, on_setattr=frozen)
    speed: float = attrs.field(default=1.0, validator=gt(0), on_setattr=frozen)
    epoch: datetime = attrs.field(default=datetime(2024, 2, 1, 17, tzinfo=UTC), on_setattr=frozen)
    history_kept: int = attrs.field(default=10_000, validator=ge(0), on_setattr=frozen)
    revision: Revision = attrs.field(default="2024-02", validator=in_(get_args(Revision)), on_setattr=frozen)
    version: str = attrs.field(default="2022-08-01", validator=matches_re(r"[\w.-]+"), on_setattr=frozen)
    organization_type_spelling: Spelling = attrs.field(
        default="any", validator=in_(get_args(Spelling)), on_setattr=frozen
    )
    token: str = attrs.field(default="sandbox-token", repr=False, on_setattr=frozen)
    tokens: Mapping[OrganizationKey, str] = attrs.field(factory=dict, repr=False, on_setattr=frozen)
    accept_only: bool = False
    rate_limit: float | None = attrs.field(
        default=None, validator=optional(gt(0)), on_setattr=[validate, _settle_buckets]
    )
    rate_burst: float | None = attrs.field(
        default=None, validator=optional(ge(1)), on_setattr=[validate, _settle_buckets]
    )
    retry_after_format: Literal["seconds", "http-date"] = attrs.field(
        default="seconds", validator=in_(("seconds", "http-date"))
    )
    latency: float = attrs.field(default=0.0, validator=ge(0))
    latency_jitter: float = attrs.field(default=0.0, validator=ge(0))
    sleep: Callable[[float], Awaitable[object]] = attrs.field(default=asyncio.sleep, repr=False, on_setattr=frozen)
    faults: Sequence[Fault] = ()
    host: str = attrs.field(default="127.0.0.1", on_setattr=frozen)
    port: int = attrs.field(default=0, on_setattr=frozen)

    # It is here for the hook above: a change of the rate must first credit what was earned at the old one.
    buckets: TokenBuckets = attrs.field(
        default=attrs.Factory(_default_buckets, takes_self=True), init=False, repr=False
    )
