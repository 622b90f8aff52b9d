"""Typed use of find_many, watch and wait_for_call. Type checkers read this file; nothing runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never, assert_type

from calls_in_progress_async import (
    Call,
    CallChanged,
    CallEnded,
    CallEvent,
    CallsInProgressClient,
    CallStarted,
    CurrentCalls,
    Organization,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResult,
    OrganizationResumed,
)


async def results(client: CallsInProgressClient, organizations: list[Organization]) -> None:
    """A check of the error narrows the result, by `is None` and by truth."""
    async for result in client.find_many(organizations):
        assert_type(result, OrganizationResult)
        assert_type(result.organization, Organization)
        if result.error is not None:
            assert_type(result.error, Exception)
            assert_type(result.calls, None)
        else:
            assert_type(result.calls, CurrentCalls)
        print(result.organization, result.error if result.error is not None else len(result.calls))
        if result.calls is None:
            assert_type(result.error, Exception)
    client.find_many(["advertiser:2"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def events(client: CallsInProgressClient, acme: Organization) -> None:
    """Every event matches by position, and a missing case is an error of the type checker."""
    async with client.watch([acme], interval=5.0, max_pending=10) as watch:
        assert_type(watch.calls, Mapping[Organization, tuple[Call, ...]])
        assert_type(watch.stats.effective_intervals, Mapping[Organization, float])
        assert_type(watch.checkpoint(), dict[str, Any])
        assert_type(await watch.acheckpoint(), dict[str, Any])
        watch.add(acme)
        watch.remove(acme)
        async for event in watch:
            assert_type(event, CallEvent)
            show(event)
    client.watch(acme)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def show(event: CallEvent) -> None:
    match event:
        case CallStarted(organization, call) | CallEnded(organization, call):
            assert_type((organization, call), tuple[Organization, Call])
        case CallChanged(_, call, previous, changes):
            assert_type((call, previous), tuple[Call, Call | None])
            assert_type(changes, Mapping[str, tuple[Any, Any]])
        case OrganizationFailed(_, error):
            assert_type(error, Exception)
        case OrganizationRecovered(_, gap) | OrganizationResumed(_, gap):
            assert_type(gap, float)
        case _:
            assert_never(event)


async def waiting(client: CallsInProgressClient, acme: Organization) -> None:
    """The call is a record."""
    assert_type(await client.wait_for_call(acme, transaction_id="A", timeout=None), Call)
