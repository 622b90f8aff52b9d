"""Examples of each command, for the end of its ``--help`` and for the man page."""

from __future__ import annotations

from collections.abc import Mapping

import click

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "demo": ("demo", "demo --seconds 30 --organizations 20"),
    "list": (
        "list advertiser:25 network:1",
        "list advertiser:25 --columns caller,lasts,custom_data.tier",
        "list --organizations all.txt --json | jq .call",
    ),
    "update": (
        "update advertiser:25 --transaction-id A1 --set tier=gold",
        "update network:1 --external-unique-id 17 --set tier=gold",
    ),
    "watch": (
        "watch advertiser:25",
        "watch --organizations all.txt --json > events.jsonl",
        "watch --organizations all.txt --checkpoint calls.json",
    ),
    "wallboard": ("wallboard --demo", "wallboard advertiser:25 --title Sales --fields tier"),
    "check": ("check advertiser:25", "check advertiser:25 --network acme --json"),
    "sandbox": ("sandbox --port 8080", "sandbox --rate-limit 10 --fault-rate 0.05 --latency 0.2"),
    "replay": ("replay recording.jsonl --speed 10",),
    "fleet demo": ("fleet demo",),
    "fleet worker": ("fleet worker --organizations all.txt --rate 50",),
    "fleet events": ("fleet events --servers nats://nats --group billing",),
    "fleet plan": ("fleet plan --organizations 5000 --rate 200 --interval 10",),
    "fleet status": ("fleet status --servers nats://nats",),
}
"""Command lines without the program's name, by command."""


def add_examples(group: click.Group, program: str) -> None:
    """Append the examples to the help of each command below a group.

    Args:
        group: The outermost group.
        program: The program's name.
    """
    for name, examples in EXAMPLES.items():
        command: click.Command = group
        for part in name.split():
            assert isinstance(command, click.Group)  # noqa: S101 - for the type checker
            command = command.commands[part]
        # \b keeps click from joining the lines.
        command.epilog = "\n".join(("\b", "Examples:", *(f"  {program} {example}" for example in examples)))
