"""The shape of every response is that of the vendor's own example of the same revision."""

import json
from pathlib import Path

import pytest

from calls_in_progress_async import Organization

DATA = Path(__file__).parents[1] / "data"
REVISIONS = ("2022-09-beta", "2022-09-20", "2022-09-28", "2023-04", "2024-02")
ORGANIZATION = Organization(2, "advertiser")
PHONE_NUMBERS = {"calling_phone_number": "+15309999999", "destination_phone_number": "+18555595599"}
# In the field table of 2024-02, and in none of its examples.
UNPRINTED = {"repeat_calling_phone_number"}


def example(revision, name):
    return json.loads((DATA / revision / f"{name}.json").read_text())


def shape(value):
    """Return the form of an example: the names in every object, and the kinds of the other values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items() if name not in UNPRINTED}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


def without_values(call):
    """Drop the kinds of values: a field may be `null` in one call and text in the next, and custom data differs."""
    return {name: "any" if name != "custom_data" else type(value).__name__ for name, value in call.items()}


def key_sets(document):
    ((name, calls),) = document.items()
    calls = calls if isinstance(calls, list) else [calls]
    return (
        name,
        type(document[name]).__name__,
        without_values(shape(calls[0]) | {"custom_data": calls[0].get("custom_data")}),
    )


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize(
    "name",
    [
        "get_calls_in_progress",
        "get_calls_by_transaction_id",
        "get_calls_by_external_unique_id",
        "get_calls_by_phone_number",
    ],
)
async def test_a_find_has_the_fields_of_the_example(asking, revision, name):
    filters = {
        "get_calls_in_progress": {},
        "get_calls_by_transaction_id": {"transaction_id": "ABCD1234-ABCD1234"},
        "get_calls_by_external_unique_id": {"external_unique_id": "mycalls00001"},
        "get_calls_by_phone_number": PHONE_NUMBERS,
    }[name]
    async with asking(revision=revision) as asker:
        asker.sandbox.start_call(
            ORGANIZATION, transaction_id="ABCD1234-ABCD1234", external_unique_id="mycalls00001", **PHONE_NUMBERS
        )
        reply = await asker.find(**filters)
    assert reply.status == 200
    assert key_sets(reply.json) == key_sets(example(revision, f"{name}.response-200"))


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("name", ["update_external_unique_id", "update_custom_data"])
async def test_an_update_responds_with_the_fields_of_the_example(asking, revision, name):
    async with asking(revision=revision) as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION)
        changes = example(revision, f"{name}.request")["call_in_progress"]
        reply = await asker.update(changes, transaction_id=transaction_id)
    assert reply.status == 200
    assert key_sets(reply.json) == key_sets(example(revision, f"{name}.response-200"))


@pytest.mark.parametrize("revision", ["2022-09-beta", "2022-09-20"])
async def test_the_first_two_pages_echo_the_custom_data_of_an_update_and_only_that(asking, revision):
    async with asking(revision=revision) as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION)
        changes = example(revision, "update_custom_data.request")["call_in_progress"]
        reply = await asker.update(changes, transaction_id=transaction_id)
        found = await asker.find()
    expected = example(revision, "update_custom_data.response-200")["current_call"]["custom_data"]
    assert reply.json["current_call"]["custom_data"] == expected
    assert "custom_data" not in found.json[next(iter(found.json))][0]


async def test_the_custom_data_of_2022_09_28_has_no_demographics(asking):
    async with asking(revision="2022-09-28") as asker:
        asker.sandbox.start_call(ORGANIZATION)
        (call,) = (await asker.find()).json["current_calls"]
    assert set(call["custom_data"]) == {"utm_source", "calling_page", "g_cid", "channel", "lead_type"}


@pytest.mark.parametrize("revision", ["2023-04", "2024-02"])
async def test_demographics_are_sometimes_there_and_have_the_names_of_the_example(asking, revision):
    async with asking(revision=revision, calls_per_organization=100) as asker:
        calls = (await asker.find()).json["current_calls"]
    demographics = [call["custom_data"]["demographics_data"] for call in calls]
    printed = example("2024-02", "get_calls_by_phone_number.response-200")["current_calls"]
    (names,) = {frozenset(call["custom_data"]["demographics_data"]) for call in printed} - {frozenset()}
    assert {frozenset(known) for known in demographics} == {frozenset(), names}
    assert {type(value) for known in demographics for value in known.values()} == {str, bool, type(None)}


async def test_a_call_of_2024_02_has_every_documented_field_in_about_two_kilobytes(asking):
    async with asking(calls_per_organization=100) as asker:
        reply = await asker.find()
    calls = reply.json["current_calls"]
    assert {len(call) for call in calls} == {40}
    assert all(call["repeat_calling_phone_number"] in ("true", "false") for call in calls)
    assert 1_800 < len(reply.body) / len(calls) < 2_500


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_field_that_no_page_knows_is_shown_by_every_revision(asking, revision):
    async with asking(revision=revision) as asker:
        asker.sandbox.start_call(ORGANIZATION, brand_new_field="here")
        (calls,) = (await asker.find()).json.values()
        assert asker.sandbox.live(ORGANIZATION) == calls
    assert calls[0]["brand_new_field"] == "here"


@pytest.mark.parametrize("revision", REVISIONS)
async def test_no_calls_are_an_empty_list(asking, revision):
    async with asking(revision=revision) as asker:
        reply = await asker.find()
    name = "calls_in_progress" if revision == "2022-09-beta" else "current_calls"
    assert (reply.status, reply.json) == (200, {name: []})


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_find_by_phone_number_that_finds_nothing_is_a_404_in_2022_only(asking, revision):
    async with asking(revision=revision) as asker:
        reply = await asker.find(**PHONE_NUMBERS)
    if revision.startswith("2022"):
        assert (reply.status, reply.json) == (404, example(revision, "get_calls_by_phone_number.response-404"))
    else:
        assert (reply.status, reply.json) == (200, {"current_calls": []})


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_find_by_an_id_that_finds_nothing_is_an_empty_list(asking, revision):
    async with asking(revision=revision) as asker:
        reply = await asker.find(transaction_id="nobody")
    assert reply.status == 200
    assert list(reply.json.values()) == [[]]


@pytest.mark.parametrize("revision", REVISIONS[:3])
async def test_a_wrong_token_is_rejected_as_in_the_example(asking, revision):
    async with asking(revision=revision) as asker:
        reply = await asker.find(headers={"Authorization": "wrong"})
    assert (reply.status, reply.json) == (401, example(revision, "get_calls_by_transaction_id.response-401"))


async def test_timestamps_are_written_as_in_the_examples_and_name_the_same_moment(asking, clock):
    async with asking(revision="2022-09-28") as asker:
        clock.advance(60.25)
        asker.sandbox.start_call(ORGANIZATION)
        (call,) = asker.sandbox.live(ORGANIZATION)
    assert call["transfer_start_time_utc"] == "2024-02-01T12:01:00.250Z"
    async with asking() as asker:
        asker.sandbox.start_call(ORGANIZATION)
        (call,) = asker.sandbox.live(ORGANIZATION)
    assert call["bridge_start_time"] == "2024-02-01T05:01:00-07:00"
