"""The settings of a rate limit reject bad values by name, and read the state of an earlier run."""

import json
import math
import typing
from decimal import Decimal
from fractions import Fraction

import pytest

from calls_in_progress_async.errors import InvalidRequestError
from calls_in_progress_async.limits.adaptive import Adaptation
from calls_in_progress_async.limits.learnt_state import LearntLimit, read_state
from calls_in_progress_async.limits.settings import RateLimit

BAD_NUMBERS = [0, -1, math.nan, math.inf, True, "5", 10**400, Decimal(1), [1]]
BAD = [
    *[("rate", bad) for bad in [*BAD_NUMBERS, None]],
    *[("burst", bad) for bad in [*BAD_NUMBERS, 0.5]],
    *[("per_organization_rate", bad) for bad in BAD_NUMBERS],
    *[("per_organization_burst", bad) for bad in [*BAD_NUMBERS, 0.5, 3]],
    *[("max_wait", bad) for bad in [-1, math.nan, math.inf, False, "5"]],
    *[("max_buckets", bad) for bad in [*BAD_NUMBERS[:-4], 1.5]],
    *[("catch_up", bad) for bad in [-1, math.nan, math.inf, True, "5", None]],
    ("adaptation", {"initial": 5}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_setting_is_rejected_by_name(name, value):
    """Check every field when the settings are made."""
    with pytest.raises(InvalidRequestError, match=name) as caught:
        RateLimit(**{"rate": 5.0, name: value})
    assert caught.value.parameter == name


BAD_ADAPTIVE = [
    ("initial", 0.1), ("initial", 2000), ("initial", True), ("floor", 0), ("floor", 20), ("ceiling", math.inf),
    ("ceiling", "9"), ("increase", 0), ("increase", math.nan), ("decrease", 1), ("decrease", 0), ("burst", 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_ADAPTIVE)
def test_a_bad_adaptive_setting_is_rejected_by_name(name, value):
    """Check the adaptive settings as strictly as the others."""
    with pytest.raises(InvalidRequestError) as caught:
        RateLimit.adaptive(**{name: value})
    assert caught.value.parameter == ("initial" if name == "floor" and value == 20 else name)


def test_the_defaults_of_an_adaptive_limit_are_the_documented_ones():
    """Pass arguments without a parameter of their own to the settings."""
    plain = RateLimit.adaptive()
    assert plain.adaptation == Adaptation(initial=10, floor=0.5, ceiling=1000, increase=0.2, decrease=0.9)
    assert plain.adaptation == Adaptation()
    assert (plain.rate, plain.burst, plain.catch_up) == (10, 1, 0.002)
    given = RateLimit.adaptive(
        initial=5, floor=2, ceiling=7, increase=0.3, decrease=0.8, burst=3, catch_up=0, max_wait=1
    )
    assert given.adaptation == Adaptation(initial=5, floor=2, ceiling=7, increase=0.3, decrease=0.8)
    assert (given.rate, given.burst, given.catch_up, given.max_wait) == (5, 3, 0, 1)


@pytest.mark.parametrize(("rate", "burst"), [(0.5, 1), (5, 1), (200, 20)])
def test_the_default_burst_is_a_tenth_of_a_second_and_at_least_one(rate, burst):
    """A burst smaller than one request could never be sent."""
    assert RateLimit(rate=rate).burst == burst


FRACTIONS = {"rate": Fraction(5, 2), "per_organization_rate": Fraction(1, 2), "max_wait": Fraction(3, 2)}


def test_numbers_of_other_libraries_become_pythons_own():
    """A Fraction, and numpy's numbers if numpy is installed, are numbers; the arithmetic stays in Python's floats."""
    limit = RateLimit(**FRACTIONS)
    assert [(type(getattr(limit, name)), getattr(limit, name)) for name in FRACTIONS] == [
        (float, 2.5), (float, 0.5), (float, 1.5),
    ]  # fmt: skip
    assert type(RateLimit.adaptive(initial=Fraction(5, 2)).rate) is float
    numpy = pytest.importorskip("numpy")
    limit = RateLimit(rate=numpy.float32(2.5), burst=numpy.int64(3), max_buckets=numpy.int16(7))
    assert [type(each) for each in (limit.rate, limit.burst, limit.max_buckets)] == [float, int, int]
    assert (limit.rate, limit.burst, limit.max_buckets) == (2.5, 3, 7)
    with pytest.raises(InvalidRequestError, match="rate"):
        RateLimit(rate=numpy.float64("nan"))
    with pytest.raises(InvalidRequestError, match="rate"):
        RateLimit(rate=numpy.bool_(True))


def state_of(entry, **more):
    return {"version": 1, "limits": {"x": entry}, **more}


GOOD = {"rate": 1, "limit": 2.5}
BAD_STATES = [
    [], "x", 5, {}, {"version": 1}, {"version": 1, "limits": 3}, {"version": 1, "limits": []},
    state_of(GOOD, version=2), state_of(GOOD, version=True), state_of(GOOD, version=1.0), state_of(GOOD, version=None),
    state_of(3), state_of([]), state_of({}), state_of({"rate": 1}), state_of({"limit": 1}),
    state_of({"rate": None, "limit": 1}),
    *[state_of({"rate": bad, "limit": 1}) for bad in BAD_NUMBERS],
    *[state_of({"rate": 1, "limit": bad}) for bad in BAD_NUMBERS],
    {"version": 1, "limits": {3: GOOD}},
]  # fmt: skip


@pytest.mark.parametrize("state", BAD_STATES)
def test_a_bad_state_is_rejected_by_name(state):
    """The error is about ``state``, and comes when the settings are made."""
    with pytest.raises(InvalidRequestError, match=r"^state") as caught:
        RateLimit.adaptive(state=state)
    assert caught.value.parameter == "state"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"version": 1, "limits": {"ab12": {"rate": NaN, "limit": null}}}', "ab12.*rate"),
        ('{"version": 1, "limits": {"ab12": {"rate": 1e999, "limit": null}}}', "ab12.*rate"),
        ('{"version": 1, "limits": {"ab12": {"rate": 5, "limit": -1}}}', "ab12.*limit"),
    ],
)
def test_the_error_names_the_bad_number_in_the_state(text, match):
    """The digest and the field are in the message."""
    with pytest.raises(InvalidRequestError, match=match):
        RateLimit.adaptive(state=json.loads(text))


def test_a_good_state_is_read():
    """Return the learnt limits by digest; a limit may be unknown."""
    state = {"version": 1, "limits": {"x": GOOD, "y": {"rate": 3, "limit": None, "later": "field"}}}
    assert read_state(state) == {"x": LearntLimit(1.0, 2.5), "y": LearntLimit(3.0, None)}


@pytest.mark.parametrize("settings", [RateLimit, Adaptation, LearntLimit])
def test_the_types_of_the_settings_can_be_read_at_run_time(settings):
    """A dependency injector sees the numbers of the constructor, not the hints of a converter."""
    hints = typing.get_type_hints(settings.__init__)
    assert {hint for name, hint in hints.items() if name in ("rate", "burst", "initial", "floor", "catch_up")} == {
        float
    }
    assert hints.get("max_wait", float | None) == float | None
    assert hints.get("max_buckets", int) is int
