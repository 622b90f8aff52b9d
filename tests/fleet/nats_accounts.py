"""Keys, tokens and certificates for a nats-server of the tests' own."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import nkeys

_OPERATOR, _ACCOUNT, _USER = nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER
_LIMITS = {"subs": -1, "data": -1, "payload": -1}
_ACCOUNT_LIMITS = {
    **_LIMITS, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1, "mem_storage": -1,
    "disk_storage": -1, "streams": -1, "consumer": -1,
}  # fmt: skip


def new_key(prefix: int = _USER) -> nkeys.KeyPair:
    """Make a key pair."""
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), prefix)))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _token(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, kind: str, claims: dict[str, Any]) -> str:
    """Sign a NATS token, version 2."""
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "iat": int(time.time()),
        "nats": {"type": kind, "version": 2, **claims},
    }
    signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, body))
    return f"{signed}.{_base64(issuer.sign(signed.encode()))}"


class Accounts:
    """An operator with one account for fleets, whose users have credentials files."""

    def __init__(self) -> None:
        self._account = new_key(_ACCOUNT)
        operator, system = new_key(_OPERATOR), new_key(_ACCOUNT)
        preloaded = [
            f"{each.public_key.decode()}: {_token(operator, each, 'account', {'limits': limits})}"
            for each, limits in ((self._account, _ACCOUNT_LIMITS), (system, {}))
        ]
        self.settings = (
            f"operator: {_token(operator, operator, 'operator', {})}\n"
            f"system_account: {system.public_key.decode()}\n"
            f"resolver: MEMORY\nresolver_preload {{ {', '.join(preloaded)} }}"
        )
        """The part of a server's configuration."""

    def write_credentials(self, path: Path) -> str:
        """Write the credentials file of a new user, and return its name."""
        user = new_key()
        token = _token(self._account, user, "user", _LIMITS)
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n",
            encoding="utf-8",
        )
        return str(path)
