"""One live call, with the fields of every revision of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, get_type_hints

from attrs import field, fields, frozen

from .. import clock, validation
from ..frozen_dict import FrozenDict
from ..phone_numbers import masked
from .codec import Json, JsonFlag, PayloadError, Problem, Text, TextOrList, Time, parse_json
from .custom_data import (
    DEMOGRAPHICS,
    CustomData,
    CustomDataField,
    CustomFields,
    Demographic,
    Demographics,
    entry_of,
    read_custom_data,
    read_plain_custom_data,
    refuse_custom_data,
)
from .json_values import json_ready
from .meaning import canonical
from .reader import Reader, RecordFormat
from .record import UNREAD, LazyField, Record


def _freeze(value: Mapping[str, Any] | None) -> FrozenDict[str, Any] | None:
    return None if value is None else FrozenDict(value)


class _Unread(Record):
    """The slots for the parts of a payload read on demand."""

    __slots__ = ("_custom_fields", "_custom_problems", "_demographics", "_other_fields")

    # Each is UNREAD until it is read; for a call made by its constructor, the field itself.
    _custom_fields: CustomFields | None
    _demographics: Demographics | None
    _other_fields: FrozenDict[str, Any]
    _custom_problems: tuple[Problem, ...]
    """The unreadable parts of the custom data. Unset if there are none."""


@frozen(kw_only=True, eq=False, repr=False)
class Call(_Unread):
    """A call in progress. A field without a value (null, ``""`` or left out) is None.

    A field documented as text holds the JSON text of any scalar: the id 83 is ``"83"``. Two calls are
    equal if their payloads mean the same. A call pickles, and `from_payload` makes a call for tests.
    """

    # In the order of the vendor's page of 2024-02: msgspec finds a key fastest in the order of the fields.
    transaction_id: Text | None = None
    """The primary key of the call."""
    call_status: Text | None = None
    """``"bridged"`` in every example."""
    external_unique_id: Text | None = None
    """The id given to the call by an update."""
    calling_phone_number: Text | None = None
    """The caller's number, as sent."""
    destination_phone_number: Text | None = None
    """The number to which the call was transferred, as sent: digits and ``- # * x ,``."""
    called_phone_number: Text | None = None
    bridge_start_time: Time | None = None
    call_record_id: Text | None = None
    phone_type: Text | None = None
    advertiser_campaign_country: Text | None = None
    advertiser_campaign_id: Text | None = None
    advertiser_campaign_id_from_network: Text | None = None
    advertiser_campaign_name: Text | None = None
    advertiser_id: Text | None = None
    advertiser_id_from_network: Text | None = None
    advertiser_name: Text | None = None
    affiliate_campaign_id_from_network: Text | None = None
    affiliate_commissions_ranking: Text | None = None
    affiliate_conversion_rate_ranking: Text | None = None
    affiliate_id: Text | None = None
    affiliate_id_from_network: Text | None = None
    affiliate_name: Text | None = None
    affiliate_volume_ranking: Text | None = None
    city: Text | None = None
    keypress_1: Text | None = None
    keypress_2: Text | None = None
    keypress_3: Text | None = None
    keypress_4: Text | None = None
    keypresses: TextOrList | None = None
    """The keys pressed by the caller: documented as ``keypresses``, printed as ``key presses``."""
    media_type: Text | None = None
    promo_number_description: Text | None = None
    promo_number_id: Text | None = None
    qualified_regions: TextOrList | None = None
    region: Text | None = None
    source: Text | None = None
    start_time: Time | None = None
    verified_zip_code: Text | None = None
    zip_code: Text | None = None
    repeat_calling_phone_number: bool | None = None
    """True if the caller has called before. The texts "true", "false", "yes" and "no" are read as well."""
    # 2022-09 only.
    call_start_time_utc: Time | None = None
    transfer_start_time_utc: Time | None = None
    custom_data: Mapping[str, CustomDataField] | None = field(default=None, converter=_freeze)
    """The custom fields by name, from any of the API's shapes."""
    demographics_data: Mapping[str, Demographic] | None = field(default=None, converter=_freeze)
    """The caller's demographics, by ``*_data_append`` key."""
    extra: Mapping[str, Any] = field(factory=dict, converter=FrozenDict)
    """The fields unknown to this version, as Python values."""

    def __attrs_post_init__(self) -> None:
        for name, cache in _CACHES.items():
            object.__setattr__(self, cache, _own[name](self))

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any] | bytes, *, strict: bool = False) -> Call:
        """Make a call from its JSON, or from a mapping with the same content.

        Raises:
            InvalidRequestError: The payload is not an object or, if ``strict``, has an unreadable field.
        """
        try:
            return structure_call(_to_json(payload), "call", strict=strict)
        except PayloadError as error:
            problem = f"cannot be read: {error.path}: {error.reason}"
        except (TypeError, ValueError, RecursionError):
            problem = "is not a mapping, or holds what JSON cannot"
        raise validation.invalid("payload", problem)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The unreadable fields, each with the reason. They are None here, and as sent in `raw`."""
        _ = self.custom_data  # reads custom data, if nobody did
        of_custom_data: tuple[Problem, ...] = getattr(self, "_custom_problems", ())
        return super().problems + of_custom_data

    @property
    def bridged_at(self) -> datetime | None:
        """The time of the connection to the destination, from the field of any revision."""
        return self.bridge_start_time or self.transfer_start_time_utc

    @property
    def started_at(self) -> datetime | None:
        """The time of the caller's dialling, from the field of any revision."""
        return self.start_time or self.call_start_time_utc

    def duration(self, now: datetime | None = None) -> timedelta | None:
        """Return the time since the call was bridged or else since it started; None if neither time is known.

        Args:
            now: An aware time; the present by default. Before the start, the duration is zero.

        Raises:
            InvalidRequestError: ``now`` has no UTC offset.
        """
        now = clock.utc_now() if now is None else now
        if now.tzinfo is None:
            raise validation.invalid("now", "has no UTC offset, pass datetime.now(UTC)")
        since = self.bridged_at or self.started_at
        return None if since is None else max(now - since, timedelta())

    def custom_value(self, name: str) -> str | None:
        """Return the value of a custom field, or None if the call has no such field."""
        found = (self.custom_data or {}).get(name)
        return None if found is None else found.value

    def to_dict(self) -> dict[str, Any]:
        """Return the call as its JSON in Python values: times in ISO 8601, unknown fields included.

        Custom data is ``{name: {"value": ..., "source": ...}}``, with the demographics under ``demographics_data`` as
        in the API. Fields without a value are left out. `from_payload` makes an equal call of the result, unless lists
        or objects are nested more than 100 levels deep: these are None.
        """
        values = {name: value for name in _PLAIN if (value := getattr(self, name)) is not None}
        custom: dict[str, Any] = {name: entry_of(each) for name, each in (self.custom_data or {}).items()}
        if self.demographics_data is not None:
            custom[DEMOGRAPHICS] = dict(self.demographics_data)
        if custom or self.custom_data is not None:
            values["custom_data"] = custom
        ready: dict[str, Any] = json_ready({**values, **self.extra})
        return ready

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def _to_payload(self) -> bytes:
        return self.to_json().encode()

    def detach(self) -> None:
        """Keep a copy of this call's own JSON instead of the body of its list."""
        super().detach()
        if isinstance(unread := _get_own_custom_data(self), Json):
            _set_own_custom_data(self, unread.copy())

    def __repr__(self) -> str:
        caller = masked(self.calling_phone_number)
        return f"<Call {self.transaction_id!r} {self.call_status!r} from {caller} bridged_at={self.bridged_at}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # rich would print every field, the caller's number among them
        return [("", repr(self))]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Call):
            return NotImplemented
        mine, others = self.raw_json, other.raw_json
        return mine == others or meaning(mine) == meaning(others)

    def __hash__(self) -> int:
        return hash(self.transaction_id)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.raw_json, self.path)


# Reading.


def structure_call(payload: bytes, path: str, *, strict: bool) -> Call:
    """Turn the JSON of one call into a `Call`.

    Args:
        payload: The JSON.
        path: The call's place in the body.
        strict: True to raise for an unreadable field.

    Raises:
        PayloadError: The payload is not an object or, in strict mode, a field cannot be read.
    """
    call = call_reader().read(payload, path)
    if strict:
        check_strictly(call)
    return call


def call_reader() -> Reader[Call]:
    """Make a reader for the calls of one body."""
    return Reader(CALL_FORMAT)


def check_strictly(call: Call) -> None:
    """Refuse a call with an unreadable field.

    Raises:
        PayloadError: A field cannot be read.
    """
    if found := call.problems:
        raise PayloadError(found[0].path, found[0].reason)


def meaning(payload: bytes) -> object:
    """Return the content of a call's JSON, equal for two payloads exactly if they mean the same.

    A payload nested too deeply to compare is its own content.
    """
    try:
        return canonical(payload, CALL_KEYS)
    except RecursionError:
        return payload


def _custom_data(call: Call) -> CustomFields | None:
    if call._custom_fields is UNREAD:
        _read_custom(call)
    return call._custom_fields


def _demographics_data(call: Call) -> Demographics | None:
    if call._demographics is UNREAD:
        _read_custom(call)
    return call._demographics


def _extra(call: Call) -> FrozenDict[str, Any]:
    if call._other_fields is UNREAD:
        _set_other_fields(call, FrozenDict({key: value for key, value in call.raw.items() if key not in _KNOWN}))
    return call._other_fields


def _read_custom(call: Call) -> None:
    unread = _get_own_custom_data(call)
    plain = read_plain_custom_data(unread) if isinstance(unread, Json) else None
    fields, demographics = plain or _read_any_custom(call, unread)
    _set_demographics(call, demographics)
    _set_custom_fields(call, fields)


def _read_any_custom(call: Call, unread: Any) -> tuple[CustomFields | None, Demographics | None]:
    custom = refuse_custom_data(unread, call.path) if isinstance(unread, Json) else None
    if custom is None:
        path = f"{call.path}.custom_data"
        try:
            custom = read_custom_data(parse_json(bytes(unread)) if isinstance(unread, Json) else unread, path)
        except PayloadError:
            custom = CustomData(problems=(Problem(path, "is nested too deeply"),))
    if custom.problems:
        object.__setattr__(call, "_custom_problems", custom.problems)
    return custom.fields, custom.demographics


_CACHES = {"custom_data": "_custom_fields", "demographics_data": "_demographics", "extra": "_other_fields"}
"""The slots for the values of the fields read later."""
_PLAIN = tuple(each.name for each in fields(Call) if each.name not in _CACHES)
_SPELT_OTHERWISE = {"repeat_calling_phone_number": JsonFlag, "key presses": TextOrList, "custom_data": Json}
"""The keys in JSON that differ from the fields, in name or type."""


def _types() -> dict[str, Any]:
    """Return the type of each key in JSON."""
    hints = get_type_hints(Call, include_extras=True)
    return {name: hints[name] for name in _PLAIN} | _SPELT_OTHERWISE


CALL_FORMAT = RecordFormat(Call, _types, spare={"keypresses": "key presses"}, unread=_CACHES.values())
_KNOWN = frozenset({*_PLAIN, *_SPELT_OTHERWISE})
CALL_KEYS: frozenset[str] = _KNOWN - {"custom_data"}
"""The keys in JSON of a call's fields, custom data aside."""

_set_custom_fields, _set_demographics, _set_other_fields = (vars(_Unread)[each].__set__ for each in _CACHES.values())
_own = {name: vars(Call)[name].__get__ for name in _CACHES}
"""Functions to get the values in the fields' own slots. msgspec's encoder looks into them: it writes JSON unchanged."""
_get_own_custom_data, _set_own_custom_data = _own["custom_data"], vars(Call)["custom_data"].__set__

for _name, _get in (("custom_data", _custom_data), ("demographics_data", _demographics_data), ("extra", _extra)):
    setattr(Call, _name, LazyField(vars(Call)[_name], _get))


def _restore(payload: bytes, path: str) -> Call:
    return structure_call(payload, path, strict=False)


def _to_json(payload: Mapping[str, Any] | bytes) -> bytes:
    """Write a mapping as JSON, with times in ISO 8601; bytes are JSON already."""
    return payload if isinstance(payload, bytes) else json.dumps({**payload}, default=datetime.isoformat).encode()
