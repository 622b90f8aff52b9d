"""Faults that were found and are still there: each test here fails until its fault is mended.

A test that passes belongs to the module of its subject.
"""

from __future__ import annotations

from typing import Any

import pytest
from core.servers import ACME, TOKEN

import calls_in_progress_async as sdk
from calls_in_progress_async import CallsInProgressClient


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        (("BASE_URL", "https://env.example"), {"network": "acme"}),
        (("NETWORK", "acme"), {"base_url": "https://my.example"}),
    ],
)
def test_what_is_passed_wins_over_the_other_name_of_the_host(
    variable: tuple[str, str], setting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """client.py: from_env(network=) with CALLS_IN_PROGRESS_BASE_URL set, or the other way round, is refused."""
    for name in ("BASE_URL", "NETWORK"):
        monkeypatch.delenv(f"CALLS_IN_PROGRESS_{name}", raising=False)
    monkeypatch.setenv(f"CALLS_IN_PROGRESS_{variable[0]}", variable[1])
    client = CallsInProgressClient.from_env(token=TOKEN, **setting)
    assert client.base_url == setting.get("base_url", "https://acme.invoca.net")


@pytest.mark.parametrize("request_", [None, "find", sdk.CurrentCallsRequest, ACME])
async def test_what_is_sent_is_a_request(request_: Any) -> None:
    """client.py: send() of something else is an AttributeError."""
    async with CallsInProgressClient(token=TOKEN) as client:
        with pytest.raises(sdk.InvalidRequestError, match=r"^request: "):
            await client.send(request_)


def test_nan_in_a_text_field_is_a_problem() -> None:
    """records/structuring.py, `_respell`: NaN becomes the text "NaN", which no problem lists; `raw` is not exact."""
    from calls_in_progress_async.records.results import structure_calls  # noqa: PLC0415

    calls, _ = structure_calls(b'{"current_calls": [{"city": NaN}]}', strict=False)
    assert (calls[0].city, [problem.path for problem in calls[0].problems]) == (None, ["current_calls[0].city"])


def test_a_field_nested_too_deep_costs_no_other_call() -> None:
    """records/structuring.py: a thousand levels in one field are RecursionError, "the body is not JSON"."""
    from calls_in_progress_async.records.results import structure_calls  # noqa: PLC0415

    deep = b"[" * 2000 + b"]" * 2000
    calls, _ = structure_calls(b'{"current_calls": [{"city": "a"}, {"new": ' + deep + b"}]}", strict=False)
    assert calls[0].city == "a"
