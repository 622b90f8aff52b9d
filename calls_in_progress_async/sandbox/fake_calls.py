"""Made-up callers and campaigns: the fields of a call at its start, and the changes during its life."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeVar

from ..organization import Organization
from .payloads import Fields
from .revisions import Revision

_T = TypeVar("_T")

CALL_BITS = 320
"""Random bits to make a call of."""

_AREA_CODES = ("201", "212", "305", "312", "404", "415", "512", "602", "617", "702", "713", "805", "818", "916")
_CITIES = (
    ("New York", "North East", "10001"),
    ("Santa Barbara", "West", "93101"),
    ("Chicago", "Mid West", "60601"),
    ("Austin", "South", "73301"),
    ("Fresno", "West", "93703"),
)
_CHANNELS = (("SEM", "google.com"), ("SEO", "bing.com"), ("Social", "facebook.com"), ("Email", "newsletter"))
# The offset in the API reference's examples.
_ZONE = timezone(timedelta(hours=-7))


class _Draw:
    """Small random numbers out of one large number, several times as fast as one draw for each."""

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def below(self, limit: int) -> int:
        self._bits, number = divmod(self._bits, limit)
        return number

    def choice(self, options: Sequence[_T]) -> _T:
        return options[self.below(len(options))]


def transaction_id_of(bits: int) -> str:
    """Return the transaction id of the call made by `new_call` of the same bits."""
    identity = f"{bits % 2**64:016X}"
    return f"{identity[:8]}-{identity[8:]}"


def new_call(bits: int, organization: Organization, bridged: datetime) -> Fields:
    """Return a call's fields, those of every revision.

    Args:
        bits: `CALL_BITS` random bits, the source of all made-up values.
        organization: The call's organization.
        bridged: The moment of the transfer to the destination.
    """
    draw = _Draw(bits)
    identity = f"{draw.below(2**64):016X}"
    started = bridged - timedelta(seconds=5 + draw.below(115))
    return {
        "transaction_id": transaction_id_of(bits),
        "call_status": "bridged",
        "external_unique_id": None,
        # The 555 exchange of the examples, so that no made-up number is a real person's.
        "calling_phone_number": f"+1{draw.choice(_AREA_CODES)}555{draw.below(10_000):04}",
        "destination_phone_number": f"+1855555{organization.id % 10_000:04}",
        "called_phone_number": f"+1855717{draw.below(10_000):04}",
        "call_start_time_utc": _utc(started),
        "transfer_start_time_utc": _utc(bridged),
        "bridge_start_time": _local(bridged),
        "call_record_id": f"{identity[-4:]}-{identity[:12]}",
        "phone_type": draw.choice(("Mobile", "Landline")),
        **_campaign(draw, organization),
        **_caller(draw),
        "keypress_1": None,
        "keypress_2": None,
        "keypress_3": None,
        "keypress_4": None,
        "key presses": "",
        "start_time": _local(started),
        "custom_data": _custom_data(draw),
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _local(moment: datetime) -> str:
    return moment.astimezone(_ZONE).isoformat(timespec="seconds")


def _campaign(draw: _Draw, organization: Organization) -> Fields:
    number, campaign, affiliate = organization.id, 100 + draw.below(20), 600 + draw.below(40)
    return {
        "advertiser_campaign_country": "USA",
        "advertiser_campaign_id": f"SampleCampaignID-{campaign}",
        "advertiser_campaign_id_from_network": f"NetworkCampaignID-{campaign + 300}",
        "advertiser_campaign_name": f"Sample Campaign Name {campaign}",
        "advertiser_id": f"AdvertiserID-{number}",
        "advertiser_id_from_network": f"NetworkAdvertiserID-{number}",
        "advertiser_name": f"Sample Advertiser Name {number}",
        "affiliate_campaign_id_from_network": f"NetworkAffiliateCampaignID-{campaign}",
        "affiliate_commissions_ranking": "Top 10%",
        "affiliate_conversion_rate_ranking": "Top 20%",
        "affiliate_id": f"AffiliateID-{affiliate}",
        "affiliate_id_from_network": f"NetworkAffiliateID-{affiliate}",
        "affiliate_name": f"Sample Affiliate Name {affiliate}",
        "affiliate_volume_ranking": "Top 5%",
        "media_type": draw.choice(("Online", "Offline")),
        "promo_number_description": f"Sample Promo Description {campaign}",
        "promo_number_id": f"PromoID-{campaign}",
        "qualified_regions": "East Coast",
        "source": "Web",
    }


def _caller(draw: _Draw) -> Fields:
    city, region, zip_code = draw.choice(_CITIES)
    return {
        "city": city,
        "region": region,
        "repeat_calling_phone_number": draw.choice(("true", "false")),
        "verified_zip_code": draw.choice((zip_code, "")),
        "zip_code": zip_code,
    }


def _custom_data(draw: _Draw) -> Fields:
    channel, site = draw.choice(_CHANNELS)
    click = f"{draw.below(2**32):08x}"
    return {
        "utm_source": {"value": site, "source": "VirtualLine"},
        "calling_page": {"value": "https://www.example.com/boarding", "source": "DynamicAttribution"},
        "g_cid": {"value": f"asdf-{click[:4]}-zxcv-{click[4:]}", "source": "DynamicAttribution"},
        "channel": {"value": channel, "source": "DynamicAttribution"},
        "lead_type": {"value": "StoreCall", "source": "VirtualLine"},
        "demographics_data": _demographics(draw) if draw.below(5) == 0 else {},
    }


def _demographics(draw: _Draw) -> Fields:
    city, _, zip_code = draw.choice(_CITIES)
    first_name = draw.choice(("John", "Jane", "Ana", "Wei"))
    known: Fields = {
        "display_name": f"{first_name} Doe",
        "first_name": first_name,
        "last_name": "Doe",
        "age_range": "",
        "gender": "",
        "address_type": "Street or Residential Address",
        "address_full_street": f"{1 + draw.below(1999)} N Main St",
        "address_city": city,
        "address_state": "",
        "address_zip": zip_code,
        "address_country": "",
        "carrier": "New Cingular Wireless Pcs, Llc",
        "line_type": "Mobile",
        "is_prepaid": draw.below(2) == 0,
        "primary_email_address": "",
        "linked_email_addresses": "",
        "household_income": "30k-40k",
        "marital_status": "",
        "home_owner_status": "",
        "home_market_value": "",
        "length_of_residence_years": "6 years",
        "occupation": "",
        "education": "",
        "has_children": draw.below(2) == 0,
        "high_net_worth": None,
    }
    return {f"{name}_data_append": value for name, value in known.items()}


def _press_key(fields: Fields, ordinal: int) -> Fields:
    digit = str(ordinal % 10)
    presses = [*filter(None, fields["key presses"].split(",")), digit]
    changed = {"key presses": ",".join(presses)}
    if len(presses) <= 4:
        changed[f"keypress_{len(presses)}"] = digit
    return changed


def _gain_custom_data(fields: Fields, ordinal: int) -> Fields:
    gained = {f"call_step_{ordinal}": {"value": f"step {ordinal}", "source": "DynamicAttribution"}}
    return {"custom_data": {**fields["custom_data"], **gained}}


def _gain_external_unique_id(fields: Fields, ordinal: int) -> Fields:
    before, own = fields["external_unique_id"], f"{fields['transaction_id']}-"
    # Keep an id from a client.
    return {"external_unique_id": f"{own}{ordinal}"} if before is None or before.startswith(own) else {}


CHANGES: Mapping[Revision, tuple[Callable[[Fields, int], Fields], ...]] = {
    "2022-09-beta": (_gain_external_unique_id,),
    "2022-09-20": (_gain_external_unique_id,),
    "2022-09-28": (_gain_custom_data,),
    "2023-04": (_gain_custom_data,),
    "2024-02": (_gain_custom_data, _press_key),
}
"""Functions from a call's fields and the number of the change to the new fields.

Finds of the revision show each change, so that a client can see every change in the history.
"""
