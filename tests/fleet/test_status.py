"""The health of a fleet, from handmade beats."""

from __future__ import annotations

from typing import Any

from calls_in_progress_async.fleet.status import FleetStatus, Workers


def beat(by: str, polls: int = 0, **more: Any) -> dict[str, Any]:
    """Return a beat of a worker."""
    figures = {"shards": 4, "organizations": 1200, "failing": 1, "share": 0.5, "rate": 100.0, "stale": 1.5}
    settings = {"lease": 6.0, "interval": 5.0}
    return {"by": by, "polls": polls, "events": 10 * polls, "refused": 2, **settings, **figures, **more}


def test_the_totals_are_of_the_living_workers() -> None:
    """Figures add up, and the staleness is that of the worst worker now."""
    workers = Workers()
    workers.hear(beat("two"), 0.0)
    workers.hear(beat("one", stale=3.0), 1.0)
    status = workers.status(2.0)
    assert [each.worker for each in status.workers] == ["one", "two"]
    assert [each.staleness for each in status.workers] == [4.0, 3.5]
    assert (status.shards, status.organizations, status.failing, status.refused) == (8, 2400, 2, 4)
    assert (status.rate, status.interval, status.staleness) == (200.0, 5.0, 4.0)


def test_rates_are_the_growth_over_half_a_second_or_more() -> None:
    """A beat out of turn brings new shards at once, and is no reason for a wild rate."""
    workers = Workers()
    workers.hear(beat("one", 100), 0.0)
    workers.hear(beat("one", 120), 2.0)
    workers.hear(beat("one", 121, shards=9), 2.1)
    status = workers.status(2.1)
    assert (status.shards, status.polls_per_second, status.events_per_second) == (9, 10.0, 100.0)
    workers.hear(beat("one", 140), 4.0)
    assert workers.status(4.0).polls_per_second == 10.0
    assert workers.status(4.0).polls == 40


def test_a_new_process_of_a_name_counts_from_its_beginning() -> None:
    """No rate is negative, and the number of polls never shrinks."""
    workers = Workers()
    workers.hear(beat("one", 100), 0.0)
    workers.hear(beat("one", 150), 2.0)
    workers.hear(beat("one", 3), 4.0)
    workers.hear(beat("one", 23), 6.0)
    status = workers.status(6.0)
    assert (status.polls, status.polls_per_second) == (70, 10.0)


def test_a_silent_worker_and_one_that_leaves_do_not_count() -> None:
    """A worker counts as dead after its own lease."""
    workers = Workers()
    workers.hear(beat("one", lease=1.0), 0.0)
    workers.hear(beat("two"), 0.0)
    workers.hear(beat("two", leaving=True), 0.5)
    workers.hear(beat("three", leaving=True), 0.5)
    assert [each.worker for each in workers.status(0.9).workers] == ["one"]
    nothing = FleetStatus(workers=(), interval=None, polls=0)
    assert workers.status(1.1) == nothing
    assert (nothing.rate, nothing.staleness, nothing.polls_per_second) == (None, 0.0, 0)


def test_a_worker_without_a_limit_has_no_rate() -> None:
    """The total is of the workers with a limit."""
    workers = Workers()
    workers.hear(beat("one", rate=None), 0.0)
    assert workers.status(0.0).rate is None
    workers.hear(beat("two", rate=5), 0.0)
    assert workers.status(0.0).rate == 5.0
