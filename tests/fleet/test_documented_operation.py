"""The files and settings of the page about fleets: units, manifests, configurations and errors."""

from __future__ import annotations

import asyncio
import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import jsonschema
import nats
import pytest
from fleet.nats_server import NatsServer
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from calls_in_progress_async import CallsInProgressClient
from calls_in_progress_async.cli.program import program
from calls_in_progress_async.fleet import Fleet, sink, sizing
from calls_in_progress_async.sandbox import SandboxServer

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "fleet.md").read_text(encoding="utf-8")
STREAM = "cip_json_events"
SCHEMA = json.loads((DOCS / "fleet-event.schema.json").read_text(encoding="utf-8"))


def block(language: str, containing: str = "") -> str:
    """Return the only block of a language that contains a text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = [each for each in blocks if containing in each]
    return str(found)


def check_worker(arguments: list[str], directory: Path) -> dict[str, Any]:
    """Parse the options of a worker, with an existing file for each that it names."""
    file = directory / "file"
    file.write_text("advertiser:25\n", encoding="utf-8")
    fleet = program.commands["fleet"]
    assert isinstance(fleet, click.Group)
    given = [str(file) if each.startswith(("/", "${")) else each for each in arguments]
    with fleet.commands["worker"].make_context("worker", given) as context:
        return dict(context.params)


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block("ini"))
    return parser


def test_the_unit_starts_a_worker(tmp_path: Path) -> None:
    """Its command has the options of today, and it waits longer for the end than a handover takes."""
    service = unit()["Service"]
    command = shlex.split(service["ExecStart"])
    assert command[:3] == ["/opt/venv/bin/calls-in-progress", "fleet", "worker"]
    assert check_worker(command[3:], tmp_path)["name"] == "prod"
    assert int(service["TimeoutStopSec"]) >= 15


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """The checker of systemd itself finds no fault."""
    if (checker := shutil.which("systemd-analyze")) is None:
        pytest.skip("no systemd-analyze here")
    file = tmp_path / "calls-in-progress.service"
    file.write_text(block("ini").replace("/opt/venv/bin/calls-in-progress", sys.executable), encoding="utf-8")
    shown = subprocess.run(
        [checker, "verify", "--man=no", str(file)], capture_output=True, text=True, check=False, timeout=30
    )
    assert [line for line in shown.stderr.splitlines() if file.name in line] == []


def test_the_manifests_fit_together(tmp_path: Path) -> None:
    """Selectors name the labels, mounts name the volumes, and the command has the options of today."""
    yaml = pytest.importorskip("yaml")
    deployment, budget = yaml.safe_load_all(block("yaml"))
    assert [each["kind"] for each in (deployment, budget)] == ["Deployment", "PodDisruptionBudget"]
    spec = deployment["spec"]
    pod = spec["template"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == budget["spec"]["selector"]["matchLabels"] == labels
    (container,) = pod["containers"]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    assert container["command"][:3] == ["calls-in-progress", "fleet", "worker"]
    assert (
        check_worker([each.replace("$(POD_NAME)", "pod-1") for each in container["command"][3:]], tmp_path)["rate"]
        == 2000
    )
    assert pod["terminationGracePeriodSeconds"] >= 15


def test_the_server_accepts_its_configuration(binary: str, tmp_path: Path) -> None:
    """The nats-server checks the file."""
    file = tmp_path / "nats.conf"
    file.write_text(block("text", "jetstream {"), encoding="utf-8")
    shown = subprocess.run([binary, "-t", "-c", str(file)], capture_output=True, text=True, check=False, timeout=20)
    assert shown.returncode == 0, shown.stderr


def test_node_accepts_its_program(tmp_path: Path) -> None:
    """The syntax alone: its libraries are not here."""
    if (node := shutil.which("node")) is None:
        pytest.skip("no node here")
    file = tmp_path / "consumer.mjs"
    file.write_text(block("js"), encoding="utf-8")
    shown = subprocess.run([node, "--check", str(file)], capture_output=True, text=True, check=False, timeout=20)
    assert shown.returncode == 0, shown.stderr


def test_the_figures_are_those_of_the_plan() -> None:
    """The table under "Sizing" has the constants of the code."""
    cpu = [f"{1e3 * each:g} ms" for each in (sizing._CPU_A_POLL, sizing._CPU_A_COMMIT, sizing._CPU_A_MESSAGE)]
    memory = [f"{sizing._MEMORY_OF_WORKER / 1e6:g} MB"]
    memory += [f"{each / 1e3:g} kB" for each in (sizing._MEMORY_OF_ORGANIZATION, sizing._MEMORY_OF_CALL)]
    size = [f"{each / 1e3:g} kB" for each in (sizing._BYTES_OF_MESSAGE, sizing._BYTES_OF_CALL)]
    table = PAGE.partition("| figure | value |")[2].partition("##")[0]
    assert re.findall(r"[\d.]+ (?:ms|MB|kB)", table) == cpu + memory + size


def test_the_errors_have_the_documented_texts() -> None:
    """Somebody who searches for a message finds its remedy."""
    table = PAGE.partition("| text of the error |")[2].partition("###")[0]
    texts = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(texts) == 11
    source = "".join(file.read_text(encoding="utf-8") for file in Path(sink.__file__).parent.glob("*.py"))
    assert [each for each in texts if each not in source] == []


async def test_a_consumer_without_this_package_reads_real_events_by_the_schema(server: NatsServer) -> None:
    """With the consumer of the page. A change names the message with the payload before it."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    kinds: list[str] = []
    async with (
        SandboxServer(organizations=1, calls_per_organization=0) as sandbox,
        CallsInProgressClient(token=sandbox.token, base_url=sandbox.url) as client,
    ):
        (organization,) = sandbox.organizations
        fleet = Fleet(client, servers=server.url, name="json", organizations=[organization], interval=0.1)
        running = asyncio.create_task(fleet.run())
        name = sandbox.start_call(organization, call_status="ringing")
        steps = {
            "call_started": lambda: sandbox.change_call(organization, name, call_status="bridged"),
            "call_changed": lambda: sandbox.fail_next(status=403),
            "organization_recovered": lambda: sandbox.end_call(organization, name),
            "call_ended": fleet.stop,
        }
        while not await has_stream(server.url):
            await asyncio.sleep(0.02)
        connection = await nats.connect(server.url)
        jetstream = connection.jetstream()
        await jetstream.add_consumer(STREAM, ConsumerConfig(durable_name="billing", ack_policy=AckPolicy.EXPLICIT))
        consumer = await jetstream.pull_subscribe_bind("billing", STREAM)
        while "call_ended" not in kinds:
            (delivered,) = await consumer.fetch(1, timeout=20)
            await delivered.ack()
            message = json.loads(delivered.data)
            validator.validate(message)
            for event in message["events"]:
                kinds.append(event["kind"])
                steps.get(event["kind"], bool)()
                if event["kind"] == "call_changed":
                    before = await jetstream.get_msg(STREAM, event["previous_at"], direct=True)
                    (started,) = json.loads(before.data or b"")["events"]
                    assert (started["call"]["call_status"], event["call"]["call_status"]) == ("ringing", "bridged")
        await running
        await connection.close()
    assert kinds == ["call_started", "call_changed", "organization_failed", "organization_recovered", "call_ended"]


async def has_stream(url: str) -> bool:
    connection = await nats.connect(url)
    try:
        await connection.jetstream().stream_info(STREAM)
    except NotFoundError:
        return False
    finally:
        await connection.close()
    return True
