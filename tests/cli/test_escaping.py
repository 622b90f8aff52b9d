"""Hostile text is shown and never sent."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls_in_progress_async.cli.escaping import (
    cell,
    id_cell,
    printable,
    printable_json,
    printable_lines,
)

_ACTIVE = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_ACTIVE |= {"\u2028", "\u2029", "\u200b", "\u200e", "\u200f", "\ufeff", "\ud800", "\U000e0041"}
hostile_text = st.text(st.characters() | st.sampled_from(sorted(_ACTIVE)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße, 你好 \U0001f4de\u3000\xa0", "Grüße, 你好 \U0001f4de\u3000\xa0"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("a\tb\r\nc\x00\x7f", r"a\tb\r\nc\x00\x7f"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_active_characters_are_shown_instead(text: str, shown: str) -> None:
    """Control characters, escapes, bidi overrides, line separators and lone surrogates are shown; letters stay."""
    assert printable(text) == shown


@given(hostile_text)
def test_nothing_active_is_left(text: str) -> None:
    """Any text becomes one line that can be encoded and has nothing active in it."""
    shown = printable(text)
    assert not _ACTIVE & set(shown)
    assert len(shown.encode().splitlines()) <= 1


def test_lines_stay_lines() -> None:
    """Line ends of several lines stay; everything else is shown."""
    assert printable_lines("a\x1b\nb") == "a\\x1b\nb"


@settings(max_examples=50)
@given(st.recursive(hostile_text, lambda inner: st.lists(inner) | st.dictionaries(hostile_text, inner)), st.booleans())
def test_json_stays_the_same_value_on_one_line(value: object, indented: bool) -> None:
    """JSON is made harmless by its own escapes, so that a program reads the exact value."""
    shown = printable_json(json.dumps(value, ensure_ascii=False, indent=2 if indented else None))
    assert json.loads(shown) == value
    assert not _ACTIVE & set(shown)


def test_a_cell_has_no_markup_and_no_escapes() -> None:
    """Rich's markup in a payload is text."""
    assert cell("[bold]x[/bold]\x1b").plain == r"[bold]x[/bold]\x1b"
    assert cell("[bold]x[/bold]").spans == []
    assert cell(None).plain == "-"


def test_a_long_description_is_cut_and_a_long_id_is_not() -> None:
    """Descriptions are cut, ids never are."""
    assert cell("x" * 5_000).plain == "x" * 300 + "..."
    assert id_cell("x" * 5_000).plain == "x" * 5_000


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("Spring Sale Boots", 17, "Spring Sale Boots"),
        ("Spring Sale Boots", 16, "Spring S\u2026e Boots"),
        ("Spring Sale Boots", 7, "Spr\u2026ots"),
        ("Spring Sale Boots", 1, "\u2026"),
        ("\u4f60\u597d\u4f60\u597d\u4f60\u597d", 7, "\u4f60\u2026\u4f60\u597d"),
    ],
)
def test_a_description_is_shortened_in_the_middle(text: str, width: int, shown: str) -> None:
    """Both ends of a description stay, also in letters of two columns."""
    assert cell(text, width).plain == shown


@pytest.mark.parametrize(
    ("json_text", "shown"),
    [
        ('{"a":NaN,"b":[-Infinity,Infinity]}', '{"a":null,"b":[null,null]}'),
        ('{"NaN":"-Infinity \\" NaN"}', '{"NaN":"-Infinity \\" NaN"}'),
    ],
)
def test_numbers_beyond_json_are_null(json_text: str, shown: str) -> None:
    """NaN and infinities become null outside strings."""
    assert printable_json(json_text) == shown
