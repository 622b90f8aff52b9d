"""A malformed argument is rejected before anything is sent, in one line with the name of the parameter."""

from __future__ import annotations

import enum
import math
import pickle
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from numbers import Integral
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import ACME, NO_CALLS, TOKEN, RawServer

from calls_in_progress_async import (
    Call,
    CallsInProgressClient,
    CurrentCallsRequest,
    InvalidRequestError,
    Organization,
    RetryPolicy,
    UpdateCallRequest,
    validation,
)
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.testing import ScriptedTransport, status
from calls_in_progress_async.wallboard.settings import BoardSettings

PHONE = "5309991234"


@Integral.register
class Int64:
    """An integer that is no int, like numpy's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return self.value == other

    def __lt__(self, other: int) -> bool:
        return self.value < other

    def __le__(self, other: int) -> bool:
        return self.value <= other

    def __gt__(self, other: int) -> bool:
        return self.value > other

    def __ge__(self, other: int) -> bool:
        return self.value >= other

    def __hash__(self) -> int:
        return hash(self.value)


class RaisingRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class RecursiveRepr:
    def __repr__(self) -> str:
        return repr(self)


class HugeRepr:
    def __repr__(self) -> str:
        return "x" * 10_000_000


class ManyLines:
    def __repr__(self) -> str:
        return "one\ntwo\r\nthree\u2028four\x1b[31m"


class NotEvenText:
    def __repr__(self) -> Any:
        return 5


OddName = type("Odd\nName\x1b[31m", (), {"__repr__": RaisingRepr.__repr__})
HOSTILE: list[Any] = [
    RaisingRepr(), RecursiveRepr(), HugeRepr(), ManyLines(), NotEvenText(), OddName(), b"\n" * 9, [], {}, object(),
    10**5000
]  # fmt: skip


def each(*values: Any) -> Any:
    """Parametrize ``value``; the values' own text would not do as the names of the tests."""
    return pytest.mark.parametrize("value", [pytest.param(value, id=str(n)) for n, value in enumerate(values)])


def find(**filters: Any) -> CurrentCallsRequest:
    return CurrentCallsRequest(organization=ACME, **filters)


def update(**changes: Any) -> UpdateCallRequest:
    return UpdateCallRequest(**{"organization": ACME, "transaction_id": "T", "new_external_unique_id": "n", **changes})


def client(**settings: Any) -> CallsInProgressClient:
    return CallsInProgressClient(**{"token": TOKEN, **settings})


def rejection(make: Callable[[], Any]) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as raised:
        make()
    error = raised.value
    text = str(error)
    assert isinstance(error, ValueError)
    assert text.isprintable(), text
    assert len(text) < 300
    assert text.startswith(f"{error.parameter} ")
    assert PHONE not in text
    assert TOKEN not in text
    assert (str(pickle.loads(pickle.dumps(error))), error.attempts) == (text, ())
    return error


IDS: list[Any] = [0, -1, 2**63, 10**30, True, False, 1.0, 25.5, math.nan, "", " 25", "25 ", "+25", "-1", "1_0", "0x19",
                  "25.0", "٢٥", "²", "0", str(2**63), "9" * 21, "9" * 5000, None, b"25", [25], *HOSTILE]  # fmt: skip


@each(*IDS)
def test_an_organizations_id_is_a_positive_integer(value: Any) -> None:
    """Booleans, floats, zero, integers beyond 2^63-1 and text other than digits are rejected."""
    assert rejection(lambda: Organization(value, "network")).parameter == "id"


@each(1, 25, "25", "007", 2**63 - 1, str(2**63 - 1))
def test_an_organizations_id_may_be_its_digits(value: Any) -> None:
    """Text of digits is the number."""
    assert Organization.network(value).id == Organization.advertiser(value).id == int(value)


def test_an_id_of_an_enum_is_its_number() -> None:
    """An int of a class of its own does not go to the wire by its name."""
    mine = enum.Enum("Mine", {"ACME": 25}, type=int)
    assert (type(Organization(mine.ACME, "network").id), str(Organization(mine.ACME, "network"))) == (int, "network:25")


@each("", "networks", "net work", "advertiser\n", None, 1, True, *HOSTILE)
def test_an_organizations_type_is_one_of_two(value: Any) -> None:
    """Anything but network and advertiser is rejected."""
    assert rejection(lambda: Organization(1, value)).parameter == "type"


@pytest.mark.parametrize("text", ["advertiser:25", "Advertiser:25", "ADVERTISER:25", " advertiser : 25 "])
def test_an_organization_is_read_from_text(text: str) -> None:
    """Parse reads the result of str, in any case."""
    assert Organization.parse(text) == ACME == Organization.parse(str(ACME))
    assert hash(Organization.parse(text)) == hash(ACME)


@pytest.mark.parametrize(
    ("text", "parameter"),
    [("", "organization"), ("25", "organization"), ("advertiser", "organization"), ("advertiser:25:1", "organization"),
     (None, "organization"), (25, "organization"), (b"advertiser:25", "organization"), ("advertiser:", "id"),
     (":25", "type"), ("25:advertiser", "id"), ("advertiser:-5", "id"), ("advertiser:1.5", "id"),
     *(pytest.param(value, "organization", id=f"hostile{n}") for n, value in enumerate(HOSTILE))],
)  # fmt: skip
def test_text_that_is_no_organization_is_rejected(text: Any, parameter: str) -> None:
    """Parse names the wrong part."""
    assert rejection(lambda: Organization.parse(text)).parameter == parameter


BAD_TRANSACTIONS = ["", " ", "A" * 33, "a_b", "a b", "a\n", "a\x00", "é", "\ud800", "a+b", "\u0661", 5, True, *HOSTILE]
BAD_TEXTS = [
    "",
    " ",
    "\t",
    "a\nb",
    "a\x00",
    "\x7f",
    "a\x85b",
    "a\u2028b",
    "a\u2029b",
    "\ud800",
    5,
    True,
    b"a",
    *HOSTILE,
]


@each(*BAD_TRANSACTIONS)
@pytest.mark.parametrize("make", [find, update])
def test_a_transaction_id_is_up_to_32_letters_digits_and_hyphens(make: Any, value: Any) -> None:
    """Anything else is rejected, by a find and by an update."""
    assert rejection(lambda: make(transaction_id=value)).parameter == "transaction_id"


@each("A", "TransactionID-890", "a" * 32, "-")
def test_a_transaction_id_may_be_in_lower_case(value: str) -> None:
    """The vendor's own examples are."""
    assert find(transaction_id=value).transaction_id == update(transaction_id=value).transaction_id == value


@each(*BAD_TEXTS)
@pytest.mark.parametrize(
    ("make", "parameter"),
    [(find, "external_unique_id"), (update, "external_unique_id"), (update, "new_external_unique_id")],
)
def test_an_external_id_is_text_without_control_characters(make: Any, parameter: str, value: Any) -> None:
    """Empty, blank, with a control character, a lone surrogate or no text at all: rejected."""
    assert rejection(lambda: make(**{parameter: value})).parameter == parameter


@each(*(value for value in BAD_TEXTS if value.__hash__))
def test_a_name_of_custom_data_is_text_without_control_characters(value: Any) -> None:
    """The rules of ids hold for names."""
    assert rejection(lambda: update(custom_data={value: "x"})).parameter == "custom_data name"


@each(None, "", 5, 5309991234, True, b"x", "\x00", "a\x08", "\x0b", "\x0c", "\x1f", "\x1b[31m", "\ud800", *HOSTILE)
def test_a_value_of_custom_data_is_text(value: Any) -> None:
    """Removal (None), emptiness, control characters and other types are rejected; the value is not shown."""
    assert (
        rejection(lambda: update(custom_data={"Call Disposition": value})).parameter
        == "custom_data['Call Disposition']"
    )


@each(" ", "a\nb", "a\r\nb", "a\tb", "\x7f", "é\U0001f4de", "x" * 100_000)
def test_a_value_of_custom_data_may_hold_newlines_and_tabs(value: str) -> None:
    """Other characters below U+0020 are rejected; newlines and tabs are valid."""
    assert update(custom_data={"n": value}).custom_data == {"n": value}


@each("text", ["ab"], [("a", "b")], {"ab"}, 5, *(v for v in HOSTILE if v != {}))
def test_custom_data_is_a_mapping(value: Any) -> None:
    """Anything but a mapping is rejected, even a list of two-letter texts."""
    assert rejection(lambda: update(custom_data=value)).parameter == "custom_data"


def test_an_update_keeps_its_own_copy_of_custom_data() -> None:
    """Later changes to the caller's dict do not reach the request."""
    mine = {"a": "b"}
    request = update(custom_data=mine)
    mine.clear()
    assert request.custom_data == {"a": "b"}


@pytest.mark.parametrize("named", [{}, {"transaction_id": None}, {"external_unique_id": None}])
def test_an_update_names_its_call(named: Any) -> None:
    """One of the two ids is needed."""
    make = lambda: UpdateCallRequest(organization=ACME, new_external_unique_id="x", **named)  # noqa: E731
    assert "name the call" in str(rejection(make))
    assert rejection(make).parameter == "transaction_id"


@pytest.mark.parametrize("custom", [None, {}])
def test_an_update_without_changes_is_rejected(custom: Any) -> None:
    """An update needs a new id or custom data; empty custom data does not count."""
    assert "nothing would change" in str(rejection(lambda: update(new_external_unique_id=None, custom_data=custom)))
    assert update(custom_data=custom).custom_data is None


@each("put", "GET", "DELETE", "", None, 5, *HOSTILE)
def test_an_update_is_a_put_or_a_post(value: Any) -> None:
    """Any other method is rejected."""
    assert rejection(lambda: update(method=value)).parameter == "method"


@each(None, 25, "advertiser:25", (25, "advertiser"), Organization, *HOSTILE)
@pytest.mark.parametrize("kind", [CurrentCallsRequest, UpdateCallRequest])
def test_an_organization_is_an_organization(kind: Any, value: Any) -> None:
    """Text and numbers are rejected, with a hint how to make one."""
    error = rejection(lambda: kind(organization=value, transaction_id="T"))
    assert error.parameter == "organization"
    assert "Organization.advertiser(25)" in str(error)


MESSAGES: list[Any] = [
    (lambda: Organization(True, "network"), "id must be an integer from 1 to 2^63-1, such as 25, got True"),
    (lambda: Organization(0, "network"), "id must be an integer from 1 to 2^63-1, such as 25, got 0"),
    (lambda: Organization(1, "net"), """type must be "network" or "advertiser", got 'net'"""),
    (lambda: Organization.parse("25"), """organization must be text such as "advertiser:25", got '25'"""),
    (lambda: find(transaction_id="a_b"), """transaction_id must be 1 to 32 letters, digits and "-", got 'a_b'"""),
    (lambda: find(external_unique_id=5), "external_unique_id must be text, got 5"),
    (lambda: find(external_unique_id=""),
     "external_unique_id is empty, leave it out or pass None if there is none"),
    (lambda: find(external_unique_id="a\n"), r"external_unique_id must not hold a control character, got 'a\n'"),
    (lambda: find(external_unique_id="\ud800"),
     r"external_unique_id must not hold a lone surrogate, got '\ud800'"),
    (lambda: find(calling_phone_number=PHONE),
     "destination_phone_number is missing: the API takes both phone numbers or neither"),
    (lambda: find(calling_phone_number="", destination_phone_number=PHONE),
     'calling_phone_number must be text such as "+18005551234", got empty text or no Unicode'),
    (lambda: find(calling_phone_number=5, destination_phone_number=PHONE),
     """calling_phone_number must be text such as "+18005551234", got <class 'int'>"""),
    (lambda: update(transaction_id=None), "transaction_id is missing: name the call by it or by external_unique_id"),
    (lambda: update(new_external_unique_id=None),
     "new_external_unique_id is missing, and so is custom_data: nothing would change"),
    (lambda: update(custom_data=5), "custom_data must be a mapping of names to values, got <class 'int'>"),
    (lambda: update(custom_data={"a": None}),
     "custom_data['a'] cannot be removed (None): the API adds and updates custom data only"),
    (lambda: update(custom_data={"a": 5}), "custom_data['a'] must be text, got <class 'int'>"),
    (lambda: update(custom_data={"a": ""}),
     "custom_data['a'] is empty, and the API has no removal; pass text or leave the name out"),
    (lambda: update(custom_data={"a": "\x1b"}),
     "custom_data['a'] holds a control character other than newline and tab, remove it"),
    (lambda: update(method="GET"), """method must be "PUT" or "POST", got 'GET'"""),
    (lambda: client(validate_phone_numbers="on"),
     """validate_phone_numbers must be "possible", "valid" or "off", got 'on'"""),
    (lambda: client(timeout=0), "timeout must be a finite number of seconds above 0 or None, got 0"),
    (lambda: client(connect_timeout=-1), "connect_timeout must be a finite number of seconds above 0, got -1"),
    (lambda: RetryPolicy(initial=-1), "initial must be a finite number of seconds of at least 0, got -1"),
    (lambda: client(max_connections=0), "max_connections must be a whole number of at least 1, got 0"),
    (lambda: client(strict=1), "strict must be True or False, got 1"),
    (lambda: client(rate_limit=5), "rate_limit must be a RateLimit or None, got 5"),
    (lambda: client(token=5),
     "token is not text, pass the API token: visible ASCII characters, no spaces or line ends"),
    (lambda: client(token=""), "token is empty, pass the API token: visible ASCII characters, no spaces or line ends"),
    (lambda: client(token="a b"),
     "token is malformed, pass the API token: visible ASCII characters, no spaces or line ends"),
    (lambda: client(network="a.b"),
     """network must be a subdomain such as "acme" for https://acme.invoca.net, got 'a.b'"""),
    (lambda: client(api_version="1"), """api_version must be a date such as "2022-08-01", got '1'"""),
    (lambda: client(default_region="USA"),
     """default_region must be the two letters of a region, such as "US", got 'USA'"""),
    (lambda: client(default_region="UK"),
     """default_region must be the two letters of a region, such as "US" ("GB" is meant), got 'UK'"""),
    (lambda: client(base_url="x"), 'base_url is not a URL, pass one such as "https://invoca.net"'),
    (lambda: client(base_url="https://a:b@c"),
     "base_url holds credentials, a query or a fragment, pass scheme, host and path only"),
    (lambda: client(base_url="http://c"), "base_url is http://, which would send the token in the clear, use https://"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), MESSAGES, ids=range(len(MESSAGES)))
def test_a_message_names_the_parameter_and_the_remedy(make: Any, message: str) -> None:
    """Each message is compared word by word."""
    assert str(rejection(make)) == message


def test_a_request_prints_no_phone_number_and_no_value() -> None:
    """Phone numbers and values may be a caller's, and are left out."""
    asked = repr(find(transaction_id="T", calling_phone_number=PHONE, destination_phone_number="+18005551234"))
    assert "transaction_id='T'" in asked
    assert "calling_phone_number='...34', destination_phone_number='...34'" in asked
    assert PHONE not in asked
    assert "calling_phone_number=None" in repr(find())
    for number, shown in (("1234", "..."), ("12345", "...5"), ("123456", "...56")):
        assert f"calling_phone_number='{shown}'," in repr(
            find(calling_phone_number=number, destination_phone_number=PHONE)
        )
    written = repr(update(custom_data={"Caller": PHONE, "b": "c"}))
    assert "custom_data=['Caller', 'b']" in written
    assert PHONE not in written
    assert "custom_data=None" in repr(update())


@pytest.mark.parametrize("given_one", ["calling_phone_number", "destination_phone_number"])
def test_one_phone_number_needs_the_other(given_one: str) -> None:
    """The error names the missing number."""
    error = rejection(lambda: find(**{given_one: PHONE}))
    assert {given_one, error.parameter} == {"calling_phone_number", "destination_phone_number"}


@each("", " ", "\ud800" + PHONE, 5309991234, True, b"5309991234", *HOSTILE)
@pytest.mark.parametrize("parameter", ["calling_phone_number", "destination_phone_number"])
def test_a_phone_number_is_text(parameter: str, value: Any) -> None:
    """Anything but text is rejected when the request is made, and is not shown."""
    both = {"calling_phone_number": PHONE, "destination_phone_number": PHONE}
    assert rejection(lambda: find(**{**both, parameter: value})).parameter == parameter


NUMBERS: list[Any] = [
    ("possible", PHONE + "99", "is not a possible phone number: it is too long"),
    ("possible", "530999123", "is not a possible phone number: it is too short"),
    ("possible", "9991234", "it can only be dialled locally, add the area code"),
    ("possible", "+8005309991234567", "is not a possible phone number"),
    ("possible", "+999 5309991234", "cannot be read as a phone number"),
    ("possible", "hello", "cannot be read as a phone number"),
    ("possible", "+", "cannot be read as a phone number"),
    ("possible", "5" * 1000, "cannot be read as a phone number"),
    ("possible", PHONE + " ext. 5", "has an extension"),
    ("valid", "+15559999999", "is not a valid phone number"),
    ("valid", "+1 555 99", "is not a possible phone number"),
    ("possible", "+49 15 1", "is not a possible phone number"),
    ("possible", "+722222222222", "it has a length that no number of its country has"),
]


@pytest.mark.parametrize(("validate", "number", "reason"), NUMBERS)
async def test_an_impossible_number_is_rejected(validate: Any, number: str, reason: str) -> None:
    """The error names the parameter and the reason without the number, and nothing is sent."""
    async with RawServer() as server, server.client(validate_phone_numbers=validate) as mine:
        for parameter in ("calling_phone_number", "destination_phone_number"):
            numbers = {"calling_phone_number": "+18005551234", "destination_phone_number": "+18005551234"}
            with pytest.raises(InvalidRequestError) as raised:
                await mine.find(ACME, **{**numbers, parameter: number})
            error = rejection(lambda: (_ for _ in ()).throw(raised.value))
            assert error.parameter == parameter
            assert reason in str(error)
            assert number not in str(error)
        assert server.connections == 0


@pytest.mark.parametrize("number", ["+15559999999", "555-999-9999", "1 (555) 999.9999", " +1\u00a0555 999 9999 "])
async def test_the_vendors_own_example_is_possible(number: str) -> None:
    """The default, "possible", takes +1 555 999 9999 in any format."""
    async with RawServer([NO_CALLS]) as server, server.client() as mine:
        await mine.find(ACME, calling_phone_number=number, destination_phone_number="866-555-1234")
        assert server.seen[0].arguments["calling_phone_number"] == ["+15559999999"]


SECONDS: list[Any] = [-1, math.nan, math.inf, -math.inf, 10**400, "5", True, b"", *HOSTILE]
SETTINGS: list[Any] = [
    ("token", ["", " ", "a b", "a\n", "é", "\x7f", "a\x00", None, 5, b"abc", "\ud800", *HOSTILE]),
    ("base_url", ["", "invoca.net", "ftp://invoca.net", "https://", "https:///x", "https://x:99999", "https://x:a",
                  "https://[::1", "https://user:pw@invoca.net", "https://invoca.net?x=1", "https://invoca.net?",
                  "https://invoca.net#a", "https://invo ca.net", "https://invoca.net\n", "https://ünvoca.net",
                  "https://invoca.net\\@evil.example", "https://invoca.net\\.evil.example", "//invoca.net", "https://a..b",
                  "https://.", "https://x%2f.com", f"https://{'a' * 64}.com", f"https://{'a.' * 127}b", "https://127.256.0.1",
                  "http://127.256.0.1", "https://2130706433", "https://[1]", None, 5, *HOSTILE]),
    ("network", ["", "-a", "a-", "a.b", "a" * 64, "a_b", "a/b", "é", "\u017f", "a\n", 5, True, *HOSTILE]),
    ("api_version", ["", "2022-8-1", "20220801", "2022-08-01/", "v1", "2022-08-01\n",
     "\u0662\u0660\u0662\u0662-08-01", None, 2022, *HOSTILE]),
    ("organization_type_case", ["", "Lower", "upper", None, True, *HOSTILE]),
    ("default_region", ["", "USA", "1", "U1", "ÅÅ", None, 1, *HOSTILE]),
    ("validate_phone_numbers", ["", "on", True, None, *HOSTILE]),
    ("strict", [1, 0, "yes", None, *HOSTILE]),
    ("trust_env", [1, 0, "yes", None, *HOSTILE]),
    ("retry", [None, 3, RetryPolicy, *HOSTILE]),
    ("rate_limit", [5, "5/s", True, *HOSTILE]),
    ("timeout", [0, *SECONDS]),
    ("attempt_timeout", [0, *SECONDS]),
    ("connect_timeout", [0, None, *SECONDS]),
    ("max_connections", [0, -1, 1.5, True, None, "5", *(v for v in HOSTILE if v != 10**5000)]),
    ("max_response_size", [0, -1, 1.5, True, None, "5", *(v for v in HOSTILE if v != 10**5000)]),
    ("ssl", [None, 1, "no", *HOSTILE]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [pytest.param(name, value, id=f"{name}-{n}") for name, values in SETTINGS for n, value in enumerate(values)],
)
def test_a_setting_out_of_its_range_is_rejected(name: str, value: Any) -> None:
    """The constructor names the setting."""
    assert rejection(lambda: client(**{name: value})).parameter == name


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout": None},
        {"attempt_timeout": None},
        {"timeout": 5, "attempt_timeout": 0.1, "connect_timeout": 1e-3},
        {"rate_limit": None},
        {"token": "!~"},
        {"default_region": "gb"},
        {"base_url": "https://invoca.net", "network": "acme"},
        {"base_url": f"https://{'a' * 63}.x-1.example."},
        {"base_url": f"https://{'a.' * 126}b"},
        {"base_url": "https://api_1:8443/path"},
        {"base_url": "https://[2001:db8::1]:8443"},
        {"base_url": "https://192.0.2.1"},
    ],
)
def test_a_setting_within_its_range_is_taken(settings: Any) -> None:
    """The limits themselves are within."""
    assert "CallsInProgressClient" in repr(client(**settings))


def test_network_and_base_url_exclude_each_other() -> None:
    """network= and base_url= both name the host, so both together are rejected."""
    assert rejection(lambda: client(network="acme", base_url="https://example.com")).parameter == "network"


POLICY: list[Any] = [
    ("max_attempts", [0, -1, 1.5, True, None]),
    ("initial", SECONDS),
    ("maximum", SECONDS),
    ("multiplier", [0.99, 0, *SECONDS]),
    ("max_retry_after", SECONDS),
    ("budget", [-1, 1.5, True]),
    ("organization_budget", [-1, 1.5, True]),
    ("budget_refill", SECONDS),
    ("statuses", [{200}, {399}, {600}, {"500"}, {401}, {404}, 5, None, *(v for v in HOSTILE if v not in ({}, []))]),
    ("retry_post", [1, None, "yes"]),
]


@pytest.mark.parametrize(
    ("name", "value"),
    [pytest.param(name, value, id=f"{name}-{n}") for name, values in POLICY for n, value in enumerate(values)],
)
def test_a_retry_setting_out_of_its_range_is_rejected(name: str, value: Any) -> None:
    """RetryPolicy names the setting."""
    assert rejection(lambda: RetryPolicy(**{name: value})).parameter == name


@each(0, *SECONDS)
async def test_a_deadline_of_one_call_is_checked(value: Any) -> None:
    """Find and update reject it before anything is sent."""
    async with RawServer() as server, server.client() as mine:
        for send in (
            lambda: mine.find(ACME, timeout=value),
            lambda: mine.update(ACME, transaction_id="T", new_external_unique_id="x", timeout=value),
        ):
            with pytest.raises(InvalidRequestError, match=r"^timeout must be "):
                await send()
        assert server.connections == 0


@each(b"[]", b'"x"', b"\xff{", b"", [1], 5, "text", {"a": {1: 2, (3,): 4}})
def test_a_payload_for_tests_is_an_object(value: Any) -> None:
    """Call.from_payload rejects anything else, as every other input is rejected."""
    assert rejection(lambda: Call.from_payload(value)).parameter == "payload"


def test_a_payload_for_tests_may_be_strict() -> None:
    """An unreadable field is then named."""
    assert "call.city: is a list" in str(rejection(lambda: Call.from_payload({"city": []}, strict=True)))


@given(st.text())
def test_any_text_is_accepted_or_rejected_in_one_line(value: str) -> None:
    """No text makes a check fail with anything but InvalidRequestError."""
    for make in (
        lambda: find(transaction_id=value),
        lambda: find(external_unique_id=value),
        lambda: find(calling_phone_number=value, destination_phone_number=value),
        lambda: update(custom_data={value: value}),
        lambda: Organization.parse(value),
        lambda: client(base_url=value),
        lambda: client(network=value),
        lambda: client(token=value),
    ):
        with suppress(InvalidRequestError):
            make()


def _fail(count: Any) -> bool:
    server = SandboxServer()
    server.fail_next(count, status=503)
    return server._handler.fault_injector.draw(None, ()) is not None


def _script(entry: Any) -> bool:
    return ScriptedTransport(entry) is not None


@pytest.mark.parametrize(
    "is_accepted",
    [
        lambda: Organization.advertiser(Int64(2)) == Organization.advertiser(2),  # type: ignore[arg-type]
        lambda: RetryPolicy(max_attempts=Int64(2), statuses={Int64(503)}).statuses == {503},  # type: ignore[arg-type]
        lambda: CallsInProgressClient(token="t", max_connections=Int64(5)) is not None,  # type: ignore[arg-type]
        lambda: SandboxServer(organizations=Int64(2)).organizations[1:] == [Organization.advertiser(2)],
        lambda: _fail(Int64(1)) and not _fail(Int64(0)),
        lambda: _script(Int64(503)),
        lambda: type(status(Int64(503)).status) is int,  # type: ignore[arg-type]
        lambda: type(BoardSettings(history=[(1, Int64(3))]).history[0][1]) is int,  # type: ignore[list-item]
        lambda: BoardSettings(max_browsers=Int64(3), batch_seconds=Fraction(1, 2)).max_browsers == 3,  # type: ignore[arg-type]
    ],
)
def test_an_integer_of_another_library_is_an_integer(is_accepted: Callable[[], bool]) -> None:
    """Ids, counts and statuses come from data frames."""
    assert is_accepted()


@each(True, None, "5", *HOSTILE[:4])
def test_anything_but_a_number_is_left_to_the_validator(value: Any) -> None:
    """Converting the numbers of other libraries changes nothing else."""
    assert validation.plain_number(value) is value
