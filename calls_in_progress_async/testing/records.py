"""Records for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records import Call

# The 555 exchange of the vendor's examples, so that no number is a real person's.
_DEFAULTS: Mapping[str, Any] = {
    "transaction_id": "TEST0000-00000001",
    "call_status": "bridged",
    "calling_phone_number": "+18055550100",
    "destination_phone_number": "+18555550200",
    "bridge_start_time": "2024-02-01T12:00:00+00:00",
}


def make_call(**fields: Any) -> Call:
    """Make a call with some fields; the others are a plain bridged call's.

    Args:
        fields: Fields by the names of `Call` or of the API; None leaves a field out. A time may be an aware datetime.
            Custom data may be ``{"channel": "SEM"}`` for short. Fields unknown to the API are in `Call.extra`.

    Raises:
        InvalidRequestError: A field cannot be read, or JSON cannot hold it.

    Example::

        make_call(transaction_id="ABCD-1", custom_data={"channel": "SEM"})
    """
    payload = {name: value for name, value in {**_DEFAULTS, **fields}.items() if value is not None}
    if isinstance(custom_data := payload.get("custom_data"), Mapping):
        payload["custom_data"] = {name: _custom_field(value) for name, value in custom_data.items()}
    return Call.from_payload(payload, strict=True)


def _custom_field(value: Any) -> Any:
    return {"value": value, "source": "VirtualLine"} if isinstance(value, str) else value
