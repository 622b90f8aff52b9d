"""Callers' phone numbers are masked wherever they stand."""

import pytest

from calls_in_progress_async.cli.masking import field_value, mask_numbers, phone_number


@pytest.mark.parametrize(
    ("number", "shown"),
    [("+18055551234", "...1234"), ("866-555-1234", "...1234"), ("5551234", "..."), ("", "..."), (None, None)],
)
def test_a_callers_number_is_masked(number: str | None, shown: str | None) -> None:
    """The last four digits of a number stay, unless the number is short enough to be known by them."""
    assert phone_number(number, masked=True) == shown
    assert phone_number(number, masked=False) == number


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
    assert field_value("Home Phone", "555-1234", masked=True) == "..."
    assert field_value("city", "555-1234", masked=True) == "555-1234"
    assert field_value("Home Phone", "555-1234", masked=False) == "555-1234"
