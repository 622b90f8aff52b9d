"""Bodies of a find: calls with every documented field, 5 custom-data fields and demographics, about 2.1 kB a call.

Made from the vendor's own example in ``tests/data``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "tests" / "data"
BAD_FIELD = {"start_time": "yesterday, at noon"}


@cache
def _template() -> dict[str, Any]:
    call = _first_of("get_calls_in_progress.response-200.json")
    known_caller = _first_of("get_calls_by_phone_number.response-200.json")
    demographics = known_caller["custom_data"]["demographics_data"]
    call["custom_data"]["demographics_data"] = {key: value for key, value in demographics.items() if value}
    return call


def _first_of(example: str) -> dict[str, Any]:
    return json.loads((DATA / "2024-02" / example).read_text())["current_calls"][0]


def call(number: int, **changes: Any) -> dict[str, Any]:
    """Make one call. Ids and phone number are unique."""
    return {
        **_template(),
        "transaction_id": f"ABCD{number:04X}-{number:08X}",
        "call_record_id": f"Z6E5-{number:012X}",
        "calling_phone_number": f"+1555{number % 10**7:07}",
        **changes,
    }


def encode(calls: list[dict[str, Any]]) -> bytes:
    return json.dumps({"current_calls": calls}, separators=(",", ":")).encode()


@cache
def body(count: int) -> bytes:
    """Make a body of ``count`` calls."""
    return encode([call(number) for number in range(count)])


@cache
def body_with_bad_records(count: int) -> bytes:
    """Return the same body with a malformed field in one call of ten."""
    return encode([call(number, **(BAD_FIELD if number % 10 == 0 else {})) for number in range(count)])


@cache
def changing(count: int, share: float, steps: int = 16) -> tuple[bytes, ...]:
    """Return a cycle of bodies. Neighbours, the last and the first included, differ in ``share`` of their calls."""
    changed = round(count * share)
    calls = [call(number) for number in range(count)]
    bodies = [encode(calls)]
    for step in range(1, steps):
        for place in range(changed):
            number = (step * changed + place) % count
            custom_data = calls[number]["custom_data"]
            calls[number] = {**calls[number], "custom_data": {**custom_data, "channel": {"value": f"step {step}"}}}
        bodies.append(encode(calls))
    return (*bodies, *bodies[-2:0:-1])
