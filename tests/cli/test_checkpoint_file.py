"""``--checkpoint`` keeps the file that the user meant, and rejects everything else in one line."""

import errno
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest

from calls_in_progress_async import Organization
from calls_in_progress_async.cli import checkpoint_file as checkpoint_module
from calls_in_progress_async.cli import watch as watch_module
from calls_in_progress_async.cli.checkpoint_file import CheckpointFile
from calls_in_progress_async.watch.watch import Watch

ORGANIZATION = Organization.advertiser(2)
FAST = ("--interval", "0.05")
CONTENT = {"version": 1, "organizations": {}}
WATCH = cast(Watch, SimpleNamespace(checkpoint=lambda: CONTENT))


def _written(file: Path) -> Any:
    return json.loads(file.read_bytes())


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff",
        b"[]",
        b"7",
        b'{"version": 99, "organizations": {}}',
        b'{"version": 1, "organizations": {"advertiser:2": {"seen": 1e999, "calls": 7}}}',
        b'{"version": 1, "organizations": {"advertiser:2": {"seen": 1%b, "calls": {}}}}' % (b"0" * 400),
        b'{"version": 1, "organizations": %b}' % (b"9" * 5_000),
        b"[" * 100_000,
        b'{"version": 1, "organizations": ' + b'{"a":' * 100_000,
    ],
    ids=lambda content: content[:60].decode("latin-1"),
)
async def test_a_file_without_a_checkpoint(command_line, tmp_path, content) -> None:
    """A file with anything else is one line on stderr, and stays unchanged."""
    file = tmp_path / "checkpoint.json"
    file.write_bytes(content)
    async with command_line() as line:
        done = await line.invoke("watch", "advertiser:2", "--checkpoint", str(file))
        assert (done.exit_code, done.exception.__class__) == (2, SystemExit)
        problem = "has version 99, pass" if b": 99," in content else "expected a checkpoint of an earlier watch, got"
        assert done.stderr.splitlines()[-1].startswith(f"error: --checkpoint {file}: {problem} ")
        assert file.read_bytes() == content
        assert not line.sandbox.requests


@pytest.mark.parametrize("content", [b"", b"\n"])
async def test_an_empty_file_is_no_checkpoint_yet(command_line, tmp_path, content) -> None:
    """An empty file, as `touch` or mktemp makes it, starts a new watch."""
    file = tmp_path / "checkpoint.json"
    file.write_bytes(content)
    async with command_line() as line:
        done = await line.invoke("watch", "advertiser:2", "--checkpoint", str(file), "--seconds", "0.05", *FAST)
        assert done.exit_code == 0
        assert _written(file)["version"] == 1


@pytest.mark.parametrize(
    ("make", "kind"),
    [(os.mkfifo, "a FIFO"), (os.mkdir, "a directory"), (lambda path: os.symlink("/dev/zero", path), "a device")],
)
async def test_a_file_that_is_not_regular(command_line, tmp_path, make, kind) -> None:
    """A FIFO, a directory and a device are rejected by name, at once."""
    path = tmp_path / "checkpoint"
    make(path)
    async with command_line() as line:
        done = await line.invoke("watch", "advertiser:2", "--checkpoint", str(path))
        assert done.exit_code == 2
        assert done.stderr.endswith(f"error: --checkpoint {path}: must be a regular file, and is {kind}\n")
        assert not line.sandbox.requests


async def test_a_checkpoint_that_cannot_be_read_or_written(command_line, tmp_path, monkeypatch) -> None:
    """An unreadable file is a usage error; a failed write is reported, and fails the watch at its end."""
    monkeypatch.setattr(watch_module, "_SAVE_EVERY", 0)
    monkeypatch.setattr(watch_module, "_TICK", 0.01)
    async with command_line() as line:
        (tmp_path / "file").touch()
        for path, problem in (("file/none", "Not a directory"), ("none/new", "there is no such directory")):
            done = await line.invoke("watch", "advertiser:2", "--checkpoint", str(tmp_path / path))
            assert done.exit_code == 2
            assert problem in done.stderr
        monkeypatch.setattr(os, "replace", _fail(errno.ENOSPC))
        done = await line.invoke("watch", "advertiser:2", "--checkpoint", str(tmp_path / "new"), "--seconds", "0.1")
        assert done.exit_code == 1
        assert done.stderr.count("new: cannot be written: No space left on device") > 1
        assert os.listdir(tmp_path) == ["file"]  # nothing is left behind


def _fail(number: int):
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_the_mode_of_the_file_stays(tmp_path, mode) -> None:
    """Another process that may read the checkpoint can read the next one too."""
    file = tmp_path / "checkpoint.json"
    file.touch()
    file.chmod(mode)
    assert CheckpointFile(file).save(WATCH)
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert _written(file) == CONTENT


def test_a_new_file_is_for_its_owner_only(tmp_path) -> None:
    """A new file has mode 600."""
    file = tmp_path / "checkpoint.json"
    assert CheckpointFile(file).save(WATCH)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_foreign_owner_is_no_error(tmp_path, monkeypatch) -> None:
    """A file of another owner is replaced all the same."""
    file = tmp_path / "checkpoint.json"
    file.touch()
    monkeypatch.setattr(os, "chown", _fail(errno.EPERM))
    assert CheckpointFile(file).save(WATCH)
    assert _written(file) == CONTENT


@pytest.mark.parametrize("is_there", [True, False])
def test_a_symlink_stays_and_its_target_is_written(tmp_path, is_there) -> None:
    """The checkpoint goes to the target of a symlink, even before the target exists."""
    (tmp_path / "volume").mkdir()
    target, link = tmp_path / "volume" / "target.json", tmp_path / "checkpoint.json"
    link.symlink_to("volume/target.json")
    if is_there:
        target.touch()
    file = CheckpointFile(link)
    assert file.read() is None
    assert file.save(WATCH)
    assert link.is_symlink()
    assert _written(target) == file.read() == CONTENT


def test_a_second_name_of_the_file_stays(tmp_path) -> None:
    """A hard link is not cut off from the checkpoint."""
    file, second = tmp_path / "checkpoint.json", tmp_path / "second.json"
    file.write_text("a longer text than any checkpoint" * 100)
    os.link(file, second)
    assert CheckpointFile(file).save(WATCH)
    assert _written(second) == _written(file) == CONTENT
    assert file.samefile(second)


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path) -> None:
    """The name of the temporary file is no longer."""
    file = tmp_path / ("x" * 255)
    assert CheckpointFile(file).save(WATCH)
    assert _written(file) == CONTENT


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EACCES, errno.EXDEV])
def test_a_file_that_cannot_be_replaced_is_overwritten(tmp_path, monkeypatch, number) -> None:
    """A bind-mounted file, or one in a directory that is not writable, is written in place, down to its last byte."""
    file = tmp_path / "checkpoint.json"
    file.write_text("x" * 10_000)
    inode = file.stat().st_ino
    monkeypatch.setattr(os, "replace", _fail(number))
    assert CheckpointFile(file).save(WATCH)
    assert _written(file) == CONTENT
    assert file.stat().st_ino == inode
    assert os.listdir(tmp_path) == ["checkpoint.json"]


def test_a_new_file_in_a_place_that_is_not_writable(tmp_path, monkeypatch, capsys) -> None:
    """Without a file to overwrite, the failure is reported."""
    monkeypatch.setattr(checkpoint_module.tempfile, "mkstemp", lambda **_: _fail(errno.EACCES)())
    assert not CheckpointFile(tmp_path / "new").save(WATCH)
    assert capsys.readouterr().err.endswith("new: cannot be written: Permission denied\n")


def test_without_a_file_nothing_is_kept() -> None:
    """Without a path no checkpoint is written."""
    assert CheckpointFile(None).read() is None
    assert CheckpointFile(None).save(WATCH)


def test_a_socket_is_named(tmp_path, monkeypatch) -> None:
    """An error of the system is told in its own words."""
    monkeypatch.setattr(os, "open", _fail(errno.ENXIO))
    with pytest.raises(click.UsageError, match="No such device or address"):
        CheckpointFile(tmp_path / "socket").read()
