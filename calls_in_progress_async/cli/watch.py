"""``watch``: every call that starts, changes or ends."""

from __future__ import annotations

import click


@click.command()
def watch() -> int:
    """Watch."""
    return 0
