"""Organizations sort, hash and take any integer."""

from __future__ import annotations

from typing import Any

import pytest

from calls_in_progress_async import CallsInProgressClient, Organization, RetryPolicy


def test_organizations_sort_by_type_and_id() -> None:
    """Advertisers come before networks, and ids are numbers."""
    mixed = [Organization.parse(text) for text in ("network:2", "advertiser:10", "network:1", "advertiser:9")]
    assert list(map(str, sorted(mixed))) == ["advertiser:9", "advertiser:10", "network:1", "network:2"]
    assert Organization.network(1) <= Organization.network(1) >= Organization.advertiser(7)
    assert max(mixed) > Organization.advertiser(1)
    assert not Organization.network(1) < Organization.network(1)


@pytest.mark.parametrize("other", [1, "advertiser:25", None])
def test_an_organization_sorts_with_organizations_only(other: Any) -> None:
    """Another type is a TypeError, as for any two types."""
    with pytest.raises(TypeError):
        sorted([Organization.network(1), other])


def test_integers_of_numpy_are_integers() -> None:
    """Ids and counts come from data frames."""
    numpy = pytest.importorskip("numpy")
    organization = Organization.network(numpy.int64(25))
    assert (organization, type(organization.id)) == (Organization.network(25), int)
    assert RetryPolicy(max_attempts=numpy.int32(2)).max_attempts == 2
    assert CallsInProgressClient(token="t", max_connections=numpy.int64(5), timeout=numpy.float32(1.5))
