"""Callers' phone numbers are masked wherever they stand."""

import pytest

from calls_in_progress_async.phone_masking import mask_field, mask_number, mask_numbers, mask_repetitions


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+18055551234", "...1234"),
        ("866-555-1234", "...1234"),
        ("(805) 555-1234", "...1234"),
        ("55512345", "...2345"),
        ("5551234", "..."),
        ("anonymous", "..."),
        ("+١٨٠٥٥٥٥١٢٣٤", "...١٢٣٤"),
        ("", "..."),
    ],
)
def test_a_number_keeps_four_digits_at_most(number: str, shown: str) -> None:
    """The last four digits stay, but none of a number of fewer than eight digits."""
    assert mask_number(number) == shown
    assert mask_number(number, "…") == shown.replace("...", "…")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+18055551234", "...1234"),
        ("call (805) 555-1234 now", "call ...1234 now"),
        ("805.555.1234, 8055551235", "...1234, ...1235"),
        ("805\xa0555\u20111234", "...1234"),
        ("+49 (0) 30/123 456", "...3456"),
        ("+4930123", "..."),
        ("030 123 456", "...3456"),
        ("google.com", "google.com"),
        ("order-12345678", "order-12345678"),
        ("AB12-345678", "AB12-345678"),
        ("AB12-3456789012", "AB12-...9012"),
        ("805_555_1234", "...1234"),
        ("asdf-1234-zxcv-56789012", "asdf-1234-zxcv-56789012"),
        ("2024-02-01", "2024-02-01"),
        ("2024-02-01 09:00:00-07:00", "2024-02-01 09:00:00-07:00"),
        ("2024-02-01T09:00:00.000Z", "2024-02-01T09:00:00.000Z"),
        ("1.5", "1.5"),
        ("", ""),
    ],
)
def test_text_with_the_form_of_a_number_is_masked(text: str, shown: str) -> None:
    """Numbers are masked in every grouping; ids, dates and short numbers stay."""
    assert mask_numbers(text) == shown


def test_a_field_named_phone_is_masked_whole() -> None:
    """A short number is masked if the field's name says phone."""
    assert mask_field("Home Phone", "555-1234") == "..."
    assert mask_field("city", "555-1234") == "555-1234"


@pytest.mark.parametrize(
    ("text", "number", "shown"),
    [
        ("called from +18055551234", "+18055551234", "called from …1234"),
        ("(805) 555-1234 again", "+18055551234", "(…1234 again"),
        ("tel:+1 805.555.1234;18055551234", "+18055551234", "tel:…1234;…1234"),
        ("id 98055551234 and 80555512345", "+18055551234", "id 98055551234 and 80555512345"),
        ("2024-01-31 campaign 1234", "+18055551234", "2024-01-31 campaign 1234"),
        ("room 55512", "55512", "room …"),
        ("room 1234", "1234", "room 1234"),
        ("anonymous 1234", "anonymous", "anonymous 1234"),
        ("1234", None, "1234"),
    ],
)
def test_a_repeated_number_is_masked_in_a_text(text: str, number: str | None, shown: str) -> None:
    """Other digits stay: a longer id with the number inside, a date, or a number of fewer than five digits."""
    assert mask_repetitions(text, number, "…") == shown
