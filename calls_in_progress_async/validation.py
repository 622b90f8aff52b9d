"""Checks of what callers pass in. Each refuses with one line that names the parameter and the remedy.

Those that take a value and return it, normalized, are converters of attrs fields. Those that make a `Validator` name
the field that it validates.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, TypeAlias

from attrs import Attribute

from .errors import InvalidRequestError

Validator: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]
"""What attrs calls with an instance, the field and its value."""

LARGEST_ID = 2**63 - 1
"""The largest signed 64-bit integer, which is what a database key holds."""

# The field table allows 0-9, A-Z and "-", up to 32 characters; the page's own examples have lower case too.
_TRANSACTION_ID = re.compile(r"[0-9A-Za-z-]{1,32}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_IN_VALUE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # a value may hold newlines and tabs
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_DNS_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")  # RFC 1123, section 2.1
_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
_MAX_SHOWN = 60


def describe(value: object) -> str:
    """Show a value in one short line, whatever its ``repr`` does."""
    try:
        shown = ascii(value)
    except Exception:
        shown = f"<{type(value).__name__}>"
    shown = _CONTROL.sub("?", shown)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."


def invalid(parameter: str, problem: str) -> InvalidRequestError:
    """The error for a parameter: its name, what is wrong, and what to do."""
    return InvalidRequestError(f"{parameter}: {problem}", parameter=parameter)


def instance(kind: type | tuple[type, ...], hint: str, *, optional: bool = False) -> Validator:
    """Make a check that a value is of a type; ``hint`` says how to get one."""

    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if not (isinstance(value, kind) or (optional and value is None)):
            raise invalid(attribute.name, f"{describe(value)} will not do, pass {hint}")

    return check


flag = instance(bool, "True or False")


def organization_id(value: Any) -> int:
    """Check an organization's id: a positive integer, or its digits as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid("id", f"{describe(value)} is not a positive integer, such as 25")
    if not 0 < value <= LARGEST_ID:
        raise invalid("id", f"{describe(value)} is outside 1 to 2^63-1")
    return int(value)  # an IntEnum would go to the wire by its name


def organization_type(value: Any) -> str:
    """Check an organization's type, in either spelling; the answer is in lower case."""
    if isinstance(value, str) and value.lower() in ("network", "advertiser"):
        return value.lower()
    raise invalid("type", f'{describe(value)} is not an organization type, pass "network" or "advertiser"')


def text(parameter: str, value: Any) -> str:
    """Check text that names something: not empty, no control characters, encodable."""
    if not isinstance(value, str):
        raise invalid(parameter, f"{describe(value)} is not text, pass a str")
    if not value.strip():
        raise invalid(parameter, "is empty, pass None (or leave it out) where there is none")
    if _CONTROL.search(value):
        raise invalid(parameter, f"{describe(value)} holds a control character, remove it")
    return _encodable(parameter, value)


def _encodable(parameter: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(parameter, f"{describe(value)} holds a lone surrogate, which UTF-8 cannot carry") from None
    return value


def transaction_id(_: Any, attribute: Attribute[Any], value: Any) -> None:
    """Check a transaction id, or None."""
    if value is not None and not _TRANSACTION_ID.fullmatch(text(attribute.name, value)):
        raise invalid(attribute.name, f'{describe(value)} is not 1 to 32 letters, digits and "-"')


def optional_text(_: Any, attribute: Attribute[Any], value: Any) -> None:
    """Check an id of the caller's own, or None."""
    if value is not None:
        text(attribute.name, value)


def masked(number: str | None) -> str:
    """Show the end of a caller's phone number, if it is long enough that this is not all of it."""
    return repr(number if number is None else f"...{number[4:][-2:]}")


def phone_number(_: Any, attribute: Attribute[Any], value: Any) -> None:
    """Check that a phone number is text, or None; whether it is a phone number depends on the client's settings."""
    # The number itself is never shown: it is a caller's.
    if value is not None and not (isinstance(value, str) and value.strip() and not _SURROGATE.search(value)):
        what = "is empty or not Unicode" if isinstance(value, str) else f"{describe(type(value))} is not text"
        raise invalid(attribute.name, f'{what}, pass text such as "+18005551234"')


def custom_data(value: Any) -> dict[str, str] | None:
    """Check the names and values of custom data; None or nothing at all is None."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise invalid("custom_data", f"{describe(type(value))} is not a mapping of names to values")
    return {text("custom_data name", name): _custom_value(name, item) for name, item in value.items()} or None


def _custom_value(name: str, value: Any) -> str:
    where = f"custom_data[{describe(name)}]"
    if value is None:
        raise invalid(where, "cannot be removed (None): the API adds and updates custom data only")
    if not isinstance(value, str):
        raise invalid(where, f"{describe(type(value))} is not text, pass a str")
    if not value:
        raise invalid(where, "is empty, and the API has no removal; pass text or leave the name out")
    if _CONTROL_IN_VALUE.search(value):
        raise invalid(where, "holds a control character other than newline and tab, remove it")
    return _encodable(where, value)


def names_alone(data: Mapping[str, str] | None) -> str:
    """Show the names of custom data: its values may be a caller's."""
    return repr(data and list(data))


def one_of(*allowed: str) -> Validator:
    """Make a check for one of a few words."""

    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise invalid(attribute.name, f"{describe(value)} is not one of {', '.join(map(repr, allowed))}")

    return check


def number(unit: str, *, minimum: float = 0.0, above: bool = False, optional: bool = False) -> Validator:
    """Make a check as `check_number`."""

    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        check_number(attribute.name, value, unit, minimum=minimum, above=above, optional=optional)

    return check


def check_number(
    parameter: str, value: Any, unit: str, *, minimum: float = 0.0, above: bool = False, optional: bool = False
) -> None:
    """Check for a finite number of ``unit``, at least (or, with ``above``, more than) ``minimum``."""
    if value is None and optional:
        return
    finite = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if not finite or value < minimum or (above and value == minimum):
        bound = f"{'more than' if above else 'at least'} {minimum:g}"
        either = "None or " if optional else ""
        raise invalid(parameter, f"{describe(value)} will not do, pass {either}a finite number of {unit}, {bound}")


def plain_number(value: Any) -> Any:
    """Return a number of numpy or another library as Python's own; return anything else as it is, for the validator."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else value


def count(minimum: int = 1) -> Validator:
    """Make a check for a whole number of at least ``minimum``."""

    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise invalid(attribute.name, f"{describe(value)} is not a whole number of at least {minimum}")

    return check


def token(value: Any) -> str:
    """Check an API token. Its text is never shown."""
    if isinstance(value, str) and _VISIBLE_ASCII.fullmatch(value):
        return value
    what = "is not text" if not isinstance(value, str) else "is empty" if not value else "is malformed"
    raise invalid("token", f"{what}, pass the API token: visible ASCII characters, no spaces or line ends")


def network_label(value: Any) -> str:
    """Check a network's subdomain of invoca.net."""
    if isinstance(value, str) and _DNS_LABEL.fullmatch(value.lower()):
        return value.lower()
    raise invalid("network", f'{describe(value)} is not a subdomain, pass "acme" for https://acme.invoca.net')


def api_version(value: Any) -> str:
    """Check the version in the path, which is a date."""
    if isinstance(value, str) and value.isascii() and _API_VERSION.fullmatch(value):
        return value
    raise invalid("api_version", f'{describe(value)} is not a date such as "2022-08-01"')


def region(value: Any) -> str:
    """Check a two-letter region, the country of phone numbers that are not written with a +."""
    if isinstance(value, str) and value.isascii() and value.isalpha() and len(value) == 2:
        return value.upper()
    raise invalid("default_region", f'{describe(value)} is not a two-letter region such as "US"')
