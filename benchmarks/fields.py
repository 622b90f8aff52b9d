"""The documented fields of a call, listed by hand: no contender depends on another's records.

Source: the field table of the API's 2024-02 page. It has every field of the revisions since 2023-04.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

TIMES = ("bridge_start_time", "start_time")
TEXTS = (
    "transaction_id",
    "call_status",
    "external_unique_id",
    "calling_phone_number",
    "destination_phone_number",
    "called_phone_number",
    "phone_type",
    "call_record_id",
    "advertiser_campaign_country",
    "advertiser_campaign_id",
    "advertiser_campaign_id_from_network",
    "advertiser_campaign_name",
    "advertiser_id",
    "advertiser_id_from_network",
    "advertiser_name",
    "affiliate_campaign_id_from_network",
    "affiliate_commissions_ranking",
    "affiliate_conversion_rate_ranking",
    "affiliate_id",
    "affiliate_id_from_network",
    "affiliate_name",
    "affiliate_volume_ranking",
    "city",
    "keypress_1",
    "keypress_2",
    "keypress_3",
    "keypress_4",
    "media_type",
    "promo_number_description",
    "promo_number_id",
    "qualified_regions",
    "region",
    "source",
    "verified_zip_code",
    "zip_code",
)
KEYPRESSES, KEYPRESSES_IN_JSON = "keypresses", "key presses"
FLAG = "repeat_calling_phone_number"

read_all: Callable[[Any], tuple[Any, ...]] = attrgetter(*TIMES, *TEXTS, KEYPRESSES, FLAG)
"""Reads every field of a record except its custom data."""
