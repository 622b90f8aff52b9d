"""Type hints of the watch's public names resolve at run time."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import pytest

from calls_in_progress_async import CallsInProgressClient, FindMany, Watch, WatchStats
from calls_in_progress_async.find_many import OrganizationCalls, OrganizationError
from calls_in_progress_async.watch.organization_state import OrganizationState
from calls_in_progress_async.watch.poller import Poller, PollSink
from calls_in_progress_async.watch.schedule import Schedule
from calls_in_progress_async.watch.settings import WatchSettings

CLASSES = [
    Watch,
    WatchStats,
    FindMany,
    OrganizationCalls,
    OrganizationError,
    OrganizationState,
    Poller,
    PollSink,
    Schedule,
    WatchSettings,
]
METHODS = [
    *(member for each in CLASSES for _, member in inspect.getmembers(each, inspect.isfunction)),
    *(each.fget for kind in CLASSES for _, each in inspect.getmembers(kind, lambda one: isinstance(one, property))),
    CallsInProgressClient.watch,
    CallsInProgressClient.find_many,
    CallsInProgressClient.wait_for_call,
]


@pytest.mark.parametrize("kind", CLASSES)
def test_hints_of_classes_resolve(kind: Any) -> None:
    """Dependency-injection containers and pydantic read the hints of classes."""
    get_type_hints(kind)


@pytest.mark.parametrize("method", METHODS, ids=lambda each: each.__qualname__)
def test_hints_of_methods_resolve(method: Any) -> None:
    """No hint of a method, a property or a constructor names something that is imported for type checkers only."""
    get_type_hints(method)
