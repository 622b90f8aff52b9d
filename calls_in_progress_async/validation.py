"""Checks of arguments. Each raises with one line: the argument's name, the expected value, the given one, the remedy.

The checks made by `instance`, `number` and others name the validated field. A check with a single user stands there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, TypeAlias

from attrs import Attribute

from .errors import InvalidRequestError

Validator: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]
"""The function that attrs calls with an instance, the field and its value."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters without a place in a line of text."""
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_DNS_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")  # RFC 1123, section 2.1
_MAX_SHOWN = 60


def describe(value: object) -> str:
    """Show a value in one short line, even if its ``repr`` raises or is huge."""
    try:
        shown = ascii(value)
    except Exception:
        shown = f"<{type(value).__name__}>"
    shown = CONTROL.sub("?", shown)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."


def invalid(parameter: str, problem: str) -> InvalidRequestError:
    """Make the error for a parameter; ``problem`` goes on after its name, such as ``"must be a str, got 5"``."""
    return InvalidRequestError(f"{parameter} {problem}", parameter=parameter)


def unexpected(parameter: str, expected: str, value: object) -> InvalidRequestError:
    """Make the error for a value of the wrong type or out of its range."""
    return invalid(parameter, f"must be {expected}, got {describe(value)}")


def instance(kind: type | tuple[type, ...], expected: str, *, optional: bool = False) -> Validator:
    """Make a check for the type of a value; ``expected`` names it in the message, such as ``"a RetryPolicy"``."""

    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if not (isinstance(value, kind) or (optional and value is None)):
            raise unexpected(attribute.name, expected, value)

    return check


flag: Validator = instance(bool, "True or False")


def text(parameter: str, value: Any) -> str:
    """Check text that names something: not empty, no control characters, encodable."""
    if not isinstance(value, str):
        raise unexpected(parameter, "text", value)
    if not value.strip():
        raise invalid(parameter, "is empty, leave it out or pass None if there is none")
    if CONTROL.search(value):
        raise invalid(parameter, f"must not hold a control character, got {describe(value)}")
    return encodable(parameter, value)


def encodable(parameter: str, value: str) -> str:
    """Check that text can be encoded in UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(parameter, f"must not hold a lone surrogate, got {describe(value)}") from None
    return value


def one_of(*allowed: str) -> Validator:
    """Make a check for one of a few words."""
    expected = " or ".join(f'"{word}"' for word in allowed)

    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise unexpected(attribute.name, expected.replace(" or ", ", ", len(allowed) - 2), value)

    return check


def number(unit: str, *, minimum: float = 0.0, above: bool = False, optional: bool = False) -> Validator:
    """Make a check as `check_number`."""

    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        check_number(attribute.name, value, unit, minimum=minimum, above=above, optional=optional)

    return check


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False


def check_number(
    parameter: str, value: Any, unit: str, *, minimum: float = 0.0, above: bool = False, optional: bool = False
) -> None:
    """Check for a finite number of ``unit``, at least (or, with ``above``, more than) ``minimum``."""
    if value is None and optional:
        return
    if not _is_finite(value) or value < minimum or (above and value == minimum):
        bound = f"{'above' if above else 'of at least'} {minimum:g}"
        raise unexpected(parameter, f"a finite number of {unit} {bound}{' or None' if optional else ''}", value)


def is_integer(value: Any) -> bool:
    """Return True for Python's and numpy's integers; a bool is no integer."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def plain_number(value: float) -> float:
    """Return a number of numpy or another library as Python's own; leave anything else to the validator."""
    plain: float = _plain(value)
    return plain


def plain_optional_number(value: float | None) -> float | None:
    """Return a number as `plain_number` does, or None."""
    plain: float | None = _plain(value)
    return plain


def plain_integer(value: int) -> int:
    """Return an integer of numpy or another library as Python's own; leave anything else to the validator."""
    plain: int = _plain(value)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if is_integer(value):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def count(minimum: int = 1) -> Validator:
    """Make a check for a whole number of at least ``minimum``."""

    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if not is_integer(value) or value < minimum:
            raise unexpected(attribute.name, f"a whole number of at least {minimum}", value)

    return check


def token(value: Any) -> str:
    """Check an API token. Its text is never shown."""
    if isinstance(value, str) and _VISIBLE_ASCII.fullmatch(value):
        return value
    problem = "is not text" if not isinstance(value, str) else "is empty" if not value else "is malformed"
    raise invalid("token", f"{problem}, pass the API token: visible ASCII characters, no spaces or line ends")


def network_label(value: Any) -> str:
    """Check a network's subdomain of invoca.net."""
    if isinstance(value, str) and _DNS_LABEL.fullmatch(value.lower()):
        return value.lower()
    raise unexpected("network", 'a subdomain such as "acme" for https://acme.invoca.net', value)
