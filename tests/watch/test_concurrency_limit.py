"""The number of polls in flight: halved by a round of rejections, raised by good responses."""

from __future__ import annotations

from calls_in_progress_async.watch.concurrency_limit import AIMDLimit


def test_a_round_of_rejections_halves_the_limit_once() -> None:
    """Rejections within a second count once, and the limit never falls below one."""
    limit = AIMDLimit(64)
    for moment in (0.0, 0.1, 0.9):
        limit.on_rejection(moment)
    assert limit.limit == 32
    limit.on_rejection(1.0)
    assert limit.limit == 16
    for moment in range(2, 20):
        limit.on_rejection(float(moment))
    assert limit.limit == 1


def test_good_responses_raise_the_limit() -> None:
    """A round of good responses raises the limit by about one, and never beyond the maximum."""
    limit = AIMDLimit(8)
    limit.on_rejection(0.0)
    for _ in range(5):
        limit.on_response()
    assert limit.limit == 5
    for _ in range(100):
        limit.on_response()
    assert limit.limit == 8
