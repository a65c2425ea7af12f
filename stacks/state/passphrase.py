"""The passphrase that decrypts the state. It is made once, kept on the workstation and in the safe, never sent to a
host.

`opens` checks a passphrase without the engine. The state contains a known word, encrypted with a key derived from the
passphrase. Format: `pulumi/sdk/go/common/config/crypt.go` and `secrets/passphrase` (PBKDF2 with SHA-256, AES-256 in
Galois/counter mode).
"""

from __future__ import annotations

import base64
import binascii
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from workstation import atomic_write

ROUNDS = 1_000_000
KEY_BYTES = 32
WORD = b"pulumi"


def make(path: Path) -> None:
    """Write a new passphrase that only its owner can read, unless the file exists."""
    if path.exists():
        return
    atomic_write.create(path, secrets.token_urlsafe(32) + "\n")


def opens(passphrase: str, salt: str) -> bool:
    """Whether the passphrase decrypts the state whose secrets provider has this `salt`.

    The salt has the form `v1:SALT:v1:NONCE:WORD`, the capital parts in base 64. Return False for any other form.
    """
    try:
        _, salt_text, _, nonce, sealed = salt.split(":")
        key = PBKDF2HMAC(SHA256(), KEY_BYTES, base64.b64decode(salt_text), ROUNDS).derive(passphrase.strip().encode())
        return AESGCM(key).decrypt(base64.b64decode(nonce), base64.b64decode(sealed), None) == WORD
    except (ValueError, binascii.Error, InvalidTag):
        return False
