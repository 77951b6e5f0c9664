"""Signed checkpoints of the audit tree: a C2SP signed note in tlog-checkpoint form, Ed25519.

Form: https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ALGORITHM = b"\x01"  # Ed25519 in the signed-note registry


class Signer:
    """Signs tree heads under a name; `verifier` is the line that auditors keep."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.name = name
        self._key = key
        public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self._id = hashlib.sha256(name.encode() + b"\n" + _ALGORITHM + public).digest()[:4]
        self.verifier = f"{name}+{self._id.hex()}+{base64.b64encode(_ALGORITHM + public).decode()}"

    @classmethod
    def load_or_create(cls, path: Path, name: str) -> Signer:
        """The key in this file, made (readable by its owner only) when it is not there."""
        if not path.exists():
            raw = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(raw)
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{path} does not hold an Ed25519 key")
        return cls(name, key)

    def sign(self, size: int, root: bytes) -> str:
        """The checkpoint of a tree of `size` leaves."""
        body = f"{self.name}\n{size}\n{base64.b64encode(root).decode()}\n"
        signature = self._id + self._key.sign(body.encode())
        return f"{body}\n\u2014 {self.name} {base64.b64encode(signature).decode()}\n"
