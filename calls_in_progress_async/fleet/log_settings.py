"""The settings of a fleet's log, and the names made of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from .. import validation
from ..organization import Organization

MAX_ORGANIZATIONS_PER_SHARD = 1024
"""Subjects in one response to ``multi_last``; the server refuses more with status 413."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LEAST_LEASE = 0.3
"""Seconds. Beats are a third of a lease apart, and ticks a tenth of a second."""


def check_name(parameter: str, value: Any) -> str:
    """Check a name that becomes part of subjects and of the stream's name."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        expected = "1 to 64 letters, digits, - and _ (no dots, blanks or wildcards)"
        raise validation.unexpected(parameter, expected, value)
    return value


def _servers(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return the addresses as a tuple; text may name several, with commas between them."""
    found = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [value]
    servers = tuple(each.strip() if isinstance(each, str) else each for each in found)
    if not servers or not all(isinstance(each, str) and each for each in servers):
        raise validation.unexpected("servers", 'an address such as "nats://127.0.0.1:4222", or several', value)
    if not all(map(_is_address, servers)):
        raise validation.invalid(
            "servers",
            'must be addresses such as "nats://user:password@host:4222": percent-encode / and @ in a password',
        )
    return servers


def _is_address(text: str) -> bool:
    """Return True if the parts of an address can be told apart. An error never shows it: it may hold a password."""
    try:
        parts = urlsplit(text if "://" in text else f"nats://{text}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number
        return False


def _name(value: str) -> str:
    return check_name("name", value)


@frozen(kw_only=True)
class LogSettings:
    """The address of a log, and the form of its stream."""

    servers: tuple[str, ...] = field(converter=_servers, repr=False)
    """Addresses of NATS servers. They may hold passwords."""
    name: str = field(converter=_name)
    """The name of the fleet."""
    shards: int = field(default=64, converter=validation.plain_integer, validator=validation.count())
    """Number of shards. A shard is the unit of sharing, and never changes for a stream."""
    replicas: int = field(default=1, converter=validation.plain_integer, validator=validation.count())
    """Number of servers with a copy of the stream."""
    max_age: float = field(
        default=7 * 86400.0, converter=validation.plain_number, validator=validation.number("seconds", minimum=1.0)
    )
    """Seconds until a message is trimmed."""
    connection: Mapping[str, Any] = field(factory=dict, repr=False)
    """Further arguments of ``nats.connect``, such as ``user_credentials`` and ``tls``."""

    @property
    def stream(self) -> str:
        """The name of the stream."""
        return f"cip_{self.name}_events"

    @property
    def beat(self) -> str:
        """The subject of the workers' beats."""
        return f"cip.{self.name}.beat"

    @property
    def subjects(self) -> str:
        """The pattern of all subjects in the stream."""
        return f"cip.{self.name}.events.>"

    def shard_subjects(self, shard: int) -> str:
        """Return the pattern of the subjects of a shard."""
        return f"cip.{self.name}.events.{shard}.>"

    def shard_of(self, organization: Organization) -> int:
        """Return the shard of an organization, the same in every process."""
        return _number_of(organization) % self.shards

    def subject_of(self, organization: Organization) -> str:
        """Return the subject of an organization: ``cip.prod.events.17.advertiser.25``."""
        return f"cip.{self.name}.events.{self.shard_of(organization)}.{organization.type}.{organization.id}"


@lru_cache(maxsize=2**17)
def _number_of(organization: Organization) -> int:
    """Return a number of 64 bits by hashing. Cached: each refresh asks for all organizations."""
    return int.from_bytes(blake2b(str(organization).encode(), digest_size=8).digest(), "big")


def check_lease(lease: float) -> None:
    """Check the seconds within which a dead worker is replaced."""
    validation.check_number("lease", lease, "seconds", minimum=_LEAST_LEASE)
