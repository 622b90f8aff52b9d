"""The board is pure: events in, messages out, and nothing that a page must not have."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from wallboard.feeds import ACME, BOLT, make_call

from calls_in_progress_async import (
    Call,
    CallChanged,
    CallEnded,
    CallEvent,
    CallStarted,
    InvalidRequestError,
    OrganizationFailed,
    OrganizationRecovered,
    OrganizationResumed,
    ServerError,
)
from calls_in_progress_async.wallboard import BoardSettings, FeedStatus
from calls_in_progress_async.wallboard.activity import Activity
from calls_in_progress_async.wallboard.board import Board
from calls_in_progress_async.wallboard.display_text import visible
from calls_in_progress_async.wallboard.rows import row, row_key

NOW = 1_700_000_000.0


def make_board(**settings: Any) -> Board:
    return Board(BoardSettings(**settings))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Summer & <b>", "Summer & <b>"),
        ("קמפיין\u200f", "קמפיין\u200f"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("a\u202egnp", "a\\u202egnp"),
        ("a\x00\x1b[2J\n\u2028", "a\\x00\\x1b[2J\\n\\u2028"),
        ("\ud800", "\\ud800"),
        ("x" * 201, "x" * 200 + "…"),
    ],
)
def test_hidden_characters_are_spelled_out(text: str, shown: str) -> None:
    """Right-to-left text and joined emoji stay as they are."""
    assert visible(text) == shown


def test_the_callers_number_is_masked_in_every_text() -> None:
    """Campaign, place and custom fields may repeat the number; show_numbers shows them unchanged."""
    text, shown = "called from +1 (805) 555-1234", "called from …1234"
    call = make_call(1, calling_phone_number="+18055551234", advertiser_campaign_name=text, city=text, utm_source=text)
    masked_row = row(ACME, call, BoardSettings(fields=["utm_source"]))
    assert (masked_row["campaign"], masked_row["place"], masked_row["fields"]) == (shown, shown, [shown])
    whole = row(ACME, call, BoardSettings(fields=["utm_source"], show_numbers=True))
    assert (whole["campaign"], whole["place"], whole["fields"]) == (text, text, [text])


@pytest.mark.parametrize("number", ["1234", "anonymous", None])
def test_a_number_of_few_digits_hides_nothing_else(number: str | None) -> None:
    """A short number would be found everywhere, so texts keep their digits."""
    assert row(ACME, make_call(1, calling_phone_number=number, city="1234"), BoardSettings())["place"] == "1234"


def test_a_row_holds_what_the_settings_allow_and_nothing_else() -> None:
    """The number, the ids and other custom fields stay in the process."""
    call = make_call(7, city="Austin", region="South", call_record_id="R7", call_status="bridged")
    shown = row(ACME, call, BoardSettings(fields=["utm_source", "missing"]))
    assert shown == {
        "key": row_key(ACME, call),
        "organization": "advertiser:25",
        "since": shown["since"],
        "caller": "…0007",
        "place": "Austin, South",
        "campaign": "Campaign 0",
        "status": "bridged",
        "fields": ["google.com", ""],
    }
    assert not any(secret in json.dumps(shown) for secret in ("+1805", "T7", "R7"))


def test_a_row_without_values_is_empty_text() -> None:
    """Nothing is None but an unknown start."""
    shown = row(ACME, Call.from_payload({"transaction_id": "A", "promo_number_description": "Radio"}), BoardSettings())
    assert (shown["since"], shown["caller"], shown["place"], shown["campaign"]) == (None, "", "", "Radio")


def test_show_numbers_shows_whole_numbers() -> None:
    """Hidden characters in numbers are spelled out all the same."""
    call = make_call(7, calling_phone_number="+18055550007\u202e")
    assert row(ACME, call, BoardSettings(show_numbers=True))["caller"] == "+18055550007\\u202e"


def test_keys_tell_calls_apart() -> None:
    """The key depends on the organization and the transaction id, else the record id, else the payload."""
    calls = [{"transaction_id": "A"}, {"call_record_id": "B"}, {"city": "C"}, {"city": "D"}, {"city": "\ud800"}]
    keys = {row_key(each, Call.from_payload(call)) for each in (ACME, BOLT) for call in calls[:4]}
    assert len(keys) == 8
    assert {len(key) for key in keys} == {16}


def test_events_become_one_update() -> None:
    """A call is told once, as it is now; one that came and went is only told as ended."""
    board = make_board()
    one, two = make_call(1), make_call(2)
    later = make_call(1, advertiser_campaign_name="Winter")
    for event in (CallStarted(ACME, one), CallChanged(ACME, later, one), CallStarted(ACME, two), CallEnded(ACME, two)):
        board.apply(event, NOW)
    update = board.take_update()
    assert update is not None
    assert [shown["campaign"] for shown in update["calls"]] == ["Winter"]
    assert update["ended"] == [row_key(ACME, two)]
    assert board.take_update() is None


def test_events_that_the_board_knows_already_change_nothing() -> None:
    """A feed may start calls of its snapshot again, and end calls unknown to the board."""
    board = make_board()
    call = make_call(1)
    board.load({ACME: [call]})
    board.take_update()
    for event in (CallStarted(ACME, call), CallChanged(ACME, call, None), CallEnded(ACME, make_call(2))):
        board.apply(event, NOW)
    assert board.take_update() is None
    assert len(board.rows) == 1


def test_a_call_that_starts_again_is_not_ended() -> None:
    """The last event of a call decides."""
    board = make_board()
    board.load({ACME: [make_call(1)]})
    board.apply(CallEnded(ACME, make_call(1)), NOW)
    board.apply(CallStarted(ACME, make_call(1)), NOW)
    update = board.take_update()
    assert update is not None
    assert (len(update["calls"]), update["ended"]) == (1, [])


def test_a_call_that_gains_its_id_replaces_its_row() -> None:
    """A call without an id is known by its payload, so a change gives it another key."""
    board = make_board()
    before, after = Call.from_payload({"city": "A"}), Call.from_payload({"city": "A", "transaction_id": "T"})
    board.apply(CallStarted(ACME, before), NOW)
    board.take_update()
    board.apply(CallChanged(ACME, after, before), NOW)
    update = board.take_update()
    assert update is not None
    assert update["ended"] == [row_key(ACME, before)]
    assert list(board.rows) == [row_key(ACME, after)]


def test_failures_name_the_error_and_the_reason() -> None:
    """An error from outside the package may hold secrets: only its type is told."""
    board = make_board()
    board.apply(OrganizationFailed(ACME, ServerError("HTTP 503:\x00 down", status=503)), NOW)
    board.apply(OrganizationFailed(BOLT, ValueError("https://user:secret@host")), NOW)
    assert board.snapshot()["failures"] == {
        "advertiser:25": {"error": "ServerError", "reason": "HTTP 503:\\x00 down", "since": NOW},
        "advertiser:26": {"error": "ValueError", "reason": "", "since": NOW},
    }
    board.take_update()
    board.apply(OrganizationRecovered(ACME, 3.0), NOW)
    update = board.take_update()
    assert update is not None
    assert update["health"] == {"advertiser:25": None}
    assert list(board.failures) == ["advertiser:26"]


def test_events_about_nothing_on_the_board_change_nothing() -> None:
    """A restart is no failure, and an unknown kind of event is left out."""
    board = make_board()
    board.apply(OrganizationResumed(ACME, 3.0), NOW)
    board.apply(cast(CallEvent, object()), NOW)
    assert not board.failures
    assert not board.rows


def test_an_organization_that_leaves_takes_its_calls_and_its_failure_along() -> None:
    """The list is new only if it differs."""
    board = make_board()
    board.load({ACME: [make_call(1)], BOLT: [make_call(2)]})
    board.apply(OrganizationFailed(BOLT, ValueError()), NOW)
    assert board.set_organizations([ACME, BOLT])
    assert not board.set_organizations([ACME, BOLT])
    assert board.set_organizations([ACME])
    assert [shown["organization"] for shown in board.rows.values()] == ["advertiser:25"]
    assert not board.failures


@pytest.mark.parametrize(("rate", "told"), [(None, None), (9.97, 10.0)])
def test_the_status_is_short(rate: float | None, told: float | None) -> None:
    """Ages are whole seconds in the order of the organizations."""
    status = FeedStatus(staleness={ACME: 1.4, BOLT: 61.6}, interval=5.04, requests=9, rate=rate)
    expected = {"at": NOW, "next": 2.0, "ages": [1, 62], "interval": 5.0, "requests": 1.2, "rate": told}
    assert make_board().status(status, NOW, 1.23) == expected


def test_the_chart_spans_an_hour() -> None:
    """Points come at regular moments, old ones go, and earlier ones can be loaded."""
    activity = Activity(20.0)
    activity.load([(NOW - 30, 5), (NOW - 3700, 1), (NOW + 5, 9), (NOW - 3590, 2)], NOW)
    assert list(activity.points) == [(NOW - 3590, 2), (NOW - 30, 5)]
    assert activity.add(NOW, 6) == (NOW, 6)
    assert activity.add(NOW + 19, 7) is None
    assert activity.add(NOW + 20, 8) == (NOW + 20, 8)
    assert activity.points[0] == (NOW - 30, 5)


def test_the_chart_starts_anew_if_the_wall_clock_is_set_back() -> None:
    """Points of the future would never leave it."""
    activity = Activity(20.0)
    activity.add(NOW, 1)
    assert activity.add(NOW - 5000, 2) == (NOW - 5000, 2)
    assert list(activity.points) == [(NOW - 5000, 2)]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fields", "utm_source"),
        ("fields", 5),
        ("fields", [""]),
        ("fields", [5]),
        ("fields", [str(number) for number in range(9)]),
        ("title", " "),
        ("title", None),
        ("page_token", "short"),
        ("page_token", 5),
        ("status_seconds", 0),
        ("status_seconds", True),
        ("batch_seconds", float("inf")),
        ("sample_seconds", float("nan")),
        ("ring_messages", 0),
        ("queue_bytes", 1.5),
        ("max_browsers", True),
    ],
)
def test_a_setting_out_of_its_range_is_named(setting: str, value: Any) -> None:
    """The constructor raises before anything is served."""
    with pytest.raises(InvalidRequestError) as caught:
        BoardSettings(**{setting: value})
    assert caught.value.parameter == setting


def test_the_page_token_is_not_printed() -> None:
    """Settings end up in logs."""
    assert "secret" not in repr(BoardSettings(page_token="secret" * 4))
