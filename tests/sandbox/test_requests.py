"""Requests are checked and carried out by the API reference."""

import json

import pytest

from calls_in_progress_async import Organization

ORGANIZATION = Organization(2, "advertiser")
THIRD = Organization(3, "advertiser")
BLANK = ["can't be blank"]
FIND = "calls_in_progress/current_calls.json"
UPDATE = "calls_in_progress.json"
NAMED = {"id": "2", "organization_type": "advertiser"}


@pytest.mark.parametrize(
    ("params", "errors"),
    [
        ({"organization_type": "advertiser"}, {"id": BLANK}),
        ({"id": "", "organization_type": "advertiser"}, {"id": BLANK}),
        ({"id": " ", "organization_type": "advertiser"}, {"id": BLANK}),
        ({"id": "2"}, {"organization_type": BLANK}),
        ({}, {"id": BLANK, "organization_type": BLANK}),
        ({"id": "two", "organization_type": "advertiser"}, {"id": ["is not a number"]}),
        ({"id": "²", "organization_type": "advertiser"}, {"id": ["is not a number"]}),
        ({"id": "2", "organization_type": "publisher"}, {"organization_type": ["is not included in the list"]}),
        ({"id": "2", "organization_type": "ADVERTISER"}, {"organization_type": ["is not included in the list"]}),
        ({"id": "99", "organization_type": "advertiser"}, {"id": ["is invalid"]}),
        ({"id": "2", "organization_type": "network"}, {"id": ["is invalid"]}),
        ({**NAMED, "calling_phone_number": "+15309999999"}, {"destination_phone_number": BLANK}),
        ({**NAMED, "destination_phone_number": "+15309999999"}, {"calling_phone_number": BLANK}),
        (
            {**NAMED, "calling_phone_number": " 15309999999", "destination_phone_number": "nobody"},
            {"calling_phone_number": ["is invalid"], "destination_phone_number": ["is invalid"]},
        ),
    ],
)
async def test_a_find_with_invalid_arguments_is_a_403_that_names_them(asking, params, errors):
    async with asking() as asker:
        reply = await asker.ask("GET", FIND, params)
    assert (reply.status, reply.json) == (403, {"errors": errors})


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ("", {"call_in_progress": BLANK}),
        ("{", {"call_in_progress": BLANK}),
        ("\xff", {"call_in_progress": BLANK}),
        ("[]", {"call_in_progress": BLANK}),
        pytest.param("[" * 100_000, {"call_in_progress": BLANK}, id="deep"),
        ('{"call_in_progress": {"external_unique_id": "\\ud800"}}', {"call_in_progress": BLANK}),
        ('{"call_in_progress": {"custom_data": [{"name": "\\ud800", "value": "a"}]}}', {"call_in_progress": BLANK}),
        ("{}", {"call_in_progress": BLANK}),
        ('{"call_in_progress": []}', {"call_in_progress": BLANK}),
        ('{"call_in_progress": {}}', {"call_in_progress": BLANK}),
        ('{"call_in_progress": {"custom_data": []}}', {"call_in_progress": BLANK}),
        ('{"call_in_progress": {"city": "Fresno"}}', {"call_in_progress": BLANK}),
        ('{"call_in_progress": {"external_unique_id": " "}}', {"external_unique_id": BLANK}),
        ('{"call_in_progress": {"external_unique_id": null}}', {"external_unique_id": BLANK}),
        ('{"call_in_progress": {"external_unique_id": 7}}', {"external_unique_id": BLANK}),
        ('{"call_in_progress": {"custom_data": {"name": "a"}}}', {"custom_data": ["is invalid"]}),
        ('{"call_in_progress": {"custom_data": ["a"]}}', {"custom_data": ["is invalid"]}),
        ('{"call_in_progress": {"custom_data": [{"name": "a"}]}}', {"custom_data": ["is invalid"]}),
        ('{"call_in_progress": {"custom_data": [{"name": "a", "value": null}]}}', {"custom_data": ["is invalid"]}),
        ('{"call_in_progress": {"custom_data": [{"name": " ", "value": "b"}]}}', {"custom_data": ["is invalid"]}),
    ],
)
async def test_an_update_with_an_invalid_body_is_a_403_and_changes_nothing(asking, body, errors):
    async with asking() as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        params = {**NAMED, "transaction_id": transaction_id}
        reply = await asker.ask("PUT", UPDATE, params, data=body.encode("latin-1"), headers=headers)
        assert not asker.sandbox.updates
    assert (reply.status, reply.json) == (403, {"errors": errors})


async def test_an_update_whose_body_is_not_called_json_is_a_403(asking):
    async with asking() as asker:
        params = {**NAMED, "transaction_id": asker.sandbox.start_call(ORGANIZATION)}
        body = json.dumps({"call_in_progress": {"external_unique_id": "x"}}).encode()
        reply = await asker.ask("PUT", UPDATE, params, data=body, headers={"Content-Type": "text/plain"})
    assert (reply.status, reply.json) == (403, {"errors": {"call_in_progress": BLANK}})


async def test_an_update_needs_one_of_the_two_ids(asking):
    async with asking() as asker:
        reply = await asker.update({"external_unique_id": "x"})
    assert (reply.status, reply.json) == (403, {"errors": {"transaction_id": BLANK, "external_unique_id": BLANK}})


async def test_an_update_of_a_call_that_is_over_is_a_404(asking):
    async with asking() as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION)
        asker.sandbox.end_call(ORGANIZATION, transaction_id)
        reply = await asker.update({"external_unique_id": "x"}, transaction_id=transaction_id)
    expected = {"errors": {"invalid_data": "Could not find call in progress", "class": "RecordNotFound"}}
    assert (reply.status, reply.json) == (404, expected)


@pytest.mark.parametrize(
    "path",
    ["/api/2022-08-02/calls_in_progress/current_calls.json", "/api/2022-08-01/calls_in_progress/current_calls", "/"],
)
async def test_another_path_or_version_is_a_404(asking, path):
    async with asking() as asker:
        headers = {"Authorization": asker.sandbox.token}
        async with asker.session.get(asker.sandbox.url + path, params=NAMED, headers=headers) as response:
            assert response.status == 404
            assert (await response.json())["errors"]["class"] == "RecordNotFound"


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"])
@pytest.mark.parametrize(("path", "allowed", "also"), [(FIND, "GET", "PUT"), (UPDATE, "POST, PUT", "GET")])
async def test_another_method_is_a_405_that_lists_the_right_ones(asking, method, path, allowed, also):
    async with asking() as asker:
        for each in (method, also):
            reply = await asker.ask(each, path, NAMED)
            assert (reply.status, reply.headers["Allow"]) == (405, allowed)
            assert each == "HEAD" or reply.json["errors"]["class"] == "MethodNotAllowed"


@pytest.mark.parametrize("number", ["0", "9223372036854775808", "9" * 40])
async def test_an_id_that_no_organization_can_have_is_a_403(asking, number):
    async with asking() as asker:
        reply = await asker.ask("GET", FIND, {**NAMED, "id": number})
    assert (reply.status, reply.json) == (403, {"errors": {"id": ["is invalid"]}})


@pytest.mark.parametrize(
    ("spelling", "organization_type", "status"),
    [
        ("any", "advertiser", 200),
        ("any", "Advertiser", 200),
        ("lower", "advertiser", 200),
        ("lower", "Advertiser", 403),
        ("capitalized", "advertiser", 403),
        ("capitalized", "Advertiser", 200),
    ],
)
async def test_the_spelling_of_the_organization_type_can_be_strict(asking, spelling, organization_type, status):
    async with asking(organization_type_spelling=spelling) as asker:
        reply = await asker.find(kind=organization_type)
    assert reply.status == status


@pytest.mark.parametrize("authorization", ["", "wrong", "Bearer sandbox-token", "sandbox-token2"])
async def test_only_the_bare_token_is_taken(asking, authorization):
    async with asking() as asker:
        reply = await asker.find(headers={"Authorization": authorization})
        assert (reply.status, reply.json) == (401, {"error": "NotAuthorized"})
        assert asker.sandbox.stats.allowed == 0


async def test_a_token_in_the_query_is_not_taken_and_not_remembered(asking):
    async with asking() as asker:
        params = {**NAMED, "oauth_token": "sandbox-token", "transaction_id": "x"}
        reply = await asker.ask("GET", FIND, params, headers={"Authorization": ""})
        assert reply.status == 401
        assert asker.sandbox.requests[0].path.endswith("&oauth_token=[hidden]&transaction_id=x")


async def test_a_token_of_one_organization_is_no_good_for_another(asking):
    async with asking(tokens={ORGANIZATION: "token-of-2", THIRD: "token-of-3"}) as asker:
        headers = {"Authorization": "token-of-2"}
        assert (await asker.find(ORGANIZATION, headers)).status == 200
        assert (await asker.find(THIRD, headers)).status == 401
        assert (await asker.find(Organization(99, "advertiser"), headers)).status == 401
        assert (await asker.find(THIRD)).status == 200


async def test_calls_are_listed_newest_bridge_start_first(asking, clock):
    async with asking(calls_per_organization=20) as asker:
        clock.advance(500)
        calls = (await asker.find()).json["current_calls"]
    starts = [call["bridge_start_time"] for call in calls]
    assert len(starts) > 5
    assert starts == sorted(starts, reverse=True)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["c", "b", "a"]),
        ({"transaction_id": "a"}, ["a"]),
        ({"transaction_id": ""}, ["c", "b", "a"]),
        ({"transaction_id": "d"}, []),
        ({"external_unique_id": "first"}, ["b", "a"]),
        ({"transaction_id": "b", "external_unique_id": "first"}, ["b"]),
        ({"transaction_id": "c", "external_unique_id": "first"}, []),
        ({"calling_phone_number": "+18005551234", "destination_phone_number": "+18005550000"}, ["c", "a"]),
        ({"calling_phone_number": "+18005551234", "destination_phone_number": "+18005550001"}, []),
        (
            {
                "calling_phone_number": "+18005551234",
                "destination_phone_number": "+18005550000",
                "external_unique_id": "first",
            },
            ["a"],
        ),
    ],
)
async def test_filters_are_independent_and_all_have_to_match(asking, filters, found):
    async with asking() as asker:
        for name, caller, external in (("a", 4, "first"), ("b", 5, "first"), ("c", 4, None)):
            asker.sandbox.start_call(
                ORGANIZATION,
                transaction_id=name,
                external_unique_id=external,
                calling_phone_number=f"800-555-123{caller}",
                destination_phone_number="+18005550000",
            )
        reply = await asker.find(**filters)
    assert [call["transaction_id"] for call in reply.json["current_calls"]] == found


@pytest.mark.parametrize("asked", ["800-555-1234", "8005551234", "18005551234", "+18005551234", "(800) 555-1234"])
@pytest.mark.parametrize("held", ["800-555-1234", "+18005551234"])
async def test_a_phone_number_matches_in_each_documented_format(asking, asked, held):
    async with asking() as asker:
        asker.sandbox.start_call(ORGANIZATION, calling_phone_number=held, destination_phone_number="8005550000x12#")
        reply = await asker.find(calling_phone_number=asked, destination_phone_number="8005550000x12#")
    assert len(reply.json["current_calls"]) == 1


async def test_a_call_without_a_phone_number_matches_none(asking):
    async with asking() as asker:
        asker.sandbox.start_call(ORGANIZATION, calling_phone_number=None)
        reply = await asker.find(calling_phone_number="8005551234", destination_phone_number="8005551234")
    assert reply.json == {"current_calls": []}


async def test_a_foreign_ten_digit_number_is_not_taken_for_an_american_one(asking):
    async with asking() as asker:
        asker.sandbox.start_call(ORGANIZATION, calling_phone_number="+4930123456", destination_phone_number="1")
        assert (await asker.find(calling_phone_number="+4930123456", destination_phone_number="1")).json[
            "current_calls"
        ]
        reply = await asker.find(calling_phone_number="4930123456", destination_phone_number="1")
    assert reply.json == {"current_calls": []}


async def test_a_change_is_in_the_very_next_find(asking):
    async with asking() as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION, city="Fresno")
        for city in ("Austin", "Chicago"):
            await asker.find()
            asker.sandbox.change_call(ORGANIZATION, transaction_id, city=city)
            (call,) = (await asker.find()).json["current_calls"]
            assert call["city"] == city


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_an_updated_external_unique_id_is_visible_and_searchable(asking, method):
    async with asking() as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION)
        await asker.find()
        reply = await asker.update({"external_unique_id": "new"}, method, transaction_id=transaction_id)
        assert reply.json["current_calls"][0]["external_unique_id"] == "new"
        (found,) = (await asker.find(external_unique_id="new")).json["current_calls"]
        assert (found["transaction_id"], found["external_unique_id"]) == (transaction_id, "new")
        assert asker.sandbox.updates[0].method == method


async def test_updated_custom_data_is_kept_but_never_shown(asking, clock):
    async with asking() as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION, external_unique_id="mine")
        before = (await asker.find()).json
        clock.advance(5)
        changes = {"custom_data": [{"name": "Call Disposition", "value": "A"}, {"name": "channel", "value": "B"}]}
        reply = await asker.update(changes, external_unique_id="mine")
        assert reply.json["current_calls"][0]["custom_data"] == before["current_calls"][0]["custom_data"]
        assert (await asker.find()).json == before
        written = {"Call Disposition": "A", "channel": "B"}
        assert asker.sandbox.written(ORGANIZATION, transaction_id) == written
        (update,) = asker.sandbox.updates
    assert (update.time, update.organization, update.transaction_id) == (5, ORGANIZATION, transaction_id)
    assert (update.method, update.external_unique_id, update.custom_data) == ("PUT", None, written)


async def test_an_update_is_idempotent_for_the_calls_but_logged_each_time(asking):
    async with asking() as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION)
        for value in ("x", "x", "y"):
            await asker.update({"external_unique_id": value}, transaction_id=transaction_id)
        assert [event.kind for event in asker.sandbox.history(ORGANIZATION)] == ["started", "changed", "changed"]
        assert [update.external_unique_id for update in asker.sandbox.updates] == ["x", "x", "y"]


async def test_an_update_by_external_unique_id_goes_to_the_newest_call_that_has_it(asking):
    async with asking() as asker:
        for name in ("older", "newer"):
            asker.sandbox.start_call(ORGANIZATION, transaction_id=name, external_unique_id="shared")
        await asker.update({"custom_data": [{"name": "a", "value": ""}]}, external_unique_id="shared")
        assert [update.transaction_id for update in asker.sandbox.updates] == ["newer"]


async def test_updates_can_be_accepted_with_an_empty_202(asking):
    async with asking() as asker:
        transaction_id = asker.sandbox.start_call(ORGANIZATION)
        asker.sandbox.accept_only = True
        reply = await asker.update({"external_unique_id": "x"}, transaction_id=transaction_id)
        assert (reply.status, reply.body) == (202, b"")
        assert asker.sandbox.live(ORGANIZATION)[0]["external_unique_id"] == "x"


async def test_requests_are_remembered_without_the_token(asking, clock):
    async with asking() as asker:
        clock.advance(3)
        transaction_id = asker.sandbox.start_call(ORGANIZATION)
        await asker.update({"external_unique_id": "x"}, transaction_id=transaction_id)
        await asker.find(headers={"X-Extra": "yes"})
        update, find = asker.sandbox.requests
        assert "sandbox-token" not in repr(asker.sandbox.requests)
        assert "sandbox-token" not in repr(asker.sandbox)
    assert (update.method, update.time) == ("PUT", 3)
    assert update.path.startswith("/api/2022-08-01/calls_in_progress.json?id=2&organization_type=advertiser&")
    assert json.loads(update.body) == {"call_in_progress": {"external_unique_id": "x"}}
    assert (find.headers["x-extra"], find.headers["authorization"], find.body) == ("yes", "[hidden]", b"")
