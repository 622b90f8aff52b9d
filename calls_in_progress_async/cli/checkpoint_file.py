"""The file to resume a watch from."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from ..watch.watch import Watch
from .output import say

_CANNOT_BE_REPLACED = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of a rename onto a bind-mounted file, or in a directory that is not writable."""
NOT_A_CHECKPOINT = "expected a checkpoint of an earlier watch, got something else; delete the file to start anew"
_KINDS = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"))


@frozen
class CheckpointFile:
    """A checkpoint on disk. A reader finds the old one or the new one whole, even after a crash.

    A file that cannot be replaced, such as one that is mounted into a container, or that has a second name, is
    overwritten in place instead.
    """

    path: Path | None
    """The file; None to keep no checkpoint."""

    def read(self) -> Any:
        """Read the checkpoint; None if there is none yet, or the file is empty.

        Raises:
            click.UsageError: The file cannot be read, is not a regular file, or does not hold JSON.
        """
        if self.path is None:
            return None
        try:
            content = _read(self.path)
            return json.loads(content) if content.strip() else None
        except FileNotFoundError:
            if Path(os.path.realpath(self.path)).parent.is_dir():
                return None
            problem = "there is no such directory"
        except OSError as error:
            problem = error.strerror or str(error)
        except (ValueError, RecursionError):
            problem = NOT_A_CHECKPOINT
        raise click.UsageError(f"--checkpoint {self.path}: {problem}")

    def save(self, watch: Watch) -> bool:
        """Write the watch's checkpoint. Return True on success, else report the failure and return False."""
        if self.path is None:
            return True
        try:
            _write(Path(os.path.realpath(self.path)), json.dumps(watch.checkpoint()).encode())
        except OSError as error:
            say(f"error: --checkpoint {self.path}: cannot be written: {error.strerror}")
            return False
        return True


def _read(path: Path) -> bytes:
    # O_NONBLOCK, or else opening a FIFO waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with ExitStack() as stack:
        stack.callback(os.close, descriptor)
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for matches, name in _KINDS if matches(mode)), "a device")
            raise OSError(errno.EINVAL, f"must be a regular file, and is {kind}")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()


def _write(path: Path, content: bytes) -> None:
    if path.exists() and path.stat().st_nlink > 1:
        _overwrite(path, content)  # a new file would leave its other names behind
        return
    try:
        _replace(path, content)
    except OSError as error:
        if error.errno not in _CANNOT_BE_REPLACED or not path.exists():
            raise
        _overwrite(path, content)


def _replace(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".checkpoint-")  # for its owner's eyes only
    try:
        with open(descriptor, "wb") as file:
            if path.exists():
                _copy_permissions(path, name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _copy_permissions(source: Path, target: str) -> None:
    status = source.stat()
    with suppress(OSError, AttributeError):  # not the owner; Windows
        os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))


def _overwrite(path: Path, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
