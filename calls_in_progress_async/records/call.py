"""One live call, in the fields of every revision of the API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from .. import validation
from .codec import Json, PayloadError, Problem, Record, Time, json_key, keys, structure, to_json
from .custom_data import CustomData, CustomDataField, Demographic, read_custom_data, read_plain_custom_data


class Call(Record, frozen=True, kw_only=True, eq=False, gc=False):
    """A call in progress. What has no value (null, ``""`` or left out) is None.

    Two calls are equal if their payloads say the same. A call pickles, and `from_payload` makes one for tests.
    """

    _custom_data: Json = json_key(default=Json(), name="custom_data")
    # From 2022-09 on.
    transaction_id: str | None = None
    """The primary key of the call."""
    call_status: str | None = None
    """``"bridged"`` in every example."""
    external_unique_id: str | None = None
    """The id that an update gave the call."""
    calling_phone_number: str | None = None
    """The caller's number, as sent."""
    destination_phone_number: str | None = None
    """The number that the call was transferred to, as sent: digits and ``- # * x ,``."""
    # 2022-09 only.
    call_start_time_utc: Time | None = None
    transfer_start_time_utc: Time | None = None
    # From 2023-04 on.
    called_phone_number: str | None = None
    bridge_start_time: Time | None = None
    phone_type: str | None = None
    # From 2023-09 on.
    call_record_id: str | None = None
    # 2024-02.
    start_time: Time | None = None
    advertiser_campaign_country: str | None = None
    advertiser_campaign_id: str | None = None
    advertiser_campaign_id_from_network: str | None = None
    advertiser_campaign_name: str | None = None
    advertiser_id: str | None = None
    advertiser_id_from_network: str | None = None
    advertiser_name: str | None = None
    affiliate_campaign_id_from_network: str | None = None
    affiliate_commissions_ranking: str | None = None
    affiliate_conversion_rate_ranking: str | None = None
    affiliate_id: str | None = None
    affiliate_id_from_network: str | None = None
    affiliate_name: str | None = None
    affiliate_volume_ranking: str | None = None
    city: str | None = None
    keypress_1: str | None = None
    keypress_2: str | None = None
    keypress_3: str | None = None
    keypress_4: str | None = None
    _keypresses: str | None = json_key(default=None, name="keypresses")
    _keypresses_as_printed: str | None = json_key(default=None, name="key presses")
    media_type: str | None = None
    promo_number_description: str | None = None
    promo_number_id: str | None = None
    qualified_regions: str | None = None
    region: str | None = None
    repeat_calling_phone_number: bool | str | None = None
    """Whether the caller called before."""
    source: str | None = None
    verified_zip_code: str | None = None
    zip_code: str | None = None

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any] | bytes, *, strict: bool = False) -> Call:
        """Make a call from its JSON, or from a mapping that holds the same.

        Raises:
            InvalidRequestError: It is not an object or, if ``strict``, a field cannot be read.
        """
        try:
            return structure(cls, to_json(payload), "call", strict=strict)
        except PayloadError as error:
            problem = f"{error.path}: {error.reason}"
        except (TypeError, ValueError, RecursionError):
            problem = "is not a mapping, or holds what JSON cannot"
        raise validation.invalid("payload", problem)

    @property
    def keypresses(self) -> str | None:
        """The keys the caller pressed: documented as ``keypresses``, printed as ``key presses``."""
        return self._keypresses or self._keypresses_as_printed

    def _custom(self) -> CustomData:
        origin = self._origin
        if origin.read_later is None:
            origin.read_later = read_plain_custom_data(self._custom_data) or read_custom_data(
                self.raw.get("custom_data"), f"{origin.path}.custom_data"
            )
        return cast(CustomData, origin.read_later)

    @property
    def custom_data(self) -> Mapping[str, CustomDataField] | None:
        """The custom fields by name, whichever of the API's shapes they came in."""
        return self._custom().fields

    @property
    def demographics_data(self) -> Mapping[str, Demographic] | None:
        """What is known of the caller, by ``*_data_append`` key."""
        return self._custom().demographics

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The fields that could not be read, and why. They are None here, and as sent in `raw`."""
        return super().problems + self._custom().problems

    @property
    def extra(self) -> dict[str, Any]:
        """The fields that this version does not know, as Python values."""
        known = keys(Call) | {"custom_data"}
        return {key: value for key, value in self.raw.items() if key not in known}

    @property
    def bridged_at(self) -> datetime | None:
        """When the call was connected to its destination, whichever revision's field says so."""
        return self.bridge_start_time or self.transfer_start_time_utc

    @property
    def started_at(self) -> datetime | None:
        """When the caller dialled, whichever revision's field says so."""
        return self.start_time or self.call_start_time_utc

    def duration(self, now: datetime | None = None) -> timedelta | None:
        """How long the call has been bridged (or, where that is not said, has lasted); None where neither is known.

        Args:
            now: An aware time; the present by default. Where it is before the start, the answer is zero.

        Raises:
            InvalidRequestError: ``now`` has no UTC offset.
        """
        now = datetime.now(UTC) if now is None else now
        if now.tzinfo is None:
            raise validation.invalid("now", "has no UTC offset, pass datetime.now(UTC)")
        since = self.bridged_at or self.started_at
        return None if since is None else max(now - since, timedelta())

    def custom_value(self, name: str) -> str | None:
        """The value of a custom field, or None where the call has no such field."""
        found = (self.custom_data or {}).get(name)
        return None if found is None else found.value

    def __repr__(self) -> str:
        caller = validation.masked(self.calling_phone_number)
        return f"<Call {self.transaction_id!r} {self.call_status!r} from {caller} bridged_at={self.bridged_at}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # what msgspec has rich print would be every field
        return [("", repr(self))]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Call):
            return NotImplemented
        return self.raw_json == other.raw_json or self.raw == other.raw

    def __ne__(self, other: object) -> bool:  # msgspec's own would not ask __eq__
        return not self == other

    def __hash__(self) -> int:
        return hash(self.transaction_id)

    def __replace__(self, **changes: Any) -> Call:  # `copy.replace`: msgspec's own would leave the payload as it was
        return Call.from_payload({**self.raw, **changes})

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.raw_json, self.path)


def _restore(payload: bytes, path: str) -> Call:
    return structure(Call, payload, path, strict=False)
