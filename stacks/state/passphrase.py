"""The passphrase that opens the state: made once, kept on the operator's side and in the safe, never copied to a host.

Whether one opens a stack's state is found out without the engine: the state holds a known word, encrypted with a key
that is derived from the passphrase. (`pulumi/sdk/go/common/config/crypt.go` and `secrets/passphrase`: PBKDF2 with
SHA-256, AES-256 in Galois/counter mode.)
"""

from __future__ import annotations

import base64
import binascii
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

ROUNDS = 1_000_000
KEY_BYTES = 32
WORD = b"pulumi"


def make(path: Path) -> None:
    """Write a new one, readable by its owner only, unless there is one already."""
    if path.exists():
        return
    draft = path.with_suffix(f".{secrets.token_hex(4)}")
    try:
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(32) + "\n", encoding="ascii")
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def opens(passphrase: str, salt: str) -> bool:
    """Whether it opens the state whose secrets provider has this `salt`: `v1:SALT:v1:NONCE:WORD`, each in base 64.

    A salt of another form is opened by nothing.
    """
    try:
        _, salt_text, _, nonce, sealed = salt.split(":")
        key = PBKDF2HMAC(SHA256(), KEY_BYTES, base64.b64decode(salt_text), ROUNDS).derive(passphrase.strip().encode())
        return AESGCM(key).decrypt(base64.b64decode(nonce), base64.b64decode(sealed), None) == WORD
    except (ValueError, binascii.Error, InvalidTag):
        return False
