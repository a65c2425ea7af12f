"""SSH keys: the operator's key opens every machine, and each machine proves its identity with its own key."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from workstation.ssh import Access


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """An ed25519 key in OpenSSH's formats."""

    private: bytes
    public: str


def new_key(comment: str) -> KeyPair:
    """Return a new key pair. The comment is part of the public key's text."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return KeyPair(
        private=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), public=f"{public} {comment}"
    )


def operator_key(access: Access) -> str:
    """Return the operator's public key. Create the key pair if a half of it is missing."""
    public = access.key.with_name(access.key.name + ".pub")
    if not access.key.exists() or not public.exists():
        access.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pair = new_key("govcloud operator")
        _write_private(access.key, pair.private)
        public.write_text(pair.public + "\n")
    return public.read_text().strip()


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def trust_hosts(access: Access, hosts: Mapping[str, str]) -> None:
    """Replace the keys of these addresses in known_hosts. `hosts` maps address to public key; other lines stay."""
    kept: list[str] = []
    if access.known_hosts.exists():
        lines = access.known_hosts.read_text().splitlines()
        kept = [line for line in lines if line.split(" ", 1)[0] not in hosts]
    lines = [*kept, *(f"{address} {' '.join(key.split()[:2])}" for address, key in hosts.items())]
    access.known_hosts.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = access.known_hosts.with_suffix(".new")
    aside.write_text("\n".join(lines) + "\n" if lines else "")
    aside.replace(access.known_hosts)


def close_connections(access: Access, addresses: Iterable[str]) -> None:
    """Close the shared connections to powered-off machines, so that the next command opens a new connection."""
    closing = [
        subprocess.Popen(
            ["ssh", *access.options(), "-O", "exit", f"{access.user}@{address}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for address in addresses
    ]  # fmt: skip
    for process in closing:
        process.wait(timeout=10)


def forget_hosts(access: Access, addresses: set[str]) -> None:
    """Remove the machines' keys from known_hosts and the shared connections. The operator's own key stays."""
    if access.known_hosts.exists():
        lines = [line for line in access.known_hosts.read_text().splitlines() if line.split(" ", 1)[0] not in addresses]
        access.known_hosts.write_text("\n".join(lines) + "\n" if lines else "")
    for socket in access.key.parent.glob("mux-*"):
        socket.unlink(missing_ok=True)
