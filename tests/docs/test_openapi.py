"""The OpenAPI description is valid, and the vendor's examples, the client and the sandbox agree with it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from calls_in_progress_async import CurrentCallsRequest, Organization, UpdateCallRequest
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.sandbox.payloads import Revision

jsonschema = pytest.importorskip("jsonschema")
yaml = pytest.importorskip("yaml")
openapi_spec_validator = pytest.importorskip("openapi_spec_validator")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "openapi.yaml"
DATA = ROOT / "tests" / "data"
FIND = "/api/2022-08-01/calls_in_progress/current_calls.json"
UPDATE = "/api/2022-08-01/calls_in_progress.json"
ACME = Organization.advertiser(2)
CALLS = sorted(DATA.rglob("*.response-200.json"))
REVISIONS = {
    "2022-09-beta": "2022-09",
    "2022-09-20": "2022-09",
    "2022-09-28": "2022-09",
    "2023-04": "2023-04",
    "2024-02": "2024-02",
}
"""The schema of a call, by the folder of its examples."""


@cache
def description() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(PAGE.read_text())
    return loaded


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Follow one reference within the description."""
    while "$ref" in node:
        target: Any = description()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def check(schema: dict[str, Any], value: Any) -> None:
    """Validate a value; references in the schema lead into the description."""
    validator = jsonschema.Draft202012Validator({**description(), **schema})
    validator.validate(value)


def schema_of(path: str, method: str, status: str | None) -> dict[str, Any]:
    """Return the schema of a response, or of the request body if the status is None."""
    operation = description()["paths"][path][method]
    part = operation["requestBody"] if status is None else resolve(operation["responses"][status])
    schema: dict[str, Any] = part["content"]["application/json"]["schema"]
    return schema


def schema_of_example(file: Path) -> dict[str, Any]:
    name, kind, _ = file.name.split(".")
    path, method = (FIND, "get") if name.startswith("get") else (UPDATE, "put")
    return schema_of(path, method, kind.partition("-")[2] or None)


def test_the_description_is_valid_openapi() -> None:
    """The description follows OpenAPI 3.1."""
    openapi_spec_validator.validate(description())


@pytest.mark.parametrize(
    "file", [pytest.param(file, id=f"{file.parent.name}-{file.stem}") for file in DATA.rglob("*.json")]
)
def test_every_example_of_the_vendor_is_described(file: Path) -> None:
    """Each published request and response validates."""
    check(schema_of_example(file), json.loads(file.read_text()))


@pytest.mark.parametrize("file", [pytest.param(file, id=f"{file.parent.name}-{file.stem}") for file in CALLS])
def test_the_schema_of_a_revision_names_every_field_of_its_examples(file: Path) -> None:
    """A published call validates against its own revision, without a further field."""
    name = f"Call{REVISIONS[file.parent.name]}"
    body = json.loads(file.read_text())
    (calls,) = body.values()
    for call in calls if isinstance(calls, list) else [calls]:
        check({"$ref": f"#/components/schemas/{name}", "unevaluatedProperties": False}, call)


def test_every_example_is_referenced() -> None:
    """The description refers to each example file, and each reference leads to a file."""
    referenced = {
        (PAGE.parent / line.split("externalValue: ")[1].rstrip(" }")).resolve()
        for line in PAGE.read_text().splitlines()
        if "externalValue" in line
    }
    assert referenced == {file.resolve() for file in DATA.rglob("*.json")}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("CurrentCalls", {"current_calls": {}}),
        ("CurrentCalls", {"calls": []}),
        ("Update", {"call_in_progress": {}}),
        ("Update", {"call_in_progress": {"custom_data": [{"name": "a"}]}}),
        ("Call", {"transaction_id": []}),
        ("CustomData", {"utm_source": "google"}),
        ("Error", {"error": None}),
    ],
)
def test_a_wrong_body_is_no_match(schema: str, value: Any) -> None:
    """The schemas reject bodies of another shape."""
    with pytest.raises(jsonschema.ValidationError):
        check({"$ref": f"#/components/schemas/{schema}"}, value)


@pytest.mark.parametrize(
    "request_",
    [
        CurrentCallsRequest(organization=ACME),
        CurrentCallsRequest(organization=ACME, transaction_id="A-1", external_unique_id="é 1"),
        CurrentCallsRequest(
            organization=ACME, calling_phone_number="+15309999999", destination_phone_number="+18555595599"
        ),
        UpdateCallRequest(organization=ACME, transaction_id="A-1", new_external_unique_id="B-1"),
        UpdateCallRequest(organization=ACME, external_unique_id="B-1", custom_data={"a": "b"}, method="POST"),
    ],
)
@pytest.mark.parametrize("case", ["lower", "capitalized"])
def test_every_request_of_the_client_is_described(request_: Any, case: Any) -> None:
    """Path, method, parameters and body of the client's requests validate."""
    wire = request_.wire(WireFormat(organization_type_case=case))
    target = urlsplit(wire.target)
    operation = description()["paths"][target.path][wire.method.lower()]
    parameters = {each["name"]: each for each in map(resolve, operation["parameters"])}
    sent = {name: values[0] for name, values in parse_qs(target.query).items()}
    assert {name for name, each in parameters.items() if each.get("required")} <= set(sent) <= set(parameters)
    for name, value in sent.items():
        schema = parameters[name]["schema"]
        check(schema, int(value) if schema["type"] == "integer" else value)
    if wire.body is not None:
        check(schema_of(target.path, wire.method.lower(), None), json.loads(wire.body))


@pytest.mark.parametrize("revision", get_args(Revision))
async def test_every_response_of_the_sandbox_is_described(revision: Revision) -> None:
    """Finds, updates and errors of each revision validate."""
    arguments = {"id": "2", "organization_type": "advertiser"}
    phones = {"calling_phone_number": "+15550000000", "destination_phone_number": "+15550000001"}
    update = {"call_in_progress": {"external_unique_id": "B-1"}}
    async with SandboxServer(revision=revision, seed=3) as sandbox, aiohttp.ClientSession() as session:

        async def statuses(path: str, method: str, token: str = sandbox.token, body: Any = None, **query: str) -> int:
            headers = {"Authorization": token}
            async with session.request(
                method, sandbox.url + path, params=query, headers=headers, json=body
            ) as response:
                check(schema_of(path, method.lower(), str(response.status)), await response.json())
                return response.status

        async with session.get(
            sandbox.url + FIND, params=arguments, headers={"Authorization": sandbox.token}
        ) as response:
            ((call, *_),) = (await response.json()).values()
        assert await statuses(FIND, "GET", **arguments) == 200
        assert await statuses(FIND, "GET", **arguments, **phones) in (200, 404)
        assert await statuses(FIND, "GET", token="wrong", **arguments) == 401
        assert await statuses(FIND, "GET", id="2") == 403
        known = {**arguments, "transaction_id": call["transaction_id"]}
        assert await statuses(UPDATE, "PUT", body=update, **known) == 200
        assert await statuses(UPDATE, "POST", body=update, **known) == 200
        assert await statuses(UPDATE, "PUT", body=update, **arguments, transaction_id="GONE-1") == 404
        assert await statuses(UPDATE, "PUT", body=update, **arguments) == 403
