"""Every setting of a sandbox."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal, get_args

import attrs
from attrs.setters import frozen, validate
from attrs.validators import and_, matches_re

from .. import validation
from ..organization import Organization
from .arguments import Spelling
from .faults import Fault
from .organizations import check_known, to_organization
from .rate_limit import TokenBuckets
from .revisions import Revision

RetryAfterFormat = Literal["seconds", "http-date"]


def _organizations(given: Any) -> list[Organization]:
    """Return the organizations 1 to `given`, or the given organizations as a list."""
    if validation.is_integer(given):
        return [Organization(number, "network" if number == 1 else "advertiser") for number in range(1, int(given) + 1)]
    if isinstance(given, str | bytes | bool) or not isinstance(given, Iterable):
        raise validation.unexpected("organizations", "a count, or an iterable of Organization", given)
    return [to_organization(each) for each in given]


def _tokens(given: Mapping[Any, str]) -> dict[Organization, str]:
    return {to_organization(organization): token for organization, token in given.items()}


def _check_organizations(_: Any, __: Any, organizations: Sequence[Organization]) -> None:
    if not organizations:
        raise validation.invalid("organizations", "must be at least one, got none")
    if len(set(organizations)) < len(organizations):
        raise validation.invalid("organizations", "must differ, got the same id and type twice")


def _check_epoch(_: Any, __: Any, epoch: Any) -> None:
    if epoch is not None and (not isinstance(epoch, datetime) or epoch.tzinfo is None):
        raise validation.unexpected("epoch", "an aware datetime or None", epoch)


def check_faults(settings: "SandboxSettings", _: Any, faults: Any) -> None:
    """Raise an `InvalidRequestError` for anything but faults, and for a fault that could strike no request."""
    if not isinstance(faults, Sequence) or not all(isinstance(fault, Fault) for fault in faults):
        raise validation.unexpected("faults", "a list of Fault", faults)
    for fault in faults:
        check_known(fault.organization, settings.organizations)


def _check_tokens(settings: "SandboxSettings", _: Any, tokens: Mapping[Organization, str]) -> None:
    for organization in tokens:
        check_known(organization, settings.organizations)


def _credit_old_rate(settings: "SandboxSettings", _: Any, value: Any) -> Any:
    """Credit the buckets at the old rate before the rate changes."""
    if settings.rate_limit is not None:
        settings.buckets.accrue(settings.rate_limit)
    return value


_text = validation.instance(str, "a str")


@attrs.define(kw_only=True, eq=False)
class SandboxSettings:
    """The settings of a sandbox. Settings marked (live) may be assigned while it runs.

    Attributes:
        organizations: A count N, for network 1 and the advertisers 2 to N; or organizations. Reads back as a list.
        seed: The source of all randomness. The same seed, epoch and clock readings give the same calls.
        calls_per_organization: Mean number of live calls in each organization; 0 for scripted calls only.
        mean_call_seconds: Mean length of a call, in simulated seconds.
        changes_per_call: Mean number of visible changes in a call of mean length.
        speed: Simulated seconds for each second of the event loop's clock.
        epoch: The time of day, with a zone, of simulated time 0; by default, the first use is at the present.
        age: Simulated seconds that have passed at the first use, so that there is a history at once.
        history_kept: Events kept for each organization, the newest.
        revision: The revision of the vendor's page to follow.
        version: The API version in the path.
        organization_type_spelling: The accepted spelling of `organization_type`: the original page's (`"lower"`), the
            spelling of 2022-09-28 and later (`"capitalized"`), or both (`"any"`).
        token: The token for every organization.
        tokens: Further tokens by organization, each good for that organization only.
        accept_only: (live) Respond to updates with an empty 202 instead of the call.
        rate_limit: (live) Requests per second for each token; `None` for no limit.
        rate_burst: (live) Requests at once after a quiet time; `None` for one second's worth, at least 1.
        retry_after_format: (live) The form of `Retry-After` in a 429.
        latency: (live) Seconds from the arrival of a request to its response. The request takes effect on arrival.
        latency_jitter: (live) Up to this many seconds more, evenly distributed.
        faults: (live) Faults by probability; the first to strike wins.
        host: The address to listen at.
        port: The port to listen at; 0 for any free port.
    """

    organizations: list[Organization] = attrs.field(
        factory=partial(_organizations, 10), converter=_organizations, validator=_check_organizations, on_setattr=frozen
    )
    seed: int = attrs.field(default=0, on_setattr=frozen)
    calls_per_organization: float = attrs.field(default=5.0, validator=validation.number("calls"), on_setattr=frozen)
    mean_call_seconds: float = attrs.field(
        default=180.0, validator=validation.number("seconds", above=True), on_setattr=frozen
    )
    changes_per_call: float = attrs.field(default=1.0, validator=validation.number("changes"), on_setattr=frozen)
    speed: float = attrs.field(
        default=1.0, validator=validation.number("simulated seconds a second", above=True), on_setattr=frozen
    )
    epoch: datetime | None = attrs.field(default=None, validator=_check_epoch, on_setattr=frozen)
    age: float = attrs.field(default=0.0, validator=validation.number("seconds"), on_setattr=frozen)
    history_kept: int = attrs.field(default=10_000, validator=validation.count(0), on_setattr=frozen)
    revision: Revision = attrs.field(
        default="2024-02", validator=validation.one_of(*get_args(Revision)), on_setattr=frozen
    )
    version: str = attrs.field(default="2022-08-01", validator=and_(_text, matches_re(r"[\w.-]+")), on_setattr=frozen)
    organization_type_spelling: Spelling = attrs.field(
        default="any", validator=validation.one_of(*get_args(Spelling)), on_setattr=frozen
    )
    token: str = attrs.field(default="sandbox-token", repr=False, validator=_text, on_setattr=frozen)
    tokens: Mapping[Organization, str] = attrs.field(
        factory=dict, converter=_tokens, validator=_check_tokens, repr=False, on_setattr=frozen
    )
    accept_only: bool = False
    rate_limit: float | None = attrs.field(
        default=None,
        validator=validation.number("requests a second", above=True, optional=True),
        on_setattr=[validate, _credit_old_rate],
    )
    rate_burst: float | None = attrs.field(
        default=None,
        validator=validation.number("requests", minimum=1, optional=True),
        on_setattr=[validate, _credit_old_rate],
    )
    retry_after_format: RetryAfterFormat = attrs.field(
        default="seconds", validator=validation.one_of(*get_args(RetryAfterFormat))
    )
    latency: float = attrs.field(default=0.0, validator=validation.number("seconds"))
    latency_jitter: float = attrs.field(default=0.0, validator=validation.number("seconds"))
    faults: Sequence[Fault] = attrs.field(default=(), validator=check_faults)
    host: str = attrs.field(default="127.0.0.1", validator=_text, on_setattr=frozen)
    port: int = attrs.field(default=0, validator=validation.count(0), on_setattr=frozen)

    # Kept here for the hook above.
    buckets: TokenBuckets = attrs.field(factory=TokenBuckets, init=False, repr=False)
