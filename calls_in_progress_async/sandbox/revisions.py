"""The fields of a call in each revision of the vendor's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Revision = Literal["2022-09-beta", "2022-09-20", "2022-09-28", "2023-04", "2024-02"]

_IDENTITY = (
    "transaction_id",
    "call_status",
    "external_unique_id",
    "calling_phone_number",
    "destination_phone_number",
)
_BETA = (*_IDENTITY, "call_start_time_utc", "transfer_start_time_utc")
_APRIL = (*_IDENTITY, "called_phone_number", "bridge_start_time", "phone_type")
# The API reference, 2024-02: the fields of an update's response, and of finds from 2023-09 on.
_SEPTEMBER = (*_APRIL, "call_record_id", "custom_data")
_FEBRUARY = (
    *_SEPTEMBER,
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
    # The field table says `keypresses`; every example prints this spelling.
    "key presses",
    "media_type",
    "promo_number_description",
    "promo_number_id",
    "qualified_regions",
    "region",
    "repeat_calling_phone_number",
    "source",
    "start_time",
    "verified_zip_code",
    "zip_code",
)

FIND_FIELDS: Mapping[Revision, tuple[str, ...]] = {
    "2022-09-beta": _BETA,
    "2022-09-20": _BETA,
    "2022-09-28": (*_BETA, "custom_data"),
    "2023-04": (*_APRIL, "custom_data"),
    "2024-02": _FEBRUARY,
}
"""The fields of a call in the response to a find."""

UPDATE_FIELDS: Mapping[Revision, tuple[str, ...]] = {
    "2022-09-beta": (*_BETA, "custom_data"),
    "2022-09-20": (*_BETA, "custom_data"),
    "2022-09-28": _BETA,
    "2023-04": (*_APRIL, "custom_data"),
    "2024-02": _SEPTEMBER,
}
"""The fields of a call in the response to an update."""

KNOWN_FIELDS = frozenset({*_BETA, *_FEBRUARY})
"""Every field of every revision."""
