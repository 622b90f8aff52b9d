"""Phone numbers go to the wire in E.164; any other text is rejected."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls_in_progress_async import CallsInProgressClient, InvalidRequestError
from calls_in_progress_async.phone_numbers import e164
from calls_in_progress_async.regions import MISTAKEN, REGIONS


@pytest.mark.parametrize("validate", ["possible", "valid"])
@pytest.mark.parametrize(
    ("region", "number"),
    [
        ("DE", "030 123456 (Praxis)"), ("DE", "030 123456 Praxis"), ("DE", "Praxis 030 123456"),
        ("DE", "030123456praxis"),
        ("US", "a53055a51212a"), ("US", "5305551212 home"), ("US", "call 5305551212"), ("US", "530555121a"),
        ("US", "5 FLOWERS"),
        ("US", "1-800-FLO-WERS"), ("US", "530-555-1212 or 530-555-1213"), ("US", "FLOWERS"), ("US", "1-800-FLOWERS!x"),
        ("US", "1-800-\u0424LOWERS"), ("US", "tel:+15305551212"),
    ],
)  # fmt: skip
def test_letters_are_no_digits(region: str, number: str, validate: str) -> None:
    """The phone number library would turn them into digits, or leave them out, and find somebody's number."""
    with pytest.raises(InvalidRequestError) as raised:
        e164("calling_phone_number", number, region=region, validate=validate)
    assert number not in str(raised.value)


@pytest.mark.parametrize(
    ("number", "expected"),
    [("1-800-FLOWERS", "+18003569377"), ("1 800 flowers", "+18003569377"), ("+1 800 FLOWERS ", "+18003569377"),
     ("(800) FLOWERS", "+18003569377"), ("800FLOWERS", "+18003569377"), ("+491 FLOWERS", "+4913569377")],
)  # fmt: skip
def test_one_word_may_complete_a_number(number: str, expected: str) -> None:
    """A vanity number, with a word for its last digits, is sent in E.164."""
    assert e164("n", number, region="US", validate="possible") == expected


@given(st.text(min_size=1), st.sampled_from(["US", "DE", "GB"]))
def test_text_with_letters_is_rejected_or_a_vanity_number(text: str, region: str) -> None:
    """No other text with a letter is ever taken for a number."""
    with suppress(InvalidRequestError):
        e164("n", text, region=region, validate="possible")
        letters = [each for each in text if each.isalpha()]
        assert not letters or text.strip().endswith("".join(letters))


def test_regions_are_those_of_the_phone_number_library() -> None:
    """The table spares the import of the library when a client is made."""
    assert set(phonenumbers.SUPPORTED_REGIONS) == REGIONS
    assert not MISTAKEN.keys() & REGIONS
    assert set(MISTAKEN.values()) <= REGIONS


@pytest.mark.parametrize("region", ["UK", "uk", "EN"])
def test_an_unknown_region_is_rejected_with_the_intended_one(region: Any) -> None:
    """The constructor rejects "UK" and names "GB", before any number is read in the wrong country."""
    with pytest.raises(InvalidRequestError, match=r'"GB" is meant'):
        CallsInProgressClient(token="t", default_region=region)
    with pytest.raises(InvalidRequestError, match=r"^default_region must be .*, got 'XX'$"):
        CallsInProgressClient(token="t", default_region="XX")
