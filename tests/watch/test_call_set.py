"""Two answers about one organization, and what happened between them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from watch.worlds import body_of, call

from calls_in_progress_async.watch.call_set import CallSet
from calls_in_progress_async.watch.call_state import CheckpointedCall, ListedCall
from calls_in_progress_async.watch.listing import read

A, B, C = (call(letter, city="Goleta") for letter in "ABC")


class Story:
    """One organization's answers, in order."""

    def __init__(self, missed_polls_before_end: int = 1) -> None:
        self.picture = CallSet()
        self.limit = missed_polls_before_end

    def tell(self, body: bytes) -> list[str]:
        listing = read(body, self.picture.listing, strict=False)
        found = []
        for identity, before, after in self.picture.update(listing, self.limit):
            found.append(("+" if before is None else "-" if after is None else "*") + identity)
        return found

    def __call__(self, *calls: Any) -> list[str]:
        return self.tell(body_of(*calls))


def test_starts_changes_and_ends() -> None:
    """Ends come first, then changes, then starts, oldest (last in the list) first."""
    story = Story()
    assert story(B, A) == ["+A", "+B"]
    assert story(B, A) == []
    assert story(C, {**B, "city": "Ventura"}) == ["-A", "*B", "+C"]
    assert story() == ["-C", "-B"]


def test_the_order_of_the_list_means_nothing() -> None:
    """A list in another order is no event."""
    story = Story()
    story(A, B, C)
    assert story(C, A, B) == []


@pytest.mark.parametrize("later", [[A, A], [{**A, "city": "x"}, A], [A, {**A, "city": "x"}]])
def test_an_id_that_is_listed_twice_is_one_call(later: list[Any]) -> None:
    """Of several entries with one id, the one that is known stands."""
    story = Story()
    story(A)
    assert story(*later) == []
    assert [known.call().city for known in story.picture.calls.values()] == ["Goleta"]


def test_an_id_that_is_new_and_listed_twice() -> None:
    """Of several new entries with one id, the first (the newest) counts."""
    story = Story()
    assert story({**A, "city": "x"}, A) == ["+A"]
    assert [known.call().city for known in story.picture.calls.values()] == ["x"]
    assert story(A) == ["*A"]


def test_entries_that_are_no_calls_are_none() -> None:
    """What is not an object is left out, as a find leaves it out."""
    story = Story()
    assert story(A, None, 7) == ["+A"]


def test_a_call_ends_after_so_many_absences() -> None:
    """With missed_polls_before_end of 3, it may return after two answers without it; unchanged answers count."""
    story = Story(missed_polls_before_end=3)
    story(A, B)
    assert [story(A), story(A)] == [[], []]
    assert story(A, B) == []
    assert [story(A), story(A), story(A), story(A)] == [[], [], ["-B"], []]
    assert story.picture.absences is None


def test_a_call_that_returns_changed() -> None:
    """A call that was missing and returns otherwise has changed."""
    story = Story(missed_polls_before_end=2)
    story(A, B)
    story(A)
    assert story(A, {**B, "city": "x"}) == ["*B"]


def test_another_spelling_is_no_change() -> None:
    """The same JSON with its keys in another order, or with other spaces, is no event, and real changes still are."""
    calls = [call(f"C{number}", city="Goleta") for number in range(10)]
    story = Story()
    story(*calls)
    respelled = [dict(reversed(each.items())) for each in calls]
    respelled[1]["city"] = "Ventura"
    assert story.tell(json.dumps({"current_calls": respelled}, indent=1).encode()) == ["*C1"]


def test_one_call_with_its_keys_in_another_order_has_not_changed() -> None:
    """Also beside calls that are as they were; one of which two digits have changed places has changed."""
    story = Story()
    story(A, {**B, "zip_code": "93101"}, C)
    respelled = dict(reversed({**B, "zip_code": "93101"}.items()))
    assert story(A, respelled, C) == []
    assert story(A, {**respelled, "zip_code": "93110"}, C) == ["*B"]


def test_after_many_real_changes_the_rest_is_believed() -> None:
    """Comparing what JSON says stops after some real changes: the rest is told by its bytes."""
    calls = [call(f"C{number}", city="Goleta") for number in range(10)]
    story = Story()
    story(*calls)
    assert len(story(*[{**each, "city": "Ventura"} for each in calls])) == 10


def test_after_a_restart_only_what_differs_is_told() -> None:
    """Against remembered calls, the same digest is no event."""
    listed = read(body_of(A, B), None, strict=False).entries
    assert isinstance(listed[0], ListedCall)
    story = Story()
    story.picture.calls = {
        "A": CheckpointedCall("A", listed[0].digest),
        "B": CheckpointedCall("B", "another"),
        "C": CheckpointedCall("C", "another"),
    }
    assert story(A, B) == ["-C", "*B"]
    assert story(A, B) == []
