"""Places in flight: halved by a round of refusals, won back by answers."""

from __future__ import annotations

from calls_in_progress_async.watch.concurrency_limit import AIMDLimit


def test_a_round_of_refusals_halves_it_once() -> None:
    """Refusals within a second are one; there is always one place."""
    window = AIMDLimit(64)
    for moment in (0.0, 0.1, 0.9):
        window.on_refusal(moment)
    assert window.size == 32
    window.on_refusal(1.0)
    assert window.size == 16
    for moment in range(2, 20):
        window.on_refusal(float(moment))
    assert window.size == 1


def test_answers_open_it_again() -> None:
    """A windowful of answers makes about one place more, and never more than there were."""
    window = AIMDLimit(8)
    window.on_refusal(0.0)
    for _ in range(5):
        window.on_answer()
    assert window.size == 5
    for _ in range(100):
        window.on_answer()
    assert window.size == 8
