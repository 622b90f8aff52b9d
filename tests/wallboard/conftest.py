"""The fleet's nats-server, for the board of a fleet."""

from __future__ import annotations

from fleet.conftest import binary, own_server

__all__ = ["binary", "own_server"]
