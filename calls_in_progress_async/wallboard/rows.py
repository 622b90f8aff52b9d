"""One call in the form for the page."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import Any, TypeAlias

from ..organization import Organization
from ..phone_masking import mask_number, mask_repetitions
from ..records import Call
from .display_text import visible
from .settings import BoardSettings

_ELLIPSIS = "…"

Row: TypeAlias = dict[str, Any]
"""The JSON of a call: key, organization, since, caller, place, campaign, status and fields."""


def row_key(organization: Organization, call: Call) -> str:
    """Return the key of a call on the page: 16 hexadecimal digits of a hash of its id."""
    identity = call.transaction_id or call.call_record_id or call.raw_json.decode("utf-8", "replace")
    return blake2b(f"{organization} {identity}".encode("utf-8", "replace"), digest_size=8).hexdigest()


def row(organization: Organization, call: Call, settings: BoardSettings) -> Row:
    """Describe a call by the fields allowed on the page, and no others."""
    number = call.calling_phone_number
    hidden = None if settings.show_numbers else number

    def shown(value: str | None) -> str:
        return visible(mask_repetitions(value or "", hidden, _ELLIPSIS))

    return {
        "key": row_key(organization, call),
        "organization": str(organization),
        "since": _seconds(call.bridged_at or call.started_at),
        "caller": visible(number or "") if settings.show_numbers else mask_number(number, _ELLIPSIS) if number else "",
        "place": shown(", ".join(filter(None, (call.city, call.region)))),
        "campaign": shown(call.advertiser_campaign_name or call.promo_number_description),
        "status": shown(call.call_status),
        "fields": [shown(call.custom_value(name)) for name in settings.fields],
    }


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else round(time.timestamp(), 1)
