"""Leaks: private values in a text, in any encoding."""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

_NATIONAL_DIGITS = 10
"""Digits of a North American number without its country code."""
_MIN_DIGITS = 7
"""Digits in a private value, at least, for a phone number."""
_CUT_OFF = 12
"""Characters to identify a longer private value by: logs and errors cut texts off, and redact parts."""
_DEPTH = 3
"""Encodings within each other, such as percent-encoded JSON in base64."""

_SEPARATORS = re.compile(r"(?<=\d)[^0-9A-Za-z]{1,3}(?=\d)")
_ESCAPE = re.compile(r"\\+(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|[abfnrtv])")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[ :]?){6,}")


def find_leaks(text: str, private: Iterable[str]) -> dict[str, str]:
    """Return the private values in a text, each with its encoding.

    Encodings are ``plain``, ``percent``, ``html``, ``repr``, ``unicode`` (other forms of a character, such as digits of
    full width), ``base64`` and ``hex``. A phone number is found with any separators and without its country code.
    """
    numbers: dict[str, list[str]] = {}
    words: dict[str, list[str]] = {}
    for value in private:
        digits = _digits_of_number(value)
        if digits:
            numbers[value] = [digits]
        else:
            words[value] = [value[:_CUT_OFF].casefold()]
            if " " not in value:  # the end of a phrase may be part of any text
                words[value].append(value[-_CUT_OFF:].casefold())
    found: dict[str, str] = {}
    for encoding, decoded in _decoded(text, "plain", _DEPTH):
        for wanted, place in ((numbers, _SEPARATORS.sub("", decoded)), (words, decoded.casefold())):
            held = [value for value, parts in wanted.items() if any(part in place for part in parts)]
            found = {**dict.fromkeys(held, encoding), **found}
    return found


def join_texts(texts: Iterable[str]) -> str:
    """Join texts to be searched at once. No value, and no encoding of one, is found across two of them."""
    return "\nx\n".join(texts)


@lru_cache(maxsize=65_536)
def _digits_of_number(value: str) -> str:
    """Return the digits of a phone number without its country code; "" if the value is no phone number."""
    digits = re.sub(r"\D", "", value)
    is_number = len(digits) >= _MIN_DIGITS and not re.search(r"[A-Za-z]", value)
    return digits[-_NATIONAL_DIGITS:] if is_number else ""


def _decoded(text: str, encoding: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield a text and everything it may be an encoding of, each with the name of the outermost encoding."""
    yield encoding, text
    if depth == 0:
        return
    for name, decoded in _once_decoded(text):
        if decoded != text:
            yield from _decoded(decoded, name if encoding == "plain" else encoding, depth - 1)


def _once_decoded(text: str) -> Iterator[tuple[str, str]]:
    if "%" in text:
        yield "percent", unquote(text, errors="replace")
    if "+" in text:
        yield "percent", unquote_plus(text, errors="replace")
    if "&" in text:
        yield "html", html.unescape(text)
    if "\\" in text:
        yield "repr", _join_surrogates(_ESCAPE.sub(lambda found: chr(int(found[1] or found[2] or "20", 16)), text))
    if not text.isascii():
        yield "unicode", unicodedata.normalize("NFKC", text)
    if runs := set(_BASE64.findall(text)):
        yield "base64", join_texts(decoded for run in runs for decoded in _base64_decoded(run))
    if runs := set(_HEX.findall(text)):
        yield "hex", join_texts(decoded for run in runs for decoded in _hex_decoded(run))


def _join_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _hex_decoded(run: str) -> Iterator[str]:
    digits = re.sub(r"[ :]", "", run)
    yield bytes.fromhex(digits).decode(errors="replace")
    yield bytes.fromhex(digits[1:-1]).decode(errors="replace")  # a run may begin with a stray digit


def _base64_decoded(run: str) -> Iterator[str]:
    """Yield the texts of base64 that begins at any of the first four characters."""
    run = run.replace("-", "+").replace("_", "/")
    for start in range(4):
        part = run[start:]
        part = part[: len(part) - 1] if len(part) % 4 == 1 else part
        try:
            yield base64.b64decode(part + "=" * (-len(part) % 4)).decode(errors="replace")
        except binascii.Error:  # pragma: no cover - the alphabet and the length are right
            return
