"""Two payloads of a call have the same canonical form exactly if they mean the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls_in_progress_async import Call
from calls_in_progress_async.records.call import meaning

SAME: list[tuple[bytes, bytes]] = [
    (b'{"city":"a","region":"b"}', b'{ "region" : "b",\n"city":"a" }'),
    (b'{"city":"\\u0041"}', b'{"city":"A"}'),
    (b'{"city":null}', b"{}"),
    (b'{"city":""}', b"{}"),
    (b'{"new":""}', b'{"new":null}'),
    (b'{"advertiser_campaign_id":83}', b'{"advertiser_campaign_id":"83"}'),
    (b'{"city":true}', b'{"city":"true"}'),
    (b'{"repeat_calling_phone_number":"yes"}', b'{"repeat_calling_phone_number":true}'),
    (b'{"repeat_calling_phone_number":"FALSE"}', b'{"repeat_calling_phone_number":"no"}'),
    (b'{"key presses":"1"}', b'{"keypresses":"1"}'),
    (b'{"key presses":"1","keypresses":null}', b'{"keypresses":"1"}'),
    (b'{"keypresses":["1", "2"]}', b'{"keypresses":["1","2"]}'),
    (b'{"custom_data":null}', b'{"custom_data":{}}'),
    (b'{"custom_data":{"a":{"value":"b","source":null}}}', b'{"custom_data":{"a":{"source":"","value":"b"}}}'),
    (b'{"custom_data":{"a":{"value":1}}}', b'{"custom_data":{"a":{"value":"1"}}}'),
    (b'{"custom_data":{"a":{"value":""},"b":null}}', b"{}"),
    (b'{"custom_data":[{"name":"a","value":"b"}]}', b'{"custom_data":{"a":{"value":"b"}}}'),
    (b'{"custom_data":{"demographics_data":{"x":""}}}', b"{}"),
    (b'{"new":{"a":1,"b":2}}', b'{"new":{"b":2,"a":1}}'),
    (b'{"city":"a","city":"b"}', b'{"city":"b"}'),
    (b'{"new":NaN}', b'{ "new": NaN }'),
    (b'{"keypresses":"1","key presses":"2"}', b'{"keypresses":"1"}'),
    (b'{"custom_data":{"a":{"value":"b"},"c":null}}', b'{"custom_data":{"a":{"value":"b"}}}'),
    (b'{"custom_data":{"demographics_data":{"x":true}}}', b'{"custom_data":{"demographics_data":{ "x":true}}}'),
]
DIFFERENT: list[tuple[bytes, bytes]] = [
    (b'{"city":"a"}', b'{"city":"b"}'),
    (b'{"city":"a"}', b'{"region":"a"}'),
    (b'{"city":"a"}', b"{}"),
    (b'{"new":83}', b'{"new":"83"}'),
    (b'{"new":true}', b'{"new":1}'),
    (b'{"new":["83"]}', b'{"new":"83"}'),
    (b'{"new":[]}', b"{}"),
    (b'{"new":false}', b"{}"),
    (b'{"advertiser_id":0}', b"{}"),
    (b'{"repeat_calling_phone_number":false}', b"{}"),
    (b'{"repeat_calling_phone_number":"maybe"}', b'{"repeat_calling_phone_number":true}'),
    (b'{"custom_data":{"a":{"value":"b","new":1}}}', b'{"custom_data":{"a":{"value":"b"}}}'),
    (b'{"custom_data":{"demographics_data":{"x":true}}}', b'{"custom_data":{"demographics_data":{"x":"true"}}}'),
    (b'{"custom_data":{"demographics_data":{"x":true}}}', b'{"custom_data":{"demographics_data":{"x":1}}}'),
    (b'{"custom_data":{"a":{"value":"b"},"c":{"value":"d"}}}', b'{"custom_data":{"a":{"value":"b"}}}'),
    (b'{"keypresses":"1","key presses":"2"}', b'{"keypresses":"2","key presses":"1"}'),
    (b'{"custom_data":{"a":5}}', b'{"custom_data":{"a":6}}'),
    (b'{"custom_data":[5]}', b'{"custom_data":[6]}'),
    (b'{"custom_data":5}', b'{"custom_data":"5"}'),
    (b'{"city":{"a":1}}', b'{"city":{"a":2}}'),
    (b"[]", b"{}"),
    (b"[", b"{"),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=range(len(SAME)))
def test_payloads_that_mean_the_same_are_equal(one: bytes, other: bytes) -> None:
    """Null, "" and left out are the same; so are a scalar and its text, two orders of keys, and two spellings."""
    assert meaning(one) == meaning(other)
    assert Call.from_payload(one) == Call.from_payload(other)
    assert hash(Call.from_payload(one)) == hash(Call.from_payload(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_payloads_that_differ_are_not_equal(one: bytes, other: bytes) -> None:
    """A number in an unknown field is no text, and false is a value."""
    assert meaning(one) != meaning(other)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(st.sampled_from(["city", "transaction_id", "new", "custom_data", "key presses"]), VALUES))
def test_spelling_never_matters(payload: dict[str, Any]) -> None:
    """The order of keys, indentation and escapes change no meaning, and the form can be written as JSON."""
    backwards = dict(reversed(payload.items()))
    spelled = json.dumps(backwards, indent=2).encode(), json.dumps(payload, ensure_ascii=False).encode()
    assert meaning(spelled[0]) == meaning(spelled[1])
    assert json.dumps(meaning(spelled[0]), sort_keys=True) == json.dumps(meaning(spelled[1]), sort_keys=True)
