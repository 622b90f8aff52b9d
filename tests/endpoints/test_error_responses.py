"""The error for each status and body of the API."""

from __future__ import annotations

import json
from typing import Any

import pytest

import calls_in_progress_async as sdk
from calls_in_progress_async.endpoints.wire_format import WireFormat

ACME = sdk.Organization.advertiser(25)
FIND = sdk.CurrentCallsRequest(organization=ACME)
UPDATE = sdk.UpdateCallRequest(organization=ACME, transaction_id="T", new_external_unique_id="x")


def raised(request: Any, status: int, body: Any) -> sdk.ResponseError:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(sdk.ResponseError) as caught:
        request.read(sdk.WireResponse(status, {}, payload), WireFormat(), ())
    return caught.value


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"errors": {"class": "InvalidInput", "invalid_data": "id is wrong"}}, sdk.RequestRejectedError),
        ({"errors": {"class": "RecordInvalid", "invalid_data": "x"}}, sdk.RequestRejectedError),
        ({"errors": {"id": ["can't be blank"]}}, sdk.RequestRejectedError),
        ({"errors": {"class": "UnauthorizedOperation"}}, sdk.PermissionDeniedError),
        ({"errors": {"class": "UnauthorizedAdvertiser", "invalid_data": "x"}}, sdk.PermissionDeniedError),
        ({"errors": {"class": "UnauthorizedAdvertiser", "id": ["is of another"]}}, sdk.PermissionDeniedError),
        ({"errors": {"class": "SomethingNew", "invalid_data": "x"}}, sdk.RequestRejectedError),
        ({"errors": {"class": "RecordNotFound", "invalid_data": "x"}}, sdk.RequestRejectedError),
        ({"errors": {"class": ""}}, sdk.PermissionDeniedError),
        ({"error": "NotAuthorized"}, sdk.PermissionDeniedError),
        (b"<html>", sdk.PermissionDeniedError),
        (b"", sdk.PermissionDeniedError),
    ],
)
@pytest.mark.parametrize("request_", [FIND, UPDATE], ids=["find", "update"])
def test_a_403_is_about_permission_unless_it_names_the_arguments(request_: Any, body: Any, kind: type) -> None:
    """The vendor responds to malformed arguments and to missing access with 403."""
    assert type(raised(request_, 403, body)) is kind


FALSE = [False, 0, "false", "No", "0"]
FAILED = ["error", "FAILURE", 400, 500, "422"]
"""The values of ``success`` and ``status`` for an error, among others."""


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ({"error": "RecordNotFound"}, sdk.CallNotFoundError, "RecordNotFound (no such call is in progress)"),
        ({"errors": {"class": "RecordNotFound", "invalid_data": "Could not find"}}, sdk.CallNotFoundError, "Could not"),
        ({"error": "NotAuthorized"}, sdk.AuthenticationError, "NotAuthorized"),
        ({"errors": {"class": "UnauthorizedOperation"}}, sdk.PermissionDeniedError, "UnauthorizedOperation"),
        ({"errors": {"class": "InvalidInput", "invalid_data": "x"}}, sdk.RequestRejectedError, "InvalidInput, x"),
        ({"errors": {"custom_data": ["is unknown"]}}, sdk.RequestRejectedError, "custom_data: is unknown"),
        ({"errors": {"class": "InternalServiceError", "invalid_data": "refer to error handle 12"}},
         sdk.ServerError, "error handle 12"),
        ({"error": "Something new"}, sdk.UnexpectedResponseError, "Something new"),
        ({"errors": "no"}, sdk.UnexpectedResponseError, "no"),
        ({"errors": ["no"], "current_call": {"city": "x"}}, sdk.UnexpectedResponseError, ""),
        ({"Error": "RecordNotFound"}, sdk.CallNotFoundError, "RecordNotFound"),
        ({"ERRORS": {"custom_data": ["is unknown"]}}, sdk.RequestRejectedError, "custom_data: is unknown"),
        ({"error": None, "Error": "no"}, sdk.UnexpectedResponseError, "no"),
        (b'{"\\u0065rror": "no"}', sdk.UnexpectedResponseError, "no"),
        (b'{"error": "no", "x": NaN}', sdk.UnexpectedResponseError, "no"),
        (b'{"x": NaN, "status": "error"}', sdk.UnexpectedResponseError, "status: reports an error"),
        (b'{"x": NaN, "errors": ["no"]}', sdk.UnexpectedResponseError, ""),
        ({"status": "Failed", "current_call": {"city": "x"}}, sdk.UnexpectedResponseError, "status: reports an error"),
        *(({"success": each}, sdk.UnexpectedResponseError, "success: reports an error") for each in FALSE),
        *(({"status": each}, sdk.UnexpectedResponseError, "status: reports an error") for each in FAILED),
    ],
)  # fmt: skip
def test_an_update_with_an_error_in_its_success_is_an_error(status: int, body: Any, kind: type, said: str) -> None:
    """A 200 with an error in the body raises; the class of the error depends on the body."""
    error = raised(UPDATE, status, body)
    assert type(error) is kind
    assert said in str(error)
    assert error.status == status
    assert error.__context__ is None


def test_the_error_within_a_success_keeps_what_the_server_says_of_fields_and_handles() -> None:
    """field_errors and error_handle are those of the fitting status."""
    error = raised(UPDATE, 200, {"errors": {"custom_data": ["is unknown"]}})
    assert isinstance(error, sdk.RequestRejectedError)
    assert error.field_errors == {"custom_data": ("is unknown",)}
    server = raised(UPDATE, 200, {"errors": {"class": "InternalServiceError", "invalid_data": "error handle 12"}})
    assert isinstance(server, sdk.ServerError)
    assert server.error_handle == "12"


@pytest.mark.parametrize(
    "body",
    [{}, {"error": None}, {"error": "", "errors": {}}, {"errors": []}, {"current_call": {"note": "error"}},
     {"Error": False, "ERRORS": []}, {"status": "ok"}, {"status": 200}, {"success": True}, {"message": "accepted"},
     {"success": "true"}, {"success": 1}, {"success": {}}, {"status": "202"}, {"status": 5000}, {"status": ["500"]}],
)  # fmt: skip
def test_an_update_without_an_error_is_done(body: Any) -> None:
    """Empty errors are none."""
    assert UPDATE.read(sdk.WireResponse(200, {}, json.dumps(body).encode()), WireFormat(), ()).problems == ()


@pytest.mark.parametrize("calls", [{}, {"current_calls": []}, {"current_calls": [{"transaction_id": "A"}]}])
@pytest.mark.parametrize(
    ("reported", "said"),
    [
        ({"error": "x"}, "error: reports an error: x"),
        ({"error": "NotAuthorized"}, "error: reports an error: NotAuthorized"),
        ({"ERRORS": {"id": ["can't be blank"]}}, "ERRORS: reports an error: id: can't be blank"),
        ({"errors": ["y" * 2000]}, "errors: reports an error"),
        ({"Status": "error"}, "Status: reports an error"),
        ({"status": 503}, "status: reports an error"),
        ({"success": "false"}, "success: reports an error"),
    ],
)
def test_a_find_with_an_error_in_its_success_is_an_error(calls: Any, reported: Any, said: str) -> None:
    """An error beside a list of calls leaves open which calls there are, so the list is not taken for the response."""
    error = raised(FIND, 200, {**calls, **reported})
    assert type(error) is sdk.UnexpectedResponseError
    assert str(error) == f"HTTP 200: {said}"


@pytest.mark.parametrize("reported", [{}, {"errors": []}, {"error": None}, {"status": "ok"}, {"success": True}])
def test_a_find_without_an_error_lists_the_calls(reported: Any) -> None:
    """Empty errors are none."""
    body = json.dumps({"current_calls": [{"transaction_id": "A"}], **reported}).encode()
    assert len(FIND.read(sdk.WireResponse(200, {}, body), WireFormat(), ())) == 1


def test_a_404_is_a_missing_call_for_an_update_alone() -> None:
    """A find names no call, so its 404 is the general one."""
    assert type(raised(UPDATE, 404, {"error": "RecordNotFound"})) is sdk.CallNotFoundError
    assert type(raised(FIND, 404, {"error": "RecordNotFound"})) is sdk.NotFoundError


@pytest.mark.parametrize("request_", [FIND, UPDATE], ids=["find", "update"])
def test_the_note_on_the_spelling_of_the_type_survives(request_: Any) -> None:
    """Every 4xx about organization_type has the note."""
    for status in (403, 404):
        error = raised(request_, status, {"errors": {"organization_type": ["is not included in the list"]}})
        assert "organization_type_case" in error.__notes__[0]
