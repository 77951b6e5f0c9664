"""Signed checkpoints of the audit tree: a C2SP signed note in tlog-checkpoint form, Ed25519. The newest is kept beside
the key, where a restored store cannot forget it.

Form: https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from counterfoil.core.audit import Checkpoint
from counterfoil.core.errors import Misconfigured
from counterfoil.store.port.store import (
    Store,
)

_ALGORITHM = b"\x01"  # Ed25519 in the signed-note registry


class CheckpointSigner:
    """Signs tree heads under a name; `verifier` is the line that auditors keep."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.name = name
        self._key = key
        public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self._id = hashlib.sha256(name.encode() + b"\n" + _ALGORITHM + public).digest()[:4]
        self.verifier = f"{name}+{self._id.hex()}+{base64.b64encode(_ALGORITHM + public).decode()}"

    @classmethod
    def load_or_create(cls, path: Path, name: str) -> CheckpointSigner:
        """The key in this file, made (readable by its owner only) when it is not there."""
        if not path.exists():
            raw = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            made = path.with_name(f"{path.name}.{os.getpid()}")
            with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(raw)
            # Whole or not at all, and one of several processes that begin at once is the one that makes it.
            with contextlib.suppress(FileExistsError):
                os.link(made, path)
            made.unlink()
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{path} does not hold an Ed25519 key")
        return cls(name, key)

    def sign(self, size: int, root: bytes) -> str:
        """The checkpoint of a tree of `size` leaves."""
        body = f"{self.name}\n{size}\n{base64.b64encode(root).decode()}\n"
        signature = self._id + self._key.sign(body.encode())
        return f"{body}\n\u2014 {self.name} {base64.b64encode(signature).decode()}\n"


class PublishedCheckpoint:
    """The newest checkpoint that this process's home knows to have been published, in a file outside of the store."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, checkpoint: Checkpoint) -> None:
        """Remember it. The file is always a whole one; after a crash it may be the one before."""
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        beside.write_text(checkpoint.text, encoding="utf-8")
        beside.replace(self.path)

    async def check(self, store: Store) -> None:
        """Raises Misconfigured when the store does not hold the history that was signed: it was restored, or a replica
        was promoted that had not everything. What was decided since is not known to it; outside it has happened."""
        if not self.path.exists():
            return
        size, root = self._read()
        held = await store.checkpoint(size)
        if held is not None and held.root == root:
            return
        newest = await store.checkpoint()
        raise Misconfigured(
            f"the store is not the one whose log was signed up to {size} leaves, as {self.path} says: its newest "
            f"checkpoint is over {0 if newest is None else newest.size}. It was restored, or a replica without the last "
            "commits was promoted. Do not go on from here: compare with the systems what happened since, then begin a new "
            "log (docs/how-to/postgresql-in-production.md)"
        )

    def _read(self) -> tuple[int, bytes]:
        try:
            _, size, root = self.path.read_text(encoding="utf-8").split("\n")[:3]
            return int(size), base64.b64decode(root, validate=True)
        except (OSError, ValueError, binascii.Error) as error:
            raise Misconfigured(f"{self.path} is not a checkpoint: {error}") from error
