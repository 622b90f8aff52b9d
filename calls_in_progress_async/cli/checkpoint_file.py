"""The file that a watch goes on from."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from ..watch.watch import Watch
from .output import say


@frozen
class CheckpointFile:
    """A checkpoint on disk. Whoever reads it sees the old one or the new one whole, even after a crash."""

    path: Path | None
    """None where none is kept."""

    def read(self) -> Any:
        """Read it; None where there is none yet.

        Raises:
            click.UsageError: It cannot be read, or is no JSON.
        """
        if self.path is None:
            return None
        try:
            return json.loads(self.path.read_bytes())
        except FileNotFoundError:
            if self.path.parent.is_dir():
                return None
            problem = "there is no such directory"
        except OSError as error:
            problem = error.strerror or str(error)
        except ValueError:
            problem = "it is not a checkpoint"
        raise click.UsageError(f"{self.path}: {problem}")

    def keep(self, watch: Watch) -> bool:
        """Write down where a watch is. Returns whether that worked; it is told of if not."""
        if self.path is None:
            return True
        try:
            _replace(self.path, json.dumps(watch.checkpoint()).encode())
        except OSError as error:
            say(f"error: {self.path}: the checkpoint cannot be written: {error.strerror}")
            return False
        return True


def _replace(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # for its owner's eyes only
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
