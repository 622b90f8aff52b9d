"""``update``: write an external id or custom data onto a live call."""

from __future__ import annotations

import json
from typing import Any

import click

from ..endpoints.update_call import UpdateCallRequest
from ..organization import Organization
from ..records import CallUpdate
from .escaping import printable_json
from .options import ORGANIZATION, as_json
from .output import say, write_json, write_line
from .runner import run
from .settings import ClientSettings, takes_client_settings, wire_format_of

_TOKEN_OF_DRY_RUN = "no-token-is-needed"  # noqa: S105 - never sent


def _read_custom_data(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str] | None:
    custom_data: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"must be NAME=VALUE, got {pair!r}")
        if name in custom_data:
            raise click.BadParameter(f"{name!r} is set twice")
        custom_data[name] = value
    return custom_data or None


@click.command(short_help="Write an external id or custom data to a call.")
@click.argument("organization", metavar="ORG", type=ORGANIZATION)
@click.option("--transaction-id", metavar="ID", help="The call, by the API's own id.")
@click.option("--external-unique-id", metavar="ID", help="The call, by its id from an earlier update.")
@click.option("--new-external-unique-id", metavar="ID", help="The call's new id.")
@click.option(
    "--set",
    "custom_data",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_read_custom_data,
    help="Custom data to add or change; repeat for more. The API has no removal.",
)
@click.option(
    "--method",
    type=click.Choice(["PUT", "POST"], case_sensitive=False),
    default="PUT",
    show_default=True,
    help="The HTTP method; a POST that may have arrived is not repeated.",
)
@click.option("--dry-run", is_flag=True, help="Show the request, without the token, and send nothing.")
@as_json
@takes_client_settings
def update(
    settings: ClientSettings, /, organization: Organization, dry_run: bool, as_json: bool, **arguments: Any
) -> int:
    """Update a call in progress of ORG, such as advertiser:25, named by either id, or both.

    The API does not show updated custom data, so it cannot be read back.
    """
    request = UpdateCallRequest(organization=organization, **arguments)
    if dry_run:
        _show_request(settings, request, as_json=as_json)
        return 0
    return run(_update(settings, request, as_json=as_json))


def _show_request(settings: ClientSettings, request: UpdateCallRequest, *, as_json: bool) -> None:
    # The client adds the settings of the environment. It opens no connection.
    client = settings.client(token=_TOKEN_OF_DRY_RUN)
    wire = request.wire(wire_format_of(client))
    url, body = f"{client.base_url}{wire.target}", wire.body or b"null"
    if as_json:
        write_json({"method": wire.method, "url": url}, body=body)
    else:
        write_line(f"{wire.method} {url}")
        write_line(printable_json(body.decode()))
    say("dry run: nothing was sent")


async def _update(settings: ClientSettings, request: UpdateCallRequest, *, as_json: bool) -> int:
    async with settings.client() as client:
        result = await client.send(request)
    if as_json:
        payloads = b",".join(call.raw_json for call in result.calls)
        fields = {"organization": str(request.organization), "accepted_only": result.accepted_only}
        write_json(fields, calls=b"[%b]" % payloads)
    else:
        write_line(_describe(request, result))
    return 0


def _describe(request: UpdateCallRequest, result: CallUpdate) -> str:
    call = request.transaction_id or request.external_unique_id
    changes = []
    if request.new_external_unique_id is not None:
        changes.append(f"external_unique_id {json.dumps(request.new_external_unique_id, ensure_ascii=False)}")
    changes += [
        f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in (request.custom_data or {}).items()
    ]
    how = "accepted for" if result.accepted_only else "written to"
    return f"{', '.join(changes)}: {how} call {call} of {request.organization}"
