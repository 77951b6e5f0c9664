"""Sealing of leaves, and signed checkpoints of the audit tree: C2SP signed notes in tlog-checkpoint form, Ed25519.

The newest one is stored next to the key, outside of the store, so that a restored store cannot lose it.

Form: https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from counterfoil.core.audit import Checkpoint
from counterfoil.core.errors import Misconfigured
from counterfoil.store.port.maintenance import PutCheckpoint, Seal
from counterfoil.store.port.store import Store

Sign = Callable[[int, bytes], str]
"""Tree size and root to the signed checkpoint's text."""
Publish = Callable[[Checkpoint], None]
"""Called with each checkpoint that the store has."""
_ALGORITHM = b"\x01"  # Ed25519 in the signed-note registry


async def seal(store: Store, sign: Sign | None, now: datetime, publish: Publish | None = None) -> int:
    """Add pending leaves to the audit tree and sign its new state. Return the number of leaves."""
    sealed = await store.apply(Seal(at=now))
    if sealed.count and sign is not None:
        text = sign(sealed.size, sealed.root)
        checkpoint = Checkpoint(size=sealed.size, root=sealed.root, at=now, text=text)
        await store.apply(PutCheckpoint(checkpoint=checkpoint))
        if publish is not None:
            publish(checkpoint)
    return sealed.count


class CheckpointSigner:
    """Signs tree heads under a name. `verifier` is the line that auditors need to check them."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.name = name
        self._key = key
        public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self._id = hashlib.sha256(name.encode() + b"\n" + _ALGORITHM + public).digest()[:4]
        self.verifier = f"{name}+{self._id.hex()}+{base64.b64encode(_ALGORITHM + public).decode()}"

    @classmethod
    def load_or_create(cls, path: Path, name: str) -> CheckpointSigner:
        """Load the key from this file. Create it, readable by its owner only, if it does not exist."""
        if not path.exists():
            raw = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            temporary = path.with_name(f"{path.name}.{os.getpid()}")
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(raw)
            # Atomic: of several processes that start at once, one creates the key.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
            temporary.unlink()
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{path} does not hold an Ed25519 key")
        return cls(name, key)

    def verify(self, checkpoint: Checkpoint) -> str:
        """Return why a checkpoint is not the one that this key signed; empty if it is, or if another key signed it."""
        try:
            body, _, last = checkpoint.text.rpartition("\n\n\u2014 ")
            signature = base64.b64decode(last.split()[1], validate=True)
            _, size, root = body.split("\n")[:3]
            if (int(size), base64.b64decode(root, validate=True)) != (checkpoint.size, checkpoint.root):
                return "was edited: its text has another size or root"
            if signature[:4] == self._id:
                self._key.public_key().verify(signature[4:], f"{body}\n".encode())
        except InvalidSignature:
            return "was edited: its signature does not fit its text"
        except (ValueError, IndexError, binascii.Error):
            return "was edited: its text is not a checkpoint"
        return ""

    def sign(self, size: int, root: bytes) -> str:
        """Return the checkpoint of a tree of `size` leaves."""
        body = f"{self.name}\n{size}\n{base64.b64encode(root).decode()}\n"
        signature = self._id + self._key.sign(body.encode())
        return f"{body}\n\u2014 {self.name} {base64.b64encode(signature).decode()}\n"


class CheckpointFile:
    """The newest checkpoint that was published, in a file outside of the store."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint atomically. After a crash the file may hold the previous one."""
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        temporary.write_text(checkpoint.text, encoding="utf-8")  # public: auditors may read it
        temporary.replace(self.path)

    @classmethod
    async def of(cls, home: Path, store: Store) -> CheckpointFile:
        """Return the file of this store, which is in a folder with those of other stores. Raises as `check`.

        A file without the id of its store was written by an earlier version; if it is this store's, it gets the id.
        """
        file, former = cls(home / f"checkpoint-{await store.identity()}"), cls(home / "checkpoint")
        if former.path.exists() and not file.path.exists():
            await former.check(store)
            former.path.rename(file.path)
        await file.check(store)
        return file

    async def check(self, store: Store) -> None:
        """Raise Misconfigured if the store lacks the history that was signed.

        It was restored, or a replica without the last commits was promoted: calls of that time have happened outside.
        """
        head = self.head()
        if head is None:
            return
        size, root = head
        stored = await store.checkpoint(size)
        if stored is not None and stored.root == root:
            return
        newest = await store.checkpoint()
        raise Misconfigured(
            f"the store does not match the signed audit log: {self.path} covers {size} leaves, the store's newest "
            f"checkpoint covers {0 if newest is None else newest.size}. The store was restored, or a replica without the "
            "last commits was promoted. Do not continue: compare the systems with the store first, then start a new log "
            f"(docs/how-to/postgresql-in-production.md). If {self.path} is of another store, move it away"
        )

    def head(self) -> tuple[int, bytes] | None:
        """Return size and root of the checkpoint; None where there is none. Raises Misconfigured."""
        if not self.path.exists():
            return None
        try:
            _, size, root = self.path.read_text(encoding="utf-8").split("\n")[:3]
            return int(size), base64.b64decode(root, validate=True)
        except (OSError, ValueError, binascii.Error) as error:
            raise Misconfigured(f"{self.path} is not a checkpoint: {error}") from error
