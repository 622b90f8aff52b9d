"""A call, as each revision of the vendor's page prints it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Revision = Literal["2022-09-beta", "2022-09-20", "2022-09-28", "2023-04", "2024-02"]
Fields = dict[str, Any]

_IDENTITY = (
    "transaction_id",
    "call_status",
    "external_unique_id",
    "calling_phone_number",
    "destination_phone_number",
)
_BETA = (*_IDENTITY, "call_start_time_utc", "transfer_start_time_utc")
_APRIL = (*_IDENTITY, "called_phone_number", "bridge_start_time", "phone_type")
# The API reference, 2024-02: what an update returns, and what a find returned from 2023-09 on.
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
    # The field table says `keypresses`; every example prints it so.
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

_FIND_FIELDS: Mapping[Revision, tuple[str, ...]] = {
    "2022-09-beta": _BETA,
    "2022-09-20": _BETA,
    "2022-09-28": (*_BETA, "custom_data"),
    "2023-04": (*_APRIL, "custom_data"),
    "2024-02": _FEBRUARY,
}
_UPDATE_FIELDS: Mapping[Revision, tuple[str, ...]] = {
    "2022-09-beta": (*_BETA, "custom_data"),
    "2022-09-20": (*_BETA, "custom_data"),
    "2022-09-28": _BETA,
    "2023-04": (*_APRIL, "custom_data"),
    "2024-02": _SEPTEMBER,
}
_KNOWN = frozenset({*_BETA, *_FEBRUARY})
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def encode(value: object) -> bytes:
    """Returns the value as compact JSON."""
    return _ENCODER.encode(value).encode()


def found_call(revision: Revision, fields: Fields) -> Fields:
    """Returns a call as a find of this revision shows it."""
    return _shown(revision, _FIND_FIELDS[revision], fields)


def found_body(revision: Revision, encoded_calls: Iterable[bytes]) -> bytes:
    """Returns the body of a find, from calls that are JSON already."""
    # The API reference: "the 2022-09 beta page wrote `calls_in_progress` for the same list".
    name = b"calls_in_progress" if revision == "2022-09-beta" else b"current_calls"
    return b'{"%b":[%b]}' % (name, b",".join(encoded_calls))


def updated_body(revision: Revision, fields: Fields, written: Mapping[str, str]) -> bytes:
    """Returns the body of an update's answer.

    Args:
        revision: The page to follow.
        fields: The call's fields.
        written: The custom data that this update wrote, by name.
    """
    call = _shown(revision, _UPDATE_FIELDS[revision], fields)
    if revision in ("2022-09-beta", "2022-09-20"):
        call["custom_data"] = _echo(revision, written)
    if revision.startswith("2022"):
        return encode({"current_call": call})
    return encode({"current_calls": [call]})


def _echo(revision: Revision, written: Mapping[str, str]) -> object:
    """Returns custom data as the first two pages' update examples print it.

    They answer with what was written, the beta as a list; both with `[]` where nothing was. The pages after them show
    nothing that an update wrote: "not visible in the update's response nor in later finds".
    """
    source = "CallsInProgressAPI"
    if revision == "2022-09-beta" or not written:
        return [
            {"source": source, "name": name, "value": value, "data_type": "Short Text"}
            for name, value in written.items()
        ]
    return {name: {"value": value, "source": source} for name, value in written.items()}


def _shown(revision: Revision, names: tuple[str, ...], fields: Fields) -> Fields:
    # Fields that no page knows are shown by all: the API reference, "new ones appear without notice".
    shown = {name: value for name, value in fields.items() if name in names or name not in _KNOWN}
    # `demographics_data` came with the page of 2023-04.
    if revision == "2022-09-28" and "custom_data" in shown:
        shown["custom_data"] = {k: v for k, v in shown["custom_data"].items() if k != "demographics_data"}
    return shown
